"""Make the recordings of a case: iteration 0, then the conditions that the protocol names."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from stepedit_bench.conditions import BY_ENGINE, Condition, Outputs, Recordings, Request, make
from stepedit_bench.suites import Unit, clone_text, find_external
from stepedit_core.chain.chain import Chain
from stepedit_core.chain.result import RouteChoice
from stepedit_core.edit import Edit
from stepedit_core.engine import SpeechEngine
from stepedit_core.errors import StepeditError
from stepedit_core.llm_route.batching import run_together
from stepedit_core.registry.registry import get_registry
from stepedit_core.scoring import Prepared
from stepedit_core.utterance import Utterance

__all__ = ["Produced", "Protocol", "prepare", "produce_batch"]


class Protocol(BaseModel):
    """Protocol by which outputs are made; part of a run's provenance."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    route: RouteChoice = "auto"
    """Route of every edit."""
    conditions: tuple[Condition, ...] = ("identity", "edit")
    """What is recorded beside the source, in this order; without an engine only what needs none."""
    iterations: int = Field(default=1, ge=1, le=20)
    """Edits on top of iteration 0, each applied to the output before it."""
    prompt_fixed: bool = False
    """Ablation: codes are carried from edit to edit and decoded in the voice of iteration 0."""
    source: str | None = None
    """Folder of recordings of an external system, named by case id, as iteration 0."""
    clone_edit: str = "clone"
    """Edit that makes iteration 0 where a suite asks for a zero-shot clone."""

    def asked(self, unit: Unit, engine: SpeechEngine | None) -> list[Condition]:
        """Return the conditions that a unit is recorded in."""
        named = unit.conditions(self.conditions)
        # The edit itself runs without an engine, too: by signal processing.
        return [
            name
            for name in self.conditions
            if name in named and (engine is not None or name == "edit" or name not in BY_ENGINE)
        ]


@dataclass(frozen=True)
class Produced:
    """The recordings of one unit.

    Attributes:
        unit: the case.
        prepared: the edit's input, or None where iteration 0 failed.
        made: condition to its recordings.
        problem: why there is no iteration 0, or None.
        seconds: wall-clock time per condition, kept apart from the results.
        file: where the edit's input is kept already, or None.
    """

    unit: Unit
    prepared: Prepared | None
    made: Mapping[str, Outputs] = field(default_factory=dict)
    problem: str | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    file: Path | None = None


def _start(unit: Unit, protocol: Protocol, engine: SpeechEngine | None) -> Utterance:
    """Return the recording of iteration 0 before the scorer prepares it."""
    prompt = unit.start()
    text = None if unit.case is None else clone_text(unit.case)
    if protocol.source is not None and unit.case is not None:
        words = text if text is not None else prompt.transcript
        return Utterance.read(find_external(unit.case, protocol.source), words, prompt.language)
    if text is None:
        return prompt
    clone = get_registry().edit_class(protocol.clone_edit)
    request = clone.model_validate({"text": text})
    made = Chain([request])(prompt, engine, seed=unit.seed)
    return made.utterance.replace(transcript=text, language=prompt.language)


def prepare(unit: Unit, clean: Utterance) -> Prepared:
    """Return a recording with what a case asks for before the edit, such as noise.

    Raises:
        StepeditError: if the scorer cannot prepare the case.
    """
    if unit.case is None:
        return Prepared(clean)
    scorer = get_registry().scorer(type(unit.case.edit))
    return scorer.prepare(unit.case, clean, np.random.default_rng([unit.seed, 0]))


def _prepared(
    unit: Unit, protocol: Protocol, recordings: Recordings | None, engine: SpeechEngine | None
) -> Produced:
    """Make the edit's input."""
    try:
        clean = _start(unit, protocol, engine)
        made = prepare(unit, clean)
        if unit.case is None:
            return Produced(unit, made, file=unit.file)
    except StepeditError as error:
        return Produced(unit, None, problem=f"iteration 0: {error}")
    if made.source is clean or recordings is None:
        return Produced(unit, made, file=unit.file if made.source is clean else None)
    path = recordings.path(unit, "source")
    kept = recordings.keep(made.source, path, clean)
    return Produced(unit, Prepared(kept, made.reference, made.facts), file=path)


def produce_batch(
    batch: Sequence[Unit],
    engine: SpeechEngine | None,
    protocol: Protocol,
    recordings: Recordings | None = None,
) -> list[Produced]:
    """Make the recordings of several units, with the engine's work in common batches.

    What goes wrong with a unit is told in its result.
    """
    tasks = [partial(_prepared, unit, protocol, recordings) for unit in batch]
    if engine is None or len(batch) == 1:
        produced = [task(engine) for task in tasks]
    else:
        produced = []
        for ran in run_together(engine, tasks):
            if ran.value is None:
                raise ran.error or RuntimeError("the preparation gave nothing")
            produced.append(ran.value)
    ready = {one.unit.key: one.prepared for one in produced if one.prepared is not None}
    made: dict[str, dict[str, Outputs]] = {unit.key: {} for unit in batch}
    seconds: dict[str, dict[str, float]] = {unit.key: {} for unit in batch}
    for condition in protocol.conditions:
        units = [
            unit
            for unit in batch
            if unit.key in ready and condition in protocol.asked(unit, engine)
        ]
        requests = [
            _request(unit, ready[unit.key], condition, protocol, made[unit.key]) for unit in units
        ]
        begin = time.perf_counter()
        got = make(condition, requests, engine, protocol.route, protocol.prompt_fixed, recordings)
        for unit, one in zip(units, got, strict=True):
            made[unit.key][condition] = one
            seconds[unit.key][condition] = (time.perf_counter() - begin) / len(units)
            for number, taken in enumerate(one.seconds, start=1) if unit.whole else ():
                seconds[unit.key][f"{condition}, edit {number}"] = taken
    return [
        replace(one, made=made[one.unit.key], seconds=seconds[one.unit.key]) for one in produced
    ]


def _request(
    unit: Unit,
    prepared: Prepared,
    condition: Condition,
    protocol: Protocol,
    made: Mapping[str, Outputs],
) -> Request:
    """Return what a condition is made of."""
    serving = unit.serving(condition)
    if serving is not unit:
        prepared = Prepared(serving.start())
    ideal = unit.ideal(prepared)
    edits: tuple[Edit, ...] = ()
    problem = None
    try:
        edits = serving.edits_on(prepared.source, protocol.iterations)
    except StepeditError as error:
        problem = str(error)
    if condition == "target" and ideal is None and "dsp" in made:
        done = made["dsp"]
        # Kept recordings are what was measured; a failed one is tried, and told, again.
        ideal = done.steps[-1].audio if done.status == "ok" else None
    return Request(serving, prepared, edits, ideal, problem)
