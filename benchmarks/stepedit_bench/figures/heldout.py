"""Held-out speech: short utterances of speakers that the training data do not hold.

A data folder holds manifests, found by name: any ``manifest.csv`` or ``manifest.jsonl`` in it or
one or two levels below, with the columns path, speaker, language, text, seconds and
suggested_split; also, where known, kind, label, text_source and voices. What
``suggested_split`` keeps from training is taken: the rule of the training cache. A manifest with
a column ``voices`` is synthetic speech.

Long recordings are cut at pauses. Text that a recogniser made for the manifest does not fit a
part of the recording and is not used: there the words are what Whisper hears in the original,
and word error is agreement with the original. Each utterance says which of both it has.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from stepedit_bench.figures.hearing import KeptMeasures
from stepedit_bench.suites import slug
from stepedit_core.dsp.vad import speech_spans
from stepedit_core.errors import StepeditError
from stepedit_core.stored_json import json_lines
from stepedit_core.tables import table_rows
from stepedit_core.utterance import Span, Utterance

__all__ = ["KINDS", "Held", "held_out"]

KINDS = ("real", "synthetic")
LEAST, MOST, WISHED = 1.8, 3.7, 2.6
"""Seconds of an utterance: short, for the time that judges and engines take on a CPU."""
_LEAST_WORDS = 3
_PER_RECORDING = 2
_PAUSE = 0.12
_MARGIN = 0.15
"""Silence kept at most at either end of a cut, in seconds."""
_PLAIN = {"", "neutral", "calm", "none"}
"""Labels of speech without an emotion."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Held:
    """One utterance of a speaker who was held out.

    Attributes:
        id: unique, and the same for the same content.
        kind: ``real`` or ``synthetic``.
        speaker: who speaks.
        text_source: ``reference``, or ``whisper`` for what it hears in the original.
        speech: the utterance with its text and language.
    """

    id: str
    kind: str
    speaker: str
    text_source: str
    speech: Utterance


@dataclass(frozen=True)
class _Found:
    """A recording of a manifest."""

    path: Path
    row: Row

    @property
    def kind(self) -> str:
        return "synthetic" if self.row.get("voices") else "real"

    @property
    def speaker(self) -> str:
        return str(self.row.get("speaker") or self.path.stem)

    @property
    def has_reference(self) -> bool:
        source = str(self.row.get("text_source") or "reference")
        return bool(self.row.get("text")) and source == "reference"


def held_out(
    folder: Path, out: Path, count: int, seed: int, measures: KeptMeasures
) -> dict[str, list[Held]]:
    """Return up to ``count`` utterances of each kind, speaker by speaker in turn.

    Fewer utterances are the beginning of more, so that a quick look shares the cache.

    Args:
        folder: with the manifests.
        out: where the utterances are written as FLAC, so that all measure the same bytes.
        count: of each kind.
        seed: orders speakers and their recordings.
        measures: whose recogniser is asked for missing words.

    Raises:
        StepeditError: if there is no manifest, or nobody was held out.
    """
    pools: dict[str, dict[str, list[_Found]]] = {kind: {} for kind in KINDS}
    for found in _recordings(folder):
        pools[found.kind].setdefault(found.speaker, []).append(found)
    if not any(pools.values()):
        raise StepeditError(
            f"{folder}: its manifests hold no English speech with a suggested_split other than "
            "train; figures need speakers that were held out"
        )
    return {kind: _draw(pools[kind], out, count, seed, measures) for kind in KINDS}


def _recordings(folder: Path) -> Iterator[_Found]:
    """Yield the English read or neutral recordings that were kept from training."""
    manifests = [
        path
        for pattern in ("", "*/", "*/*/")
        for suffix in ("csv", "jsonl")
        for path in sorted(folder.glob(f"{pattern}manifest.{suffix}"))
    ]
    if not manifests:
        raise StepeditError(
            f"{folder}: no manifest.csv or manifest.jsonl here or up to two levels below; "
            "--data names the folder with the corpora"
        )
    for manifest in manifests:
        rows: Iterator[tuple[int, Row]] = (
            table_rows(manifest, {"path"}) if manifest.suffix == ".csv" else json_lines(manifest)
        )
        for line, row in rows:
            if not row.get("path"):
                raise StepeditError(f"{manifest}, line {line}: no path of a recording")
            if _wanted(row):
                yield _Found(manifest.parent / str(row["path"]), row)


def _wanted(row: Row) -> bool:
    """Say whether a row is plain English speech of a held-out speaker."""
    split = str(row.get("suggested_split") or "train")
    spoken = str(row.get("kind") or "read") in {"read", "emotion_parallel"}
    english = str(row.get("language") or "").split("-")[0].lower() == "en"
    plain = str(row.get("label") or "").lower() in _PLAIN
    return split != "train" and spoken and english and plain and bool(row.get("path"))


def _order(seed: int, *names: str) -> str:
    """Return a sort key that depends on a name and the seed alone."""
    return hashlib.sha256("/".join((str(seed), *names)).encode()).hexdigest()


def _draw(
    pool: Mapping[str, list[_Found]], out: Path, count: int, seed: int, measures: KeptMeasures
) -> list[Held]:
    """Take one utterance of each speaker in turn until there are enough."""
    queues = [
        _utterances(sorted(found, key=lambda one: _order(seed, one.path.name)), out, measures)
        for _, found in sorted(pool.items(), key=lambda item: _order(seed, item[0]))
    ]
    drawn: list[Held] = []
    while queues and len(drawn) < count:
        for queue in list(queues):
            if len(drawn) == count:
                break
            item = next(queue, None)
            if item is None:
                queues.remove(queue)
            else:
                drawn.append(item)
    return drawn


def _utterances(recordings: list[_Found], out: Path, measures: KeptMeasures) -> Iterator[Held]:
    """Yield the utterances of a speaker: whole recordings first, then parts of long ones."""
    seconds = [float(found.row.get("seconds") or 0) for found in recordings]
    short = [r for r, length in zip(recordings, seconds, strict=True) if LEAST <= length <= MOST]
    long = [r for r, length in zip(recordings, seconds, strict=True) if length > MOST]
    for found in short:
        text = str(found.row["text"]) if found.has_reference else None
        item = _held(found, found.path.stem, Utterance.read(found.path), text, out, measures)
        if item is not None:
            yield item
    for found in long:
        speech = Utterance.read(found.path)
        for number, span in enumerate(excerpts(speech)):
            name = f"{found.path.stem}-{number}"
            item = _held(found, name, speech.slice(span), None, out, measures)
            if item is not None:
                yield item


def excerpts(speech: Utterance) -> list[Span]:
    """Return up to two stretches between pauses, nearest to 2.6 s first, without overlap."""
    spans = speech_spans(speech, min_silence=_PAUSE, pad=0.0)
    if not spans:
        return []
    pauses = [(0.0, spans[0].start), *((a.end, b.start) for a, b in pairwise(spans))]
    pauses.append((spans[-1].end, speech.seconds))
    found = []
    for first, (_, start) in enumerate(pauses):
        for end, _ in pauses[first + 1 :]:
            left = max(start - _MARGIN, sum(pauses[first]) / 2)
            span = Span(left, min(end + _MARGIN, speech.seconds))
            if LEAST <= span.seconds <= MOST:
                found.append(span)
    chosen: list[Span] = []
    for span in sorted(found, key=lambda one: abs(one.seconds - WISHED)):
        free = all(span.end <= other.start or span.start >= other.end for other in chosen)
        if free and len(chosen) < _PER_RECORDING:
            chosen.append(span)
    return chosen


def _held(
    found: _Found, name: str, speech: Utterance, text: str | None, out: Path, measures: KeptMeasures
) -> Held | None:
    """Write an utterance and find its words; None where there are hardly any."""
    mark = hashlib.sha256(speech.digest.encode()).hexdigest()[:8]
    path = out / found.kind / f"{slug(name)}-{mark}.flac"
    if not path.is_file():
        speech.write(path, subtype="PCM_16")
    kept = Utterance.read(path, text, "en")
    if text is None:
        kept = kept.replace(transcript=measures.transcribe(kept).strip())
    if len((kept.transcript or "").split()) < _LEAST_WORDS:
        return None
    source = "whisper" if text is None else "reference"
    return Held(f"{found.kind}/{path.stem}", found.kind, found.speaker, source, kept)
