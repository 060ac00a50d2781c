"""Measure the recordings of a unit: one row of results for each."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stepedit_bench import preservation
from stepedit_bench.conditions import Outputs, Recorded
from stepedit_bench.measuring.text_error import count_words
from stepedit_bench.preservation import BenchMeasures, SpeechMeasurements, Thresholds
from stepedit_bench.produce import Produced, Protocol
from stepedit_core.atomic import write_atomically
from stepedit_core.errors import StepeditError
from stepedit_core.registry.registry import get_registry
from stepedit_core.scoring import Prepared, Score
from stepedit_core.utterance import Utterance

__all__ = ["clean", "joint", "measure_unit"]


@dataclass(frozen=True)
class _Bench:
    """Context of all rows of a unit."""

    produced: Produced
    prepared: Prepared
    measures: BenchMeasures
    folder: Path
    thresholds: Thresholds


def joint(reached: bool | None, preserved: bool | None) -> bool | None:
    """Return whether both hold, or None where either is not known.

    A case whose target failed is left out too when preservation is not known (and the other
    way round): counting only the failures of half-measured cases would bias the share.
    """
    return None if reached is None or preserved is None else reached and preserved


def clean(value: Any) -> Any:
    """Return JSON data with numbers rounded and without NaN."""
    if isinstance(value, Mapping):
        return {str(key): clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    if isinstance(value, bool) or value is None or isinstance(value, str | int):
        return value
    number = float(value)
    return round(number, 4) if math.isfinite(number) else None


def _common(produced: Produced) -> dict[str, Any]:
    """Return the fields that all rows of a unit share."""
    unit, case, registry = produced.unit, produced.unit.case, get_registry()
    source = produced.prepared.source if produced.prepared else None
    scorer = unit.scorer()
    return {
        **unit.facts(),
        "language": (case.language if case else None) or (source.language if source else None),
        "plugin": None if case is None else str(registry.origin(case.edit)),
        "scorer": None if scorer is None else f"{type(scorer).__module__}.{type(scorer).__name__}",
        "scorer_version": None if scorer is None else scorer.version,
    }


def _score(bench: _Bench, output: Utterance) -> tuple[Score | None, list[dict[str, Any]]]:
    """Score an output; what a scorer raises leaves the case unscored, with the reason."""
    unit = bench.produced.unit
    labels = unit.case.meta.get("judge_labels") if unit.case else None
    bench.measures.labels = tuple(labels) if labels else None
    bench.measures.take_verdicts()
    score: Score | None
    try:
        score = unit.score(bench.prepared, output, bench.measures)
    except StepeditError as error:
        score = Score.failed(str(error))
    except Exception as error:  # a plugin's scorer may raise anything
        who = type(unit.scorer() or unit).__name__
        score = Score.failed(f"{who}: {type(error).__name__}: {error}")
    return score, bench.measures.take_verdicts()


def _judging(bench: _Bench, iteration: int, received: Utterance | None) -> _Bench:
    """Return the context in which an edit is judged: its own where it is judged apart."""
    unit = bench.produced.unit
    own = unit if received is None else unit.judging(iteration, received)
    if own is unit or received is None:
        return bench
    return replace(bench, produced=replace(bench.produced, unit=own), prepared=Prepared(received))


def _scored(bench: _Bench, condition: str, output: Utterance) -> dict[str, Any]:
    """Return the verdict on a recording, empty where nobody judges the condition."""
    unit = bench.produced.unit
    score, verdicts = _score(bench, output) if unit.is_scored(condition) else (None, [])
    if score is None:
        return {"reached": None, "values": {}, "unscored": None, "verdicts": []}
    return {
        "reached": score.reached,
        "values": clean(dict(score.values)),
        "unscored": score.unscored,
        "verdicts": clean(verdicts),
    }


def _place(bench: _Bench, name: str, recorded: Recorded) -> dict[str, str]:
    """Return place and digest of a recording; one that is not kept yet is, as 32-bit float WAV."""
    from scipy.io import wavfile

    if recorded.file is not None:
        relative = os.path.relpath(recorded.file, bench.folder)
    else:
        relative = f"{bench.produced.unit.folder}/{name}.wav"
        buffer = io.BytesIO()
        # libsndfile stamps float files with the time of writing; these bytes must not change.
        wavfile.write(buffer, recorded.audio.sample_rate, recorded.audio.samples)
        write_atomically(bench.folder / relative, buffer.getvalue())
    return {"audio": relative, "audio_sha256": recorded.audio.digest}


def _heard(bench: _Bench, output: Utterance) -> dict[str, Any]:
    """Return the word counts of each recogniser that listens, or nothing where none does."""
    recognisers = bench.produced.unit.recognisers()
    if not recognisers:
        return {}
    ways = {"whisper": bench.measures.transcribe, "pocketsphinx": bench.measures.second_text}
    expected = output.transcript or ""
    return {
        "words": {
            name: count_words(expected, ways[name](output), output.language) for name in recognisers
        }
    }


def _heard_by(bench: _Bench, language: str | None) -> str | None:
    """Return the recogniser of a recording; None where none is installed."""
    try:
        return bench.measures.heard_by(language)
    except StepeditError:
        return None


def _measured(bench: _Bench, output: Utterance) -> SpeechMeasurements | None:
    """Measure what should be kept, where anybody asks for it."""
    unit = bench.produced.unit
    source = unit.known(bench.prepared.source)
    if unit.words_alone:
        return None
    ideal = bench.prepared.reference
    return preservation.measure(output, source, output.transcript, bench.measures, ideal)


def _row(
    bench: _Bench,
    condition: str,
    iteration: int,
    recorded: Recorded,
    kept: SpeechMeasurements | None,
    yardsticks: Mapping[str, SpeechMeasurements | None],
    received: Utterance | None = None,
) -> dict[str, Any]:
    """Return the row of a recording; ``received`` is what the last edit was carried out on."""
    unit = bench.produced.unit
    scored = _scored(_judging(bench, iteration, received), condition, recorded.audio)
    row: dict[str, Any] = {
        **_common(bench.produced),
        "condition": condition,
        "iteration": iteration,
        "status": "ok",
        **scored,
        **_heard(bench, recorded.audio),
        "heard_by": _heard_by(bench, recorded.audio.language),
        "kept": {} if kept is None else clean(kept.to_data()),
        "failures": {} if kept is None else dict(kept.failures),
    }
    source = yardsticks["source"]
    expected = unit.expectation(bench.prepared.source, iteration) if kept and source else None
    if unit.is_checked(condition) and expected and kept and source:
        ratio, same_duration, named = expected
        checks = preservation.check(
            kept,
            source,
            yardsticks.get("identity") if condition == "edit" else None,
            reference=yardsticks.get("ideal"),
            length_ratio=ratio,
            same_duration=same_duration,
            waived=named,
            thresholds=bench.thresholds,
        )
        preserved = preservation.verdict(checks)
        verdict = joint(scored["reached"], preserved)
        row |= {"checks": checks, "preserved": preserved, "joint": verdict}
    if recorded.route is not None:
        row |= {
            "route": recorded.route,
            "engine": recorded.engine,
            "details": clean(dict(recorded.details)),
        }
    name = f"iteration-{iteration}" if condition == "edit" else condition
    return {**row, **_place(bench, name, recorded)}


def _missing(produced: Produced, condition: str, iteration: int, made: Outputs) -> dict[str, Any]:
    """Return the row of a recording that was not made: it did not reach its target."""
    return {
        **_common(produced),
        "condition": condition,
        "iteration": iteration,
        "status": made.status,
        "problem": made.problem,
        "reached": False,
        "values": clean(dict(produced.unit.lost())),
        "unscored": None,
        "verdicts": [],
        "heard_by": None,
        "kept": {},
        "failures": {},
        "checks": {},
        "preserved": False,
        "joint": False,
        "route": None,
        "engine": None,
    }


def measure_unit(
    produced: Produced,
    measures: BenchMeasures,
    folder: Path,
    protocol: Protocol,
    thresholds: Thresholds | None = None,
) -> list[dict[str, Any]]:
    """Write a unit's recordings and return its rows: source, then condition by condition.

    Args:
        produced: the recordings.
        measures: the backends.
        folder: the run's folder.
        protocol: tells how many iterations were asked for.
        thresholds: the limits of preservation.
    """
    if produced.prepared is None:
        return [
            _missing(produced, condition, iteration, Outputs((), "failed", produced.problem))
            for condition in protocol.conditions
            if produced.unit.is_checked(condition)
            for iteration in _iterations(produced, condition, protocol)
        ]
    limits = thresholds or Thresholds()
    bench = _Bench(produced, produced.prepared, measures, folder, limits)
    return list(_rows(bench, protocol))


def _iterations(produced: Produced, condition: str, protocol: Protocol) -> range:
    """Return the numbers of a condition's rows: 0 where nothing was edited, unless repeatedly."""
    unit = produced.unit
    if unit.whole:
        return range(1, 2) if condition in ("edit", "dsp") else range(1)
    if condition in ("edit", "dsp"):
        return range(1, len(unit.requests(protocol.iterations)) + 1)
    return range(1, unit.recodings + 1) if unit.recodings > 1 else range(1)


def _rows(bench: _Bench, protocol: Protocol) -> Iterator[dict[str, Any]]:
    """Yield the rows of a unit that has an input."""
    unit = bench.produced.unit
    source = unit.known(bench.prepared.source)
    yardsticks: dict[str, SpeechMeasurements | None] = {"source": _measured(bench, source)}
    yield _row(
        bench, "source", 0, Recorded(source, bench.produced.file), yardsticks["source"], yardsticks
    )
    ideal = bench.prepared.reference
    if ideal is not None:
        floor = preservation.measure(ideal, ideal, ideal.transcript, bench.measures)
        yardsticks["ideal"] = floor
    said_in = unit.case.meta.get("text_language") if unit.case else None
    for condition, made in bench.produced.made.items():
        received = source
        for number, iteration in enumerate(_iterations(bench.produced, condition, protocol)):
            if number >= len(made.steps):
                yield _missing(bench.produced, condition, iteration, made)
                continue
            recorded = made.steps[number]
            if condition in ("edit", "dsp"):
                spoken = said_in or recorded.audio.language or source.language
                recorded = replace(recorded, audio=recorded.audio.replace(language=spoken))
            kept = _measured(bench, recorded.audio)
            yardsticks.setdefault(condition, kept)
            yield _row(bench, condition, iteration, recorded, kept, yardsticks, received)
            received = recorded.audio
