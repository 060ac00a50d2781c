"""Which score of drawn answers tells the words that are heard, within a request.

python calibrate.py DRAWS.jsonl MANIFEST MODEL OUT.jsonl N

The answers to the first N requests are decoded and heard by Whisper base, which no score asks.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from draw import requests
from scipy.stats import spearmanr
from stepedit_train.rl.rollouts import OwnGenerator, Rollouts, rollout_rules

from stepedit_core.codes import DualCodes
from stepedit_core.config import EngineConfig
from stepedit_core.dsp.words import word_error
from stepedit_core.models.engine import Engine
from stepedit_core.models.lm.chat import parse_audio_string
from stepedit_core.recording.hearing import load_recogniser


def hear(draws: str, manifest: str, model: str, out: str, count: int) -> None:
    """Write the word error of each answer."""
    engine = Engine.from_config(EngineConfig(name_or_path=model, device="cpu"))
    generator = OwnGenerator(engine, engine.parts.model, 64)
    rollouts = Rollouts(engine, generator, rollout_rules(engine, None, None), 700, 64)
    base = load_recogniser("whisper")
    rows = {row["name"]: row for row in map(json.loads, Path(draws).read_text().splitlines())}
    with Path(out).open("w") as file, torch.inference_mode():
        for prompt in requests(Path(manifest), 0, held_out=False):
            row = rows.get(prompt.name)
            if row is None or count == 0:
                break
            count -= 1
            asked = rollouts._prepared(prompt)
            own = [replace(asked.request, seed=at) for at in range(len(row["codes"]))]
            codes = [DualCodes.from_interleaved(parse_audio_string(one)) for one in row["codes"]]
            sounds = [one.utterance for one in rollouts.outcomes(prompt, own, codes)]
            heard = [base.hear_roughly(one.replace(language="en")) or "" for one in sounds if one]
            row["word_error"] = [word_error(row["text"], one) for one in heard]
            file.write(json.dumps(row) + "\n")
            file.flush()


def tell(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print correlations within requests, and the word error of those that score best and worst.

    An error above 1, as of who says everything twice, counts as 1.
    """
    errors = [np.minimum(row["word_error"], 1.0) for row in rows]
    print(len(rows), "requests; word error: mean", np.mean([one.mean() for one in errors]))
    for name in ("read", "read_again", "certain"):
        both = list(zip([np.array(row[name], float) for row in rows], errors, strict=True))
        told = [spearmanr(score, error)[0] for score, error in both if error.std() > 0]
        order = [(error[np.argsort(-score)]) for score, error in both]
        best, two, worst = (np.mean([one[part].mean() for one in order]) for part in PARTS)
        print(f"{name}: {np.mean(told):.2f}, best {best:.3f}, two {two:.3f}, worst {worst:.3f}")


PARTS = (slice(0, 1), slice(0, 2), slice(-2, None))

if __name__ == "__main__":
    hear(*sys.argv[1:5], int(sys.argv[5]))
    tell([json.loads(line) for line in Path(sys.argv[4]).read_text().splitlines()])
