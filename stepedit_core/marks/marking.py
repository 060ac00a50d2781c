"""Write results with their marks, and verify the marks of a file."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import numpy as np

import stepedit_core
from stepedit_core.atomic import is_outlet, replace_file
from stepedit_core.chain.chain import ChainResult
from stepedit_core.errors import StepeditError, suggest
from stepedit_core.marks.mark import Finding, Mark
from stepedit_core.marks.sidecar import file_hash
from stepedit_core.registry.registry import Registry, get_registry
from stepedit_core.storage.blocks import sound_problem
from stepedit_core.utterance import Span, Utterance

__all__ = ["edited_spans", "load_marks", "mark_file", "record_of", "verify", "write_marked"]

_SAME_SECONDS = 0.02
"""Fewer equal samples in a row than this, amid edited ones, count as edited."""
_IPTC = "http://cv.iptc.org/newscodes/digitalsourcetype/"


def load_marks(
    names: Sequence[str], target: Path | None = None, registry: Registry | None = None
) -> list[Mark]:
    """Return marks by name, each once.

    Args:
        names: as ``--mark`` takes them.
        target: what will be marked; one that cannot carry a mark is refused.
        registry: whose plugins are asked; the process's registry by default.

    Raises:
        StepeditError: if a name is unknown, something is not installed or set up, or the target
            cannot carry the mark.
    """
    known = (registry or get_registry()).named("stepedit_marks", lambda kind: str(kind.name))
    marks: list[Mark] = []
    for name in dict.fromkeys(names):
        if name not in known:
            hint = suggest(name, known) or f"; there are {', '.join(sorted(known))}"
            raise StepeditError(f"no mark {name!r}{hint}")
        kind = cast("type[Mark]", known[name])
        missing = kind.missing()
        if missing:
            raise StepeditError(f"mark {name}: {missing}")
        mark = kind()
        problem = None if target is None else mark.problem(target)
        if problem:
            raise StepeditError(f"mark {name}: {problem}")
        marks.append(mark)
    return marks


def write_marked(
    result: ChainResult,
    path: str | Path,
    marks: Sequence[str | Mark] = ("sidecar",),
    *,
    source_file: Path | None = None,
    registry: Registry | None = None,
) -> Path:
    """Write what a chain made, with marks in its sound, in its file and beside it.

    The file gets its name once it is marked; what lies beside it is written after it.

    Args:
        result: what ran.
        path: as for `Utterance.write`.
        marks: names, or marks that are loaded.
        source_file: what the source was read from, for its hash.
        registry: whose plugins are asked; the process's registry by default.

    Returns:
        The file.

    Raises:
        StepeditError: if a mark is unknown, cannot be made, or the file cannot be written.
    """
    target = Path(path)
    loaded = [
        one
        for mark in marks
        for one in ([mark] if isinstance(mark, Mark) else load_marks([mark], target, registry))
    ]
    edited = result.utterance
    spans = edited_spans(result.source, edited)
    for mark in loaded:
        if spans and mark.marks_sound:
            edited = mark.in_sound(edited, spans)
    record = record_of(result, source_file)
    record["edited_spans"] = [[round(edge, 4) for edge in span] for span in spans]
    record["marks"] = [mark.name for mark in loaded]
    record["output"] = {
        "sha256_of_samples": edited.digest,
        "audio_seconds": round(edited.seconds, 4),
        "sample_rate": edited.sample_rate,
    }

    def finish(partial: Path) -> None:
        for mark in loaded:
            mark.in_file(partial, target, record)

    edited.write(target, finish=finish)
    for mark in loaded:
        mark.beside(target, record)
    return target


def mark_file(path: Path, record: Mapping[str, Any], marks: Sequence[Mark]) -> None:
    """Mark a file that is written already: what a long recording was edited into.

    Args:
        path: the file; it keeps its old content where a mark cannot be made.
        record: what is said, such as `RecordingResult.report` and ``origin`` give.
        marks: those that change no samples.

    Raises:
        StepeditError: if a mark cannot be made.
    """
    told = {**origin(_has_model(record)), **record, "marks": [mark.name for mark in marks]}
    told["output"] = {"audio_seconds": record.get("audio_seconds")}

    def fill(partial: Path) -> None:
        shutil.copyfile(path, partial)
        for mark in marks:
            mark.in_file(partial, path, told)

    if any(type(mark).in_file is not Mark.in_file for mark in marks):
        replace_file(path, fill)
    for mark in marks:
        mark.beside(path, told)


def origin(by_model: bool) -> dict[str, Any]:
    """Return software and version, time, and the IPTC's digital source type."""
    kind = "compositeWithTrainedAlgorithmicMedia" if by_model else "algorithmicallyEnhanced"
    return {
        "schema": "stepedit-provenance/1",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "generator": f"stepedit {stepedit_core.__version__}",
        "by_model": by_model,
        "digital_source_type": _IPTC + kind,
    }


def record_of(result: ChainResult, source_file: Path | None = None) -> dict[str, Any]:
    """Return the record of a result: origin, model, chain, hashes; JSON data.

    Where an edit hides words, neither they nor what was said before are in it.
    """
    report = result.report()
    by_model = any(step.route == "llm" for step in result.steps)
    source = dict(report.pop("source"))
    source["sha256_of_samples"] = source.pop("sha256")
    if source_file is not None and not is_outlet(source_file):
        source |= {"name": source_file.name, "sha256": file_hash(source_file)}
    return {
        **origin(by_model),
        "input": source,
        "chain": [step["edit"] for step in report["steps"]],
        "engine": report["engine"],
        "seed": report["seed"],
        "steps": report["steps"],
    }


def edited_spans(source: Utterance, edited: Utterance) -> list[Span]:
    """Return the spans that differ from the source, in seconds of the edited utterance.

    Where the length is the same, each stretch is found; otherwise all from the first difference
    to the last. Another rate is another recording.
    """
    a, b, rate = source.samples, edited.samples, edited.sample_rate
    if source.sample_rate != rate:
        return [Span(0.0, edited.seconds)]
    n = min(len(a), len(b))
    if len(a) != len(b):
        head = int(np.argmax(np.append(a[:n] != b[:n], True)))
        tail = int(np.argmax(np.append(a[len(a) - n :][::-1] != b[len(b) - n :][::-1], True)))
        tail = min(tail, n - head)
        return [Span(head / rate, (len(b) - tail) / rate)] if head < len(b) - tail else []
    places = np.flatnonzero(a != b)
    if not len(places):
        return []
    cuts = np.flatnonzero(np.diff(places) > max(1, round(_SAME_SECONDS * rate)))
    firsts = places[np.concatenate([[0], cuts + 1])]
    lasts = places[np.concatenate([cuts, [len(places) - 1]])]
    return [Span(int(i) / rate, (int(j) + 1) / rate) for i, j in zip(firsts, lasts, strict=True)]


def verify(path: str | Path, *, registry: Registry | None = None) -> list[Finding]:
    """Return the finding of every known mark on a file, in order of their names.

    Args:
        path: an audio file.
        registry: whose plugins are asked; the process's registry by default.

    Raises:
        StepeditError: if the file cannot be read, or is no audio file and nothing is said of it.
    """
    file = Path(path)
    if not file.is_file():
        what = "no file" if file.exists() else "no such file"
        cure = "; write it to a file first, whose name a mark beside it bears"
        raise StepeditError(f"{file}: {what}{cure if is_outlet(file) else ''}")
    problem = sound_problem(file)
    known = (registry or get_registry()).named("stepedit_marks", lambda kind: str(kind.name))
    found = [_found(cast("type[Mark]", kind), file, problem) for kind in known.values()]
    if problem is not None and all(one.state in ("absent", "unknown") for one in found):
        raise StepeditError(problem)
    return found


def _found(kind: type[Mark], path: Path, problem: str | None) -> Finding:
    """Return what one mark says of a file; one that cannot be looked for says why."""
    missing = kind.unreadable() or (problem if kind.within else None)
    if missing:
        return Finding(kind.name, "unknown", missing)
    try:
        return kind().find(path)
    except StepeditError as error:
        return Finding(kind.name, "unknown", str(error))


def _has_model(record: Mapping[str, Any]) -> bool:
    """Return whether a step of a report was carried out by a model."""
    pieces = record.get("pieces") or ()
    steps = [step for piece in pieces for step in piece["details"].get("steps", ())]
    return any(step.get("route") == "llm" for step in steps)
