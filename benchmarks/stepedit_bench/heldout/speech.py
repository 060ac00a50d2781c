"""Held-out speech: short utterances of speakers that the training data do not hold.

A data folder holds manifests, found by name: any ``manifest.csv`` or ``manifest.jsonl`` in it or
one or two levels below, with the columns path, speaker, language, text, seconds and
suggested_split; also, where known, kind, label, text_source and voices. What
``suggested_split`` keeps from training is taken: the rule of the training cache. A manifest with
a column ``voices`` is synthetic speech.

Utterances come in strata of length. Where recordings are shorter than a stratum, neighbours of one
speaker are joined, with a short pause between them; where they are longer, they are cut at pauses.
Text that a recogniser made for the manifest does not fit a part of the recording and is not used:
there the words are what Whisper hears in the original, and word error is agreement with the
original. Where a table of reference texts is given, Whisper says which part of a text it is and
where its sentences end, and the text which words they are. Each utterance says which it has.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stepedit_bench.heldout.wording import with_reference_words
from stepedit_bench.measuring.text_error import counts_characters
from stepedit_bench.suites import slug
from stepedit_core.dsp.vad import speech_spans
from stepedit_core.errors import StepeditError
from stepedit_core.scoring import Measures
from stepedit_core.storage.stored_json import json_lines
from stepedit_core.storage.tables import table_rows
from stepedit_core.utterance import Span, Utterance

__all__ = ["KINDS", "LENGTHS", "SHORT", "HeldOutUtterance", "Length", "held_out"]

KINDS = ("real", "synthetic")


@dataclass(frozen=True)
class Length:
    """A stratum of length.

    Attributes:
        least: seconds of the shortest utterance.
        most: seconds of the longest one.
        wished: seconds that cuts and joined utterances come near to.
    """

    least: float
    most: float
    wished: float

    @property
    def label(self) -> str:
        """Name in tables."""
        return f"{self.least:g}-{self.most:g} s"


LENGTHS: Mapping[str, Length] = {
    "short": Length(1.8, 3.7, 2.6),
    "medium": Length(4.0, 10.0, 7.0),
    "long": Length(10.0, 30.0, 18.0),
}
"""Strata by name; the short one is measured by default, for the time that judges take on a CPU."""
SHORT = LENGTHS["short"]
_JOIN_PAUSE = 0.3
"""Seconds between joined utterances."""
_LEAST_WORDS = 3
"""Words, or characters of languages that are written without spaces."""
_PER_RECORDING = 2
_PAUSE = 0.12
_MARGIN = 0.15
"""Silence kept at most at either end of a cut, in seconds."""
_PLAIN = {"", "neutral", "calm", "none"}
"""Labels of speech without an emotion."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class HeldOutUtterance:
    """One utterance of a speaker who was held out.

    Attributes:
        id: unique, and the same for the same content.
        kind: ``real`` or ``synthetic``.
        speaker: who speaks.
        text_source: ``reference``, or ``whisper`` for what it hears in the original.
        speech: the utterance with its text and language.
        file: where it is kept.
        length: its stratum.
    """

    id: str
    kind: str
    speaker: str
    text_source: str
    speech: Utterance
    file: Path | None = None
    length: Length = SHORT


@dataclass(frozen=True)
class _Found:
    """A recording of a manifest."""

    path: Path
    row: Row
    reference: str | None = None
    """Words of the whole recording, by a table beside the manifest."""

    @property
    def kind(self) -> str:
        return "synthetic" if self.row.get("voices") else "real"

    @property
    def speaker(self) -> str:
        return str(self.row.get("speaker") or self.path.stem)

    @property
    def language(self) -> str:
        return _language_of(self.row)

    @property
    def has_reference(self) -> bool:
        source = str(self.row.get("text_source") or "reference")
        return bool(self.row.get("text")) and source == "reference"


def held_out(
    folder: Path,
    out: Path,
    count: int,
    seed: int,
    measures: Measures,
    lengths: Sequence[Length] = (SHORT,),
    language: str = "en",
    texts: Mapping[str, str] | None = None,
) -> dict[tuple[str, str], list[HeldOutUtterance]]:
    """Return up to ``count`` utterances of each kind and length, speaker by speaker in turn.

    Fewer utterances are the beginning of more, so that a quick look shares the cache.

    Args:
        folder: with the manifests.
        out: where the utterances are written as FLAC, so that all measure the same bytes.
        count: of each kind.
        seed: orders speakers and their recordings.
        measures: whose recogniser is asked for missing words.
        lengths: strata of length.
        language: primary subtag of the speech that is taken.
        texts: words of recordings by their path in a manifest.

    Returns:
        (kind, label of the length) to the utterances.

    Raises:
        StepeditError: if there is no manifest, or nobody was held out.
    """
    pools: dict[str, dict[str, list[_Found]]] = {kind: {} for kind in KINDS}
    for found in _recordings(folder, language, texts or {}):
        pools[found.kind].setdefault(found.speaker, []).append(found)
    if not any(pools.values()):
        raise StepeditError(
            f"{folder}: its manifests hold no speech of language {language} with a suggested_split "
            "other than train; figures need speakers that were held out"
        )
    return {
        (kind, length.label): _draw(pools[kind], out, count, seed, measures, length)
        for length in lengths
        for kind in KINDS
    }


def _recordings(folder: Path, language: str, texts: Mapping[str, str]) -> Iterator[_Found]:
    """Yield the read or neutral recordings of a language that were kept from training."""
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
            if _wanted(row, language):
                path = str(row["path"])
                yield _Found(manifest.parent / path, row, texts.get(path))


def _wanted(row: Row, language: str) -> bool:
    """Return whether a row is plain speech of a held-out speaker, in a language."""
    split = str(row.get("suggested_split") or "train")
    spoken = str(row.get("kind") or "read") in {"read", "emotion_parallel"}
    own = _language_of(row) == language
    plain = str(row.get("label") or "").lower() in _PLAIN
    return split != "train" and spoken and own and plain and bool(row.get("path"))


def _language_of(row: Row) -> str:
    """Return the primary subtag of a row's language."""
    return str(row.get("language") or "").split("-")[0].lower()


def _order(seed: int, *names: str) -> str:
    """Return a sort key that depends on a name and the seed alone."""
    return hashlib.sha256("/".join((str(seed), *names)).encode()).hexdigest()


def _draw(
    pool: Mapping[str, list[_Found]],
    out: Path,
    count: int,
    seed: int,
    measures: Measures,
    length: Length,
) -> list[HeldOutUtterance]:
    """Take one utterance of each speaker in turn until there are enough."""
    queues = [
        _utterances(
            sorted(found, key=lambda one: _order(seed, one.path.name)), out, measures, length
        )
        for _, found in sorted(pool.items(), key=lambda item: _order(seed, item[0]))
    ]
    drawn: list[HeldOutUtterance] = []
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


def _utterances(
    recordings: list[_Found], out: Path, measures: Measures, length: Length
) -> Iterator[HeldOutUtterance]:
    """Yield the utterances of a speaker: whole recordings, joined ones, then parts of long ones."""
    seconds = [float(found.row.get("seconds") or 0) for found in recordings]
    timed = list(zip(recordings, seconds, strict=True))
    for found in [r for r, each in timed if length.least <= each <= length.most]:
        text = str(found.row["text"]) if found.has_reference and not found.reference else None
        speech = Utterance.read(found.path)
        item = _held(found, found.path.stem, speech, text, out, measures, length)
        if item is not None:
            yield item
    for group in _neighbours([(r, each) for r, each in timed if each < length.least], length):
        item = _joined(group, out, measures, length)
        if item is not None:
            yield item
    for found in [r for r, each in timed if each > length.most]:
        speech = Utterance.read(found.path)
        for number, span in enumerate(excerpts(speech, length)):
            name = f"{found.path.stem}-{number}"
            item = _held(found, name, speech.slice(span), None, out, measures, length)
            if item is not None:
                yield item


def _neighbours(timed: list[tuple[_Found, float]], length: Length) -> Iterator[list[_Found]]:
    """Yield groups of recordings that follow each other by name and are long enough together."""
    if length == SHORT:  # a word of a list is no utterance, and neither are two
        return
    group: list[_Found] = []
    total = 0.0
    for found, seconds in sorted(timed, key=lambda item: str(item[0].path)):
        longer = total + seconds + (_JOIN_PAUSE if group else 0.0)
        apart = bool(group) and found.path.parent != group[0].path.parent
        if apart or longer > length.most or total >= length.wished:
            if total >= length.least:
                yield group
            group, longer = [], seconds
        group, total = [*group, found], longer
    if total >= length.least:
        yield group


def _joined(
    group: Sequence[_Found], out: Path, measures: Measures, length: Length
) -> HeldOutUtterance | None:
    """Join recordings of one speaker, at the rate of the first."""
    parts = [Utterance.read(found.path) for found in group]
    rate = parts[0].sample_rate
    pieces: list[npt.NDArray[np.float32]] = []
    for part in parts:
        if pieces:
            pieces.append(np.zeros(round(_JOIN_PAUSE * rate), np.float32))
        pieces.append(part.resample(rate).samples)
    known = all(found.has_reference for found in group)
    text = " ".join(str(found.row["text"]).strip() for found in group) if known else None
    name = f"{group[0].path.stem}+{len(group) - 1}"
    return _held(
        group[0], name, Utterance(np.concatenate(pieces), rate), text, out, measures, length
    )


def excerpts(speech: Utterance, length: Length = SHORT) -> list[Span]:
    """Return up to two stretches between pauses, nearest to the wished length, without overlap."""
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
            if length.least <= span.seconds <= length.most:
                found.append(span)
    chosen: list[Span] = []
    for span in sorted(found, key=lambda one: abs(one.seconds - length.wished)):
        free = all(span.end <= other.start or span.start >= other.end for other in chosen)
        if free and len(chosen) < _PER_RECORDING:
            chosen.append(span)
    return chosen


def _held(
    found: _Found,
    name: str,
    speech: Utterance,
    text: str | None,
    out: Path,
    measures: Measures,
    length: Length,
) -> HeldOutUtterance | None:
    """Write an utterance and find its words; None where there are hardly any."""
    mark = hashlib.sha256(speech.digest.encode()).hexdigest()[:8]
    path = out / found.kind / f"{slug(name)}-{mark}.flac"
    if not path.is_file():
        speech.write(path, subtype="PCM_16")
    kept = Utterance.read(path, text, found.language)
    is_heard = text is None
    if is_heard:
        kept = kept.replace(transcript=measures.transcribe(kept).strip())
        right = with_reference_words(kept.transcript or "", found.reference or "")
        if right is not None:
            kept, is_heard = kept.replace(transcript=right), False
    words = kept.transcript or ""
    if len(words if counts_characters(found.language) else words.split()) < _LEAST_WORDS:
        return None
    source = "whisper" if is_heard else "reference"
    return HeldOutUtterance(
        f"{found.kind}/{path.stem}", found.kind, found.speaker, source, kept, path, length
    )
