"""Make the recordings of a case: iteration 0, the identity edit, and N edits on top."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from stepedit_bench.batching import PromptFixed, run_together
from stepedit_bench.suites import Unit, clone_text, find_external, read_audio
from stepedit_core.chain.chain import Chain
from stepedit_core.chain.result import RouteChoice, Step
from stepedit_core.chain.running import ChainResult
from stepedit_core.chain.validation import choose_route
from stepedit_core.engine import SpeechEngine
from stepedit_core.errors import StepeditError
from stepedit_core.llm_route.carrying_out import reconstructed
from stepedit_core.registry.registry import get_registry
from stepedit_core.scoring import Prepared
from stepedit_core.utterance import Utterance

__all__ = ["Produced", "Protocol", "produce", "produce_batch"]


class Protocol(BaseModel):
    """How outputs come about; part of a run's provenance."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    route: RouteChoice = "auto"
    """Route of every edit."""
    iterations: int = Field(default=1, ge=1, le=20)
    """Edits on top of iteration 0, each applied to the output before it."""
    prompt_fixed: bool = False
    """Ablation: codes are carried from edit to edit and decoded in the voice of iteration 0."""
    source: str | None = None
    """Folder of recordings of an external system, named by case id, as iteration 0."""
    clone_edit: str = "clone"
    """Edit that makes iteration 0 where a suite asks for a zero-shot clone."""


@dataclass(frozen=True)
class Produced:
    """The recordings of one unit.

    Attributes:
        unit: the case.
        prepared: the edit's input, or None where iteration 0 failed.
        steps: finished edits, in order; fewer than asked for where one failed.
        identity: the source coded and decoded, or None without an engine.
        status: ``ok``, ``unsupported`` (no such route for these parameters) or ``failed``.
        problem: what went wrong, or None.
        seconds: wall-clock time, kept apart from the results.
    """

    unit: Unit
    prepared: Prepared | None
    steps: tuple[Step, ...] = ()
    identity: Utterance | None = None
    status: str = "ok"
    problem: str | None = None
    seconds: dict[str, float] = field(default_factory=dict)


def _start(unit: Unit, engine: SpeechEngine | None, protocol: Protocol) -> Utterance:
    """Return the recording of iteration 0 before the scorer prepares it."""
    case = unit.case
    prompt = read_audio(case)
    text = clone_text(case)
    if protocol.source is not None:
        words = text if text is not None else prompt.transcript
        return Utterance.read(find_external(case, protocol.source), words, prompt.language)
    if text is None:
        return prompt
    clone = get_registry().edit_class(protocol.clone_edit)
    request = clone.model_validate({"text": text})
    made = Chain([request])(prompt, engine, seed=unit.seed)
    return made.utterance.replace(transcript=text, language=prompt.language)


def _identity(engine: SpeechEngine, source: Utterance, seed: int) -> Utterance:
    """Return the source coded and decoded, which no edit can be better than."""
    return reconstructed(engine, [source], [seed])[0]


def _iterate(
    unit: Unit, source: Utterance, engine: SpeechEngine | None, protocol: Protocol
) -> tuple[tuple[Step, ...], str | None]:
    """Apply the case's edit ``iterations`` times; return the finished steps and the problem."""
    heard = engine
    if protocol.prompt_fixed:
        if engine is None:
            raise StepeditError("--prompt-fixed needs an engine: it is about the decoder's prompt")
        heard = PromptFixed(engine, source)
    chain = Chain([unit.case.edit])
    result = ChainResult(source, (), unit.seed, heard)
    for _ in range(protocol.iterations):
        try:
            result = chain.run_from(
                result,
                engine=heard,
                route=protocol.route,
                carry="codes" if protocol.prompt_fixed else "latent",
            )
        except StepeditError as error:
            return result.steps, str(error)
    return result.steps, None


def produce(unit: Unit, engine: SpeechEngine | None, protocol: Protocol) -> Produced:
    """Make all recordings of a unit; what goes wrong with it is told in the result."""
    edit = unit.case.edit
    scorer = get_registry().scorer(type(edit))
    try:
        clean = _start(unit, engine, protocol)
        prepared = scorer.prepare(unit.case, clean, np.random.default_rng([unit.seed, 0]))
    except StepeditError as error:
        return Produced(unit, None, status="failed", problem=f"iteration 0: {error}")
    try:
        identity = None if engine is None else _identity(engine, prepared.source, unit.seed)
    except StepeditError as error:
        return Produced(unit, prepared, status="failed", problem=f"identity edit: {error}")
    try:
        choose_route(edit, engine, protocol.route)
    except StepeditError as error:
        return Produced(unit, prepared, (), identity, "unsupported", str(error))
    begin = time.perf_counter()
    steps, problem = _iterate(unit, prepared.source, engine, protocol)
    seconds = {"edits": time.perf_counter() - begin}
    status = "ok" if problem is None else "failed"
    return Produced(unit, prepared, steps, identity, status, problem, seconds)


def produce_batch(
    batch: Sequence[Unit], engine: SpeechEngine | None, protocol: Protocol
) -> list[Produced]:
    """Make the recordings of several units, with the engine's work in common batches."""
    if engine is None or len(batch) == 1:
        return [produce(unit, engine, protocol) for unit in batch]
    tasks = [partial(_produce_with, unit, protocol) for unit in batch]
    made: list[Produced] = []
    for unit, ran in zip(batch, run_together(engine, tasks), strict=True):
        if ran.error is not None:
            raise ran.error
        if ran.value is None:
            raise RuntimeError(f"{unit.key}: the chain gave nothing")
        made.append(ran.value)
    return made


def _produce_with(unit: Unit, protocol: Protocol, engine: SpeechEngine) -> Produced:
    return produce(unit, engine, protocol)
