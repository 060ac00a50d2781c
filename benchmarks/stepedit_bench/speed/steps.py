"""Milliseconds of the language model's prefill and decode steps, by batch.

    python -m stepedit_bench.speed.steps [ENGINE [GROUPS]]

draws answers of so many groups of codes (6) to one prompt with an engine's own language model on
one thread of the CPU. Each step is timed by itself in processor time; on a machine that does other
work, too, the fastest steps say most.
"""

from __future__ import annotations

import statistics
import sys
import time
from dataclasses import dataclass

import numpy as np
import torch

from stepedit_core.config import EMBEDDED, EngineConfig
from stepedit_core.llm_route.progress import listening
from stepedit_core.models.checkpoint.layout import find_folders
from stepedit_core.models.lm.constraints import grammar
from stepedit_core.models.lm.generation import generate
from stepedit_core.models.lm.sampling import Sampling
from stepedit_core.models.lm.step1.alignment import Alignment
from stepedit_core.models.lm.step1.loading import load_network
from stepedit_core.models.lm.token_layout import TokenLayout
from stepedit_core.models.text import load_tokenizer

__all__ = ["Steps", "measure_steps"]

PROMPT = 300
GROUPS = 6
BATCHES = ((1, 1.0), (8, 1.0), (16, 1.0), (16, 2.0), (32, 1.0), (48, 1.0))
"""Answers, and the guidance that they are drawn with; above 1 there are two rows for each."""


@dataclass(frozen=True)
class Steps:
    """Processor time of one batch, in milliseconds.

    Attributes:
        answers: how many.
        guidance: see ``Sampling``.
        prefill: reading the prompt, and the first step.
        fastest: of the steps after it.
        median: the same.
    """

    answers: int
    guidance: float
    prefill: float
    fastest: float
    median: float


def measure_steps(engine: str, groups: int = GROUPS) -> list[Steps]:
    """Time all batches; ``engine`` is a name, folder or id, ``groups`` the length of answers."""
    folder = find_folders(EngineConfig(name_or_path=engine, device="cpu")).model
    layout = TokenLayout.of(load_tokenizer(folder))
    model = load_network(folder, dtype=torch.float32)
    rng = np.random.default_rng(0)
    prompt = (layout.audio_base + rng.integers(0, 1024, PROMPT)).tolist()
    prior = Alignment(PROMPT // 8, PROMPT - 10, PROMPT, "audio", ((0.0, 1.0),))
    alignment = None if model.config.source_alignment is None else prior
    found = []
    for answers, guidance in BATCHES:
        ends = [time.process_time()]
        with listening(lambda done, most, ends=ends: ends.append(time.process_time())):  # type: ignore[misc]
            generate(
                model,
                [prompt] * answers,
                layout=layout,
                sampling=Sampling(temperature=0.3, repetition_window=0, guidance=guidance),
                constraints=[grammar(groups, groups)] * answers,
                seeds=list(range(answers)),
                alignments=[alignment] * answers,
                against=[prompt[::-1]] * answers,
            )
        first, *steps = (1000 * one for one in np.diff(ends))
        fastest, median = min(steps), statistics.median(steps)
        found.append(Steps(answers, guidance, float(first), float(fastest), float(median)))
    return found


def main(engine: str = EMBEDDED, groups: str = str(GROUPS)) -> None:
    """Print a table."""
    torch.set_num_threads(1)
    print("| answers | guidance | prefill, ms | step, ms (fastest) | step, ms (median) |")
    print("| --- | --- | --- | --- | --- |")
    for row in measure_steps(engine, int(groups)):
        times = " | ".join(f"{one:.1f}" for one in (row.prefill, row.fastest, row.median))
        print(f"| {row.answers} | {row.guidance:g} | {times} |")


if __name__ == "__main__":
    main(*sys.argv[1:])
