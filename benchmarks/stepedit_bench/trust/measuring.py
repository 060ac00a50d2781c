"""Carry out the requests with and without limits, and measure the outputs.

The gate hears by the two preferred recognisers that are installed (Whisper base and tiny.en). The
outputs are heard by the bench's recogniser (Whisper base by default, as in the gate) and by
PocketSphinx, which alone had no part in the gate. An acceptance is wrong where both of these say
that words are lost: more than one, and more than a tenth, beyond the errors that they make in the
source. ``stepedit_bench.trust.families`` asks two ears that have no part in the gate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from stepedit_bench.measuring import StandardMeasures
from stepedit_bench.measuring.text_error import text_errors
from stepedit_bench.preservation import check, measure, verdict
from stepedit_bench.suites import waived
from stepedit_bench.trust.timing import timed
from stepedit_bench.trust.units import TrustUnit
from stepedit_core.chain.accept import Accept
from stepedit_core.chain.chain import Chain
from stepedit_core.chain.result import ChainResult
from stepedit_core.engine import SpeechEngine
from stepedit_core.errors import EditError, StepeditError
from stepedit_core.llm_route.carrying_out import reconstructed
from stepedit_core.registry.registry import get_registry
from stepedit_core.scoring import Case, Prepared
from stepedit_core.utterance import Utterance

__all__ = ["Bench", "is_wrong", "measure_trust"]

ITERATIONS = 4
_HOT_PEAK = 0.98


class Keep(Protocol):
    """Returns what is kept under a name, or makes and keeps it."""

    def __call__(self, name: str, make: Callable[[], Any]) -> Any:
        """Return JSON data."""


@dataclass(frozen=True)
class Bench:
    """Context of all measurements.

    Attributes:
        engine: carries edits out.
        limits: of the condition ``on``.
        measures: hear and judge outputs.
        seed: of the edits.
        keep: keeps each condition as soon as it is measured, for a run that is killed.
    """

    engine: SpeechEngine
    limits: Accept
    measures: StandardMeasures
    seed: int
    keep: Keep


def measure_trust(unit: TrustUnit, bench: Bench) -> dict[str, Any]:
    """Return the measurements of a unit; JSON data."""
    how = {"level": _level, "edit": _edit, "iterations": _iterations, "chain": _chain}
    return how[unit.part](unit, bench)


def _level(unit: TrustUnit, bench: Bench) -> dict[str, Any]:
    """Return the change of the active level by the identity edit, in dB, as it is and when hot."""
    gain = np.float32(_HOT_PEAK / max(float(np.abs(unit.speech.samples).max()), 1e-6))
    hot = unit.speech.replace(samples=unit.speech.samples * gain)
    row, level = {}, bench.measures.active_level
    for name, speech in (("as_is", unit.speech), ("hot", hot)):
        made = reconstructed(bench.engine, [speech], [bench.seed])[0]
        row[name] = round(level(made) - level(speech), 3)
    return row


def _edit(unit: TrustUnit, bench: Bench) -> dict[str, Any]:
    """Return an edit by the llm route without and with limits."""
    return {
        "source": _heard(unit.speech, bench.measures),
        "off": bench.keep("off", lambda: _condition(unit, bench, None)),
        "on": bench.keep("on", lambda: _condition(unit, bench, bench.limits)),
    }


def _condition(unit: TrustUnit, bench: Bench, accept: Accept | None) -> dict[str, Any]:
    """Carry an edit out by the llm route and measure it; seconds of processor time; JSON data."""

    def carried_out() -> ChainResult | EditError:
        try:
            chain = Chain(unit.edits)
            return chain(unit.speech, bench.engine, seed=bench.seed, route="llm", accept=accept)
        except EditError as error:
            return error

    result, seconds = timed(bench.engine, carried_out)
    if isinstance(result, EditError):
        return {
            "seconds": round(seconds, 3),
            "joint": False,
            "accepted": False,
            "why": [why for tried in result.tries for why in tried["why"]],
            "drawn": len(result.tries),
        }
    step, made, level = result.steps[-1], result.utterance, bench.measures.active_level
    return {
        "seconds": round(seconds, 3),
        **_heard(made, bench.measures),
        **_judged(unit, made, bench),
        "level": round(level(made) - level(unit.speech), 2),
        "accepted": step.accepted,
        "drawn": step.judged.get("drawn", 1),
        "why": [why for tried in step.failed_tries for why in tried["why"]],
    }


def _heard(made: Utterance, measures: StandardMeasures) -> dict[str, float]:
    """Return the word error by the bench's recogniser and by PocketSphinx."""
    expected = made.transcript or ""
    ways = {"whisper": measures.transcribe, "sphinx": measures.second_text}
    return {
        name: round(text_errors(expected, way(made), made.language).rate, 4)
        for name, way in ways.items()
    }


def _judged(unit: TrustUnit, made: Utterance, bench: Bench) -> dict[str, Any]:
    """Return whether the target was reached and all else kept, as ``stepedit bench`` says."""
    measures, source = bench.measures, unit.speech
    identity = reconstructed(bench.engine, [source], [bench.seed])[0]
    floor = [measure(one, source, source.transcript, measures) for one in (source, identity)]
    edit = unit.edits[-1]
    case = Case(id=unit.name, edit=edit, audio="", transcript=made.transcript, language="en")
    scorer = get_registry().scorer(type(edit))
    score = scorer.score(case, Prepared(unit.speech), made, measures)
    kept = measure(made, unit.speech, made.transcript, measures)
    checks = check(
        kept,
        floor[0],
        floor[1],
        length_ratio=float(edit.plan(unit.speech).length_ratio),
        same_duration=scorer.expects_same_duration,
        waived=waived(scorer, case),
    )
    preserved = verdict(checks)
    both = None if score.reached is None or preserved is None else score.reached and preserved
    voice = kept.values["speaker_similarity"]
    return {"reached": score.reached, "checks": checks, "joint": both, "voice": voice}


def _iterations(unit: TrustUnit, bench: Bench) -> dict[str, Any]:
    """Return word error and voice after one and after four iterations, without and with limits."""
    keeping = bench.limits.model_copy(update={"otherwise": "keep"})
    return {
        "off": bench.keep("off", lambda: _repeated(unit, bench, None)),
        "on": bench.keep("on", lambda: _repeated(unit, bench, keeping)),
    }


def _repeated(unit: TrustUnit, bench: Bench, accept: Accept | None) -> dict[str, Any]:
    chain, measures = Chain(unit.edits, iterations=ITERATIONS), bench.measures
    result = chain(unit.speech, bench.engine, seed=bench.seed, route="llm", accept=accept)
    level = measures.active_level(unit.speech)
    row: dict[str, Any] = {"accepted": [step.accepted for step in result.steps]}
    for number in (1, ITERATIONS):
        made = result.steps[number - 1].utterance
        row[str(number)] = {
            **_heard(made, measures),
            "voice": round(measures.speaker_similarity(unit.speech, made), 4),
            "f0": measures.median_f0(made),
            "level": round(measures.active_level(made) - level, 2),
        }
    return row


def _chain(unit: TrustUnit, bench: Bench) -> dict[str, Any]:
    """Return whether every step of a mixed chain by ``auto`` is right, without and with limits.

    A step is right where its own scorer says so of what it received, and the words of the end are
    kept. With limits, it must have been accepted, too.
    """
    return {
        "off": bench.keep("off", lambda: _steps(unit, bench, None)),
        "on": bench.keep("on", lambda: _steps(unit, bench, bench.limits)),
    }


def _steps(unit: TrustUnit, bench: Bench, accept: Accept | None) -> dict[str, Any]:
    measures = bench.measures
    try:
        result = Chain(unit.edits)(unit.speech, bench.engine, seed=bench.seed, accept=accept)
    except EditError as error:
        return {"right": False, "error": str(error), "steps": len(error.steps)}
    received, reached = unit.speech, []
    for step in result.steps:
        reached.append(_reached(step.edit, received, step.utterance, measures))
        received = step.utterance
    heard = _heard(result.utterance, measures)
    before = _heard(unit.speech, measures)
    words = len((unit.speech.transcript or "").split())
    kept = _is_kept(before["whisper"], heard["whisper"], words)
    return {
        "right": kept and all(one is not False for one in reached),
        "reached": reached,
        "words_kept": kept,
        "routes": [step.route for step in result.steps],
        "accepted": [step.accepted for step in result.steps],
        **heard,
    }


def _reached(
    edit: Any, received: Utterance, made: Utterance, measures: StandardMeasures
) -> bool | None:
    """Return a scorer's verdict on one step, or None where it has none."""
    case = Case(id="step", edit=edit, audio="", transcript=received.transcript, language="en")
    try:
        scorer = get_registry().scorer(type(edit))
        return scorer.score(case, Prepared(received), made, measures).reached
    except StepeditError:
        return None


def _is_kept(before: float, after: float, words: int) -> bool:
    """Return whether no more than one word, or a tenth, is heard wrongly beyond the source."""
    return (after - before) * words <= max(1.0, 0.1 * words) + 1e-9


def is_wrong(row: Mapping[str, Any], words: int) -> bool | None:
    """Return whether an edit was accepted that both recognisers call bad; None if not accepted."""
    if not row["on"].get("accepted"):
        return None
    return not any(
        _is_kept(row["source"][name], row["on"][name], words) for name in ("whisper", "sphinx")
    )
