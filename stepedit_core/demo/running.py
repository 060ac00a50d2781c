"""Run the demo's chain over a packaged recording, by one route or by an engine."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.resources import files

import numpy as np

from stepedit_core.chain import Chain
from stepedit_core.edit import Edit, edit_from_data
from stepedit_core.engines import SpeechEngine
from stepedit_core.errors import EditError, PluginError, StepeditError
from stepedit_core.result import ChainResult, Step, choose_route
from stepedit_core.speech import Packaged, packaged, packaged_speech
from stepedit_core.utterance import Utterance

__all__ = ["Column", "Demo", "Planned", "load_demo", "run_column"]


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
    """What the demo shows.

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


@dataclass
class Column:
    """One run of the chain: by signal processing, or by an engine.

    Attributes:
        title: heading.
        result: the finished steps.
        plan: the planned step that each finished step carries out.
        problems: planned steps that were passed over or failed, with the reason.
    """

    title: str
    result: ChainResult
    plan: list[Planned] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)


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


def run_column(
    demo: Demo,
    engine: SpeechEngine | None,
    *,
    seed: int = 0,
    on_step: Callable[[Planned, Step], None] = lambda planned, step: None,
) -> Column:
    """Run the demo's steps one after the other, by an engine's llm route or by dsp.

    A step that has no such route, or fails, is passed over and the reason is kept: the others
    go on from the last finished step.
    """
    route = "dsp" if engine is None else "llm"
    title = "Signal processing" if engine is None else f"Engine {engine.name}"
    column = Column(title, ChainResult(demo.source, (), seed, engine))
    for planned in demo.steps:
        try:
            choose_route(planned.edit, engine, route)  # type: ignore[arg-type]
            column.result = column.result.then(Chain([planned.edit]), route=route)
        except (StepeditError, EditError) as error:
            column.problems[planned.title] = str(error)
            continue
        column.plan.append(planned)
        on_step(planned, column.result.steps[-1])
    return column
