"""Run the demo's chain over a packaged recording, by dsp, by an engine, and by the codes alone.

The chain goes on from what dsp gave, or from the engine where there is no dsp route. An engine's
edit and the identity edit start from the same input as the dsp step beside them, so that three
ways of doing one thing are compared, and what the codes cost is not added up along the chain.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Literal

import numpy as np

from stepedit_core.chain.chain import Chain
from stepedit_core.chain.notation import edit_from_data
from stepedit_core.chain.result import Step
from stepedit_core.chain.validation import choose_route
from stepedit_core.edit import Edit
from stepedit_core.engine import SpeechEngine
from stepedit_core.errors import PluginError, StepeditError
from stepedit_core.llm_route.carrying_out import reconstructed
from stepedit_core.recordings import Packaged, packaged, packaged_speech
from stepedit_core.utterance import Utterance

__all__ = ["Column", "Demo", "Planned", "Take", "Way", "load_demo", "run_demo"]


@dataclass(frozen=True)
class Planned:
    """One step of the demo.

    Attributes:
        number: its place in the demo, from 1.
        title: what it does, in a few words.
        listen: what to listen for.
        edit: the request.
    """

    number: int
    title: str
    listen: str
    edit: Edit


@dataclass(frozen=True)
class Demo:
    """Results of the demo.

    Attributes:
        recording: the packaged recording and its licence.
        source: the recording with noise and a pause added, for edits to take away.
        added: what was added, in words.
        steps: what is done to it.
        left_out: steps that cannot be done here, with the reason.
    """

    recording: Packaged
    source: Utterance
    added: str
    steps: tuple[Planned, ...]
    left_out: tuple[str, ...] = ()


Way = Literal["dsp", "llm", "identity"]


@dataclass(frozen=True)
class Take:
    """One way of carrying out a step.

    Attributes:
        planned: the step.
        way: by signal processing, by an engine's language model, or encoded and decoded with
            nothing changed.
        before: what went in.
        utterance: what came out.
        seconds: wall-clock time.
        engine: name of the engine that ran, or None.
        step: the finished edit; None for the identity edit.
    """

    planned: Planned
    way: Way
    before: Utterance
    utterance: Utterance
    seconds: float
    engine: str | None = None
    step: Step | None = None

    def report(self) -> dict[str, Any]:
        """Return the take as JSON data, without samples."""
        facts = {} if self.step is None else self.step.report()
        return {
            "title": self.planned.title,
            "way": self.way,
            "before": {
                "sha256": self.before.digest,
                "audio_seconds": round(self.before.seconds, 4),
            },
            "engine": self.engine,
            "wall_seconds": round(self.seconds, 4),
            "audio_seconds": round(self.utterance.seconds, 4),
            **facts,
        }


@dataclass
class Column:
    """All steps by one way.

    Attributes:
        way: which.
        title: heading.
        takes: finished steps, by title.
        problems: planned steps that were passed over or failed, with the reason.
    """

    way: Way
    title: str
    takes: dict[str, Take] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)

    def report(self) -> dict[str, Any]:
        """Return the column as JSON data, without samples."""
        takes = [take.report() for take in self.takes.values()]
        return {"way": self.way, "title": self.title, "takes": takes, "problems": self.problems}


def _degraded(clean: Utterance, snr_db: float, pause_at: float, pause_seconds: float) -> Utterance:
    """Insert a pause, then mix in white noise at a signal-to-noise ratio in dB."""
    cut = round(pause_at * clean.sample_rate)
    gap = np.zeros(round(pause_seconds * clean.sample_rate), np.float32)
    samples = np.concatenate([clean.samples[:cut], gap, clean.samples[cut:]])
    noise = np.random.default_rng(0).standard_normal(len(samples))
    noise *= np.sqrt(np.mean(clean.samples.astype(np.float64) ** 2) / 10 ** (snr_db / 10))
    return clean.replace(samples=(samples + noise).astype(np.float32), subtype="PCM_16")


def load_demo() -> Demo:
    """Read the demo's plan and make its source.

    Raises:
        PluginError: if none of its edits is available.
    """
    data = json.loads(files("stepedit_core.demo").joinpath("demo.json").read_text("utf-8"))
    pause, snr_db = data["pause"], data["noise_snr_db"]
    source = _degraded(packaged_speech(data["recording"]), snr_db, pause["at"], pause["seconds"])
    steps: list[Planned] = []
    left_out: list[str] = []
    for row in data["steps"]:
        try:
            edit = edit_from_data(row["edit"])
        except StepeditError as error:
            left_out.append(f"{row['title']}: {error}")
            continue
        steps.append(Planned(len(steps) + 1, row["title"], row["listen"], edit))
    if not steps:
        raise PluginError("the demo needs edits, and no plugin is loaded; see stepedit plugins")
    added = (
        f"white noise at {snr_db:g} dB signal-to-noise ratio and a pause of "
        f"{pause['seconds']:g} s were added"
    )
    return Demo(packaged()[data["recording"]], source, added, tuple(steps), tuple(left_out))


def run_demo(
    demo: Demo,
    engine: SpeechEngine | None,
    *,
    seed: int = 0,
    on_take: Callable[[Take], None] = lambda take: None,
) -> list[Column]:
    """Run the demo's steps one after the other, each by every way that there is.

    A way that does not exist for a step, or fails, is passed over and the reason is kept.

    Args:
        demo: what is planned.
        engine: for the llm and the identity column, or None for dsp alone.
        seed: of all steps.
        on_take: called after each way of each step.
    """
    columns = [Column("dsp", "Signal processing")]
    if engine is not None:
        columns.append(Column("llm", f"Engine {engine.name}"))
        columns.append(Column("identity", "Identity edit (the codes alone)"))
    state = demo.source
    for planned in demo.steps:
        for column in columns:
            try:
                take = _take(planned, column.way, state, engine, seed)
            except StepeditError as error:
                column.problems[planned.title] = str(error)
                continue
            column.takes[planned.title] = take
            on_take(take)
        done = [column.takes.get(planned.title) for column in columns if column.way != "identity"]
        state = next((take.utterance for take in done if take is not None), state)
    return columns


def _take(
    planned: Planned, way: Way, before: Utterance, engine: SpeechEngine | None, seed: int
) -> Take:
    """Carry out a step one way.

    Raises:
        StepeditError: if it has no such route, or fails.
    """
    if way == "identity":
        assert engine is not None
        begin = time.perf_counter()
        (audio,) = reconstructed(engine, [before], [seed])
        seconds = time.perf_counter() - begin
        return Take(planned, way, before, audio, seconds, engine.name)
    runner = engine if way == "llm" else None
    choose_route(planned.edit, runner, way)
    (step,) = Chain([planned.edit])(before, runner, seed=seed, route=way).steps
    return Take(planned, way, before, step.utterance, step.seconds, step.engine, step)
