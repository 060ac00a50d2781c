"""Measure the recordings of a unit: one row of results for each."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stepedit_bench import preservation
from stepedit_bench.preservation import BenchMeasures, Kept, Thresholds
from stepedit_bench.produce import Produced, Protocol
from stepedit_core.atomic import write_atomically
from stepedit_core.edit import Edit
from stepedit_core.errors import StepeditError
from stepedit_core.recordings import packaged
from stepedit_core.registry.registry import get_registry
from stepedit_core.scoring import Case, Prepared, Score, Scorer
from stepedit_core.utterance import Utterance

__all__ = ["class_of", "clean", "joint", "measure_unit", "waived"]


@dataclass(frozen=True)
class _Bench:
    """What all rows of a unit need."""

    produced: Produced
    prepared: Prepared
    scorer: Scorer
    measures: BenchMeasures
    folder: Path
    source: Kept


def class_of(case: Case) -> str:
    """Return the class that a case is counted in: its own, the edit's goal, or the request."""
    named = case.meta.get("class")
    goal = case.edit.to_data().get("to")
    return str(named or goal or case.edit)


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
    """Return what all rows of a unit share."""
    unit, case, registry = produced.unit, produced.unit.case, get_registry()
    source = produced.prepared.source if produced.prepared else None
    scorer = registry.scorer(type(case.edit))
    return {
        "edit": unit.edit,
        "case": case.id,
        "class": class_of(case),
        "language": case.language or (source.language if source else None),
        "speaker": case.meta.get("speaker") or _packaged_speaker(case),
        "row": case.meta.get("row"),
        "request": case.edit.to_data(),
        "seed": unit.seed,
        "plugin": str(registry.origin(case.edit)),
        "scorer": f"{type(scorer).__module__}.{type(scorer).__name__}",
        "scorer_version": scorer.version,
    }


def _packaged_speaker(case: Case) -> str | None:
    """Return who speaks a shipped recording, or None for others."""
    kind, _, name = case.audio.partition(":")
    known = packaged().get(name) if kind == "speech" else None
    return None if known is None else known.speaker


def _score(bench: _Bench, output: Utterance) -> tuple[Score, list[dict[str, Any]]]:
    """Score an output; what a scorer raises leaves the case unscored, with the reason."""
    case = bench.produced.unit.case
    labels = case.meta.get("judge_labels")
    bench.measures.labels = tuple(labels) if labels else None
    bench.measures.take_verdicts()
    try:
        score = bench.scorer.score(case, bench.prepared, output, bench.measures)
    except StepeditError as error:
        score = Score.failed(str(error))
    except Exception as error:
        score = Score.failed(f"{type(bench.scorer).__name__}: {type(error).__name__}: {error}")
    return score, bench.measures.take_verdicts()


def _write(bench: _Bench, name: str, audio: Utterance) -> dict[str, str]:
    """Keep a recording as 32-bit float WAV and return its place and digest."""
    from scipy.io import wavfile

    relative = f"{bench.produced.unit.folder}/{name}.wav"
    buffer = io.BytesIO()
    # libsndfile stamps float files with the time of writing; these bytes must not change.
    wavfile.write(buffer, audio.sample_rate, audio.samples)
    write_atomically(bench.folder / relative, buffer.getvalue())
    return {"audio": relative, "audio_sha256": audio.digest}


def _scored(bench: _Bench, output: Utterance) -> dict[str, Any]:
    score, verdicts = _score(bench, output)
    return {
        "reached": score.reached,
        "values": clean(dict(score.values)),
        "unscored": score.unscored,
        "verdicts": clean(verdicts),
    }


def _plain(bench: _Bench, condition: str, audio: Utterance, kept: Kept) -> dict[str, Any]:
    """Return the row of a recording that no edit has touched: source or identity."""
    return {
        **_common(bench.produced),
        "condition": condition,
        "iteration": 0,
        "status": "ok",
        **_scored(bench, audio),
        "kept": clean(kept.to_data()),
        "failures": dict(kept.failures),
        **_write(bench, condition, audio),
    }


def _edited(
    bench: _Bench, iteration: int, identity: Kept | None, thresholds: Thresholds
) -> dict[str, Any]:
    """Return the row of one iteration."""
    step = bench.produced.steps[iteration - 1]
    edit, source = bench.produced.unit.case.edit, bench.prepared.source
    said_in = bench.produced.unit.case.meta.get("text_language")
    output = step.utterance.replace(language=said_in or step.utterance.language or source.language)
    ideal = bench.prepared.reference
    kept = preservation.measure(output, source, output.transcript, bench.measures, ideal)
    checks = preservation.check(
        kept,
        bench.source,
        identity,
        reference=_ideal(bench),
        length_ratio=_length_ratio(edit, source, iteration),
        same_duration=bench.scorer.expects_same_duration,
        waived=waived(bench.scorer, bench.produced.unit.case),
        thresholds=thresholds,
    )
    preserved = preservation.verdict(checks)
    scored = _scored(bench, output)
    return {
        **_common(bench.produced),
        "condition": "edit",
        "iteration": iteration,
        "status": "ok",
        **scored,
        "kept": clean(kept.to_data()),
        "failures": dict(kept.failures),
        "checks": checks,
        "preserved": preserved,
        "joint": joint(scored["reached"], preserved),
        "route": step.route,
        "engine": step.engine,
        "details": clean(dict(step.details)),
        **_write(bench, f"iteration-{iteration}", output),
    }


def _ideal(bench: _Bench) -> Kept | None:
    """Measure the ideal output, where one exists."""
    ideal = bench.prepared.reference
    if ideal is None:
        return None
    return preservation.measure(ideal, ideal, ideal.transcript, bench.measures)


def _length_ratio(edit: Edit, source: Utterance, iteration: int) -> float:
    """Return the announced duration after some iterations over the source's."""
    return float(edit.plan(source).length_ratio) ** iteration


def waived(scorer: Scorer, case: Case) -> frozenset[str]:
    """Return the checks that do not count for a case, because its target contradicts them."""
    named = scorer.waives(case)
    return named if scorer.expects_same_speaker else named | {"speaker"}


def _missing(produced: Produced, iteration: int) -> dict[str, Any]:
    """Return the row of an iteration that was not made: it did not reach its target."""
    return {
        **_common(produced),
        "condition": "edit",
        "iteration": iteration,
        "status": produced.status,
        "problem": produced.problem,
        "reached": False,
        "values": {},
        "unscored": None,
        "verdicts": [],
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
    """Write a unit's recordings and return its rows: source, identity, then each iteration.

    Args:
        produced: the recordings.
        measures: the backends.
        folder: the run's folder.
        protocol: tells how many iterations were asked for.
        thresholds: the limits of preservation.
    """
    asked = range(1, protocol.iterations + 1)
    if produced.prepared is None:
        return [_missing(produced, iteration) for iteration in asked]
    source = produced.prepared.source
    ideal = produced.prepared.reference
    floor = preservation.measure(source, source, source.transcript, measures, ideal)
    scorer = get_registry().scorer(type(produced.unit.case.edit))
    bench = _Bench(produced, produced.prepared, scorer, measures, folder, floor)
    rows = [_plain(bench, "source", source, floor)]
    identity: Kept | None = None
    if produced.identity is not None:
        coded = produced.identity
        identity = preservation.measure(coded, source, source.transcript, measures, ideal)
        rows.append(_plain(bench, "identity", coded, identity))
    limits = thresholds or Thresholds()
    for iteration in asked:
        made = iteration <= len(produced.steps)
        rows.append(
            _edited(bench, iteration, identity, limits) if made else _missing(produced, iteration)
        )
    return rows
