"""Carry out what is asked, with and without limits, and measure what came out.

The gate hears by the recogniser that is installed (Whisper base); the outputs are heard again by
two others, Whisper tiny.en and PocketSphinx, that had no part in it. An acceptance is wrong where
both of these say that words are lost: more than one, and more than a tenth, beyond the errors that
they make in the source.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from stepedit_bench.measuring import StandardMeasures
from stepedit_bench.measuring.text_error import text_errors
from stepedit_bench.preservation import Kept, check, measure, verdict
from stepedit_bench.rows import waived
from stepedit_bench.trust.units import TrustUnit
from stepedit_core.chain.accept import Accept
from stepedit_core.chain.chain import Chain
from stepedit_core.chain.running import ChainResult
from stepedit_core.engine import SpeechEngine
from stepedit_core.errors import EditError, StepeditError
from stepedit_core.llm_route.carrying_out import reconstructed
from stepedit_core.registry.registry import get_registry
from stepedit_core.scoring import Case, Prepared
from stepedit_core.utterance import Utterance

__all__ = ["is_wrong", "measure_trust"]

ITERATIONS = 4
_HOT_PEAK = 0.98


def measure_trust(
    unit: TrustUnit, engine: SpeechEngine, limits: Accept, measures: StandardMeasures, seed: int
) -> dict[str, Any]:
    """Return what was measured of a unit; JSON data."""
    how = {"level": _level, "edit": _edit, "iterations": _iterations, "chain": _chain}
    return how[unit.part](unit, engine, limits, measures, seed)


def _level(
    unit: TrustUnit, engine: SpeechEngine, limits: Accept, measures: StandardMeasures, seed: int
) -> dict[str, Any]:
    """Return how far the identity edit moves the active level, in dB, as it is and when hot."""
    gain = np.float32(_HOT_PEAK / max(float(np.abs(unit.speech.samples).max()), 1e-6))
    hot = unit.speech.replace(samples=unit.speech.samples * gain)
    row = {}
    for name, speech in (("as_is", unit.speech), ("hot", hot)):
        made = reconstructed(engine, [speech], [seed])[0]
        row[name] = round(measures.active_level(made) - measures.active_level(speech), 3)
    return row


def _edit(
    unit: TrustUnit, engine: SpeechEngine, limits: Accept, measures: StandardMeasures, seed: int
) -> dict[str, Any]:
    """Return an edit by the llm route without and with limits."""
    identity = reconstructed(engine, [unit.speech], [seed])[0]
    floor = [measure(one, unit.speech, unit.speech.transcript, measures) for one in (
        unit.speech, identity,
    )]  # fmt: skip
    row: dict[str, Any] = {"source": _heard(unit.speech, measures)}
    for name, accept in (("off", None), ("on", limits)):
        result, seconds = _run(unit, engine, accept, seed)
        if result is None:
            row[name] = {"seconds": seconds, "joint": False, "accepted": False}
            continue
        step, made = result.steps[-1], result.utterance
        row[name] = {
            "seconds": seconds,
            **_heard(made, measures),
            **_judged(unit, made, floor, measures),
            "level": round(measures.active_level(made) - measures.active_level(unit.speech), 2),
            "accepted": step.accepted,
            "drawn": step.judged.get("drawn", 1),
            "why": [why for tried in step.failed_tries for why in tried["why"]],
        }
        if step.accepted is False:
            row[name]["joint"] = False
    return row


def _run(
    unit: TrustUnit, engine: SpeechEngine, accept: Accept | None, seed: int
) -> tuple[ChainResult | None, float]:
    """Run a unit's edits by the llm route; return the result and the seconds that it took."""
    begin = time.perf_counter()
    try:
        result = Chain(unit.edits)(unit.speech, engine, seed=seed, route="llm", accept=accept)
    except EditError:
        result = None
    return result, round(time.perf_counter() - begin, 2)


def _heard(made: Utterance, measures: StandardMeasures) -> dict[str, float]:
    """Return the word error by the two recognisers that are not the gate's."""
    expected = made.transcript or ""
    ways = {"tiny": measures.transcribe, "sphinx": measures.second_text}
    return {
        name: round(text_errors(expected, way(made), made.language).rate, 4)
        for name, way in ways.items()
    }


def _judged(
    unit: TrustUnit, made: Utterance, floor: list[Kept], measures: StandardMeasures
) -> dict[str, Any]:
    """Return whether the target was reached and all else kept, as ``stepedit bench`` says."""
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


def _iterations(
    unit: TrustUnit, engine: SpeechEngine, limits: Accept, measures: StandardMeasures, seed: int
) -> dict[str, Any]:
    """Return word error and voice after one and after four iterations, without and with limits."""
    chain = Chain(unit.edits, iterations=ITERATIONS)
    keeping = limits.model_copy(update={"otherwise": "keep"})
    row: dict[str, Any] = {}
    for name, accept in (("off", None), ("on", keeping)):
        result = chain(unit.speech, engine, seed=seed, route="llm", accept=accept)
        row[name] = {
            str(number): {
                **_heard(made, measures),
                "voice": round(measures.speaker_similarity(unit.speech, made), 4),
                "f0": measures.median_f0(made),
                "level": round(measures.active_level(made) - measures.active_level(unit.speech), 2),
            }
            for number in (1, ITERATIONS)
            for made in (result.steps[number - 1].utterance,)
        }
        row[name]["accepted"] = [step.accepted for step in result.steps]
    return row


def _chain(
    unit: TrustUnit, engine: SpeechEngine, limits: Accept, measures: StandardMeasures, seed: int
) -> dict[str, Any]:
    """Return whether every step of a mixed chain by ``auto`` is right, without and with limits.

    A step is right where its own scorer says so of what it received, and the words of the end are
    kept. With limits, it must have been accepted, too.
    """
    row: dict[str, Any] = {"source": _heard(unit.speech, measures)}
    for name, accept in (("off", None), ("on", limits)):
        row[name] = _steps(unit, engine, accept, measures, seed)
    return row


def _steps(
    unit: TrustUnit,
    engine: SpeechEngine,
    accept: Accept | None,
    measures: StandardMeasures,
    seed: int,
) -> dict[str, Any]:
    try:
        result = Chain(unit.edits)(unit.speech, engine, seed=seed, accept=accept)
    except EditError as error:
        return {"right": False, "error": str(error), "steps": len(error.steps)}
    received, reached = unit.speech, []
    for step in result.steps:
        reached.append(_reached(step.edit, received, step.utterance, measures))
        received = step.utterance
    heard = _heard(result.utterance, measures)
    before = _heard(unit.speech, measures)
    words = len((unit.speech.transcript or "").split())
    kept = _is_kept(before["tiny"], heard["tiny"], words)
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
        _is_kept(row["source"][name], row["on"][name], words) for name in ("tiny", "sphinx")
    )
