"""The pieces stage: cached recordings to a corpus of short utterances, for building pairs.

Short recordings are taken whole. Long ones are cut in pauses between words, each piece with its
own words where a forced alignment is at hand, and without words where it is not. Neighbouring
pieces of a speaker may be joined to longer utterances.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from stepedit_core.atomic import write_atomically
from stepedit_core.dsp import alignment as forced_alignment
from stepedit_core.dsp.vad import speech_spans
from stepedit_core.dsp.words import Word, split_words
from stepedit_core.errors import AlignmentError, counted
from stepedit_core.storage.blocks import encoded_sound
from stepedit_core.utterance import Span, Utterance
from stepedit_train.data.cache import AUDIO_RATE, Array, Cache, CachedItem
from stepedit_train.data.joining import joined, runs_to_join
from stepedit_train.seeds import rng_of
from stepedit_train.settings import Settings, resolve_path

__all__ = ["Piece", "PiecesSettings", "cut_places", "make_pieces"]

EDGE_SECONDS = 0.15
"""Pause kept at the end of a piece at most."""
BATCH = 32
"""Recordings whose pieces are written before the manifest's part that names them."""


class PiecesSettings(Settings):
    """Settings of the pieces stage."""

    caches: tuple[Path, ...]
    """Caches of the data stage."""
    out: Path
    """Folder of the corpus: ``manifest.jsonl`` and ``audio/``."""
    splits: tuple[Literal["train", "dev", "test"], ...] = ("train", "dev")
    """Splits to take; a piece keeps that of its recording."""
    languages: tuple[str, ...] = ()
    """Codes of the languages to take; none: all."""
    min_seconds: float = Field(default=1.5, gt=0)
    """Shorter pieces are left out."""
    max_seconds: float = Field(default=6.0, gt=0)
    """Longer recordings are cut."""
    pause_seconds: float = Field(default=0.12, gt=0)
    """Shortest pause in which a recording is cut."""
    joined_seconds: tuple[float, float] | None = None
    """Neighbouring pieces of a speaker are joined, too, to utterances of this duration."""
    seed: int = Field(default=0, ge=0)
    """Seed of the places where recordings are cut."""


@dataclass(frozen=True)
class Piece:
    """A part of a recording.

    Attributes:
        start: second at which it begins.
        stop: second at which it ends.
        text: its words, or None where they are not known.
    """

    start: float
    stop: float
    text: str | None


def make_pieces(settings: PiecesSettings) -> Iterator[str]:
    """Write the corpus, going on where an earlier call stopped; yield lines that say what is there.

    Raises:
        StepeditError: if a cache cannot be read.
    """
    out = resolve_path(settings, settings.out)
    for folder in settings.caches:
        cache = Cache(resolve_path(settings, folder), ("audio",), settings.splits)
        name = f"{cache.folder.name}-{cache.fingerprint}"
        for first in range(0, len(cache), BATCH):
            part = out / "parts" / f"{name}-{first:06d}.jsonl"
            if not part.is_file():
                _write_part(
                    out, part, cache, range(first, min(first + BATCH, len(cache))), settings
                )
    yield _write_manifest(out)
    if settings.joined_seconds is not None:
        _join(out, settings.joined_seconds, settings.seed)
        yield _write_manifest(out)


def _write_part(
    out: Path, part: Path, cache: Cache, places: range, settings: PiecesSettings
) -> None:
    """Write the pieces of some recordings, then the rows that name them."""
    rows = []
    for place in places:
        item = cache.items[place]
        if settings.languages and _language(item) not in settings.languages:
            continue
        audio = cache.audio(place)
        for number, piece in enumerate(_pieces(item, audio, settings)):
            name = f"audio/{item.id.replace('/', '_')}-{number:02d}.flac"
            samples = audio[round(piece.start * AUDIO_RATE) : round(piece.stop * AUDIO_RATE)]
            _write_flac(out / name, samples)
            rows.append(_row(item, piece, f"{item.id}#{number}", name))
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    write_atomically(part, lines)


def _join(out: Path, seconds: tuple[float, float], seed: int) -> None:
    """Write longer utterances of the pieces, then the rows that name them."""
    part = out / "parts" / "joined.jsonl"
    if part.is_file():
        return
    # Words may hold line separators of Unicode, at which splitlines would cut a row.
    lines = (out / "manifest.jsonl").read_text("utf-8").split("\n")
    rows = [json.loads(line) for line in lines if line]
    made: list[str] = []
    for run in runs_to_join(rows, seconds, rng_of(seed, "joining")):
        found = joined(out, run, rng_of(seed, "joining", run[0]["id"]))
        if found is None:
            continue
        samples, row = found
        name = f"audio/{row['id'].replace('/', '_').replace('#', '-')}.flac"
        _write_flac(out / name, samples)
        made.append(json.dumps({**row, "path": name}, ensure_ascii=False) + "\n")
    write_atomically(part, "".join(made))


def _write_flac(path: Path, samples: Array) -> None:
    write_atomically(path, encoded_sound(samples, AUDIO_RATE, "FLAC", "PCM_16"))


def _row(item: CachedItem, piece: Piece, name: str, path: str) -> dict[str, Any]:
    row = {
        "id": name,
        "path": path,
        "text": piece.text,
        "speaker": item.speaker,
        "language": item.language,
        "split": item.split,
        "licence": item.licence,
        "corpus": item.corpus,
        "seconds": round(piece.stop - piece.start, 4),
        "start": round(piece.start, 4),
        "source_rate": item.source_rate,
    }
    return {key: value for key, value in row.items() if value is not None}


def _language(item: CachedItem) -> str:
    return (item.language or "").split("-")[0].lower()


def _pieces(item: CachedItem, audio: Array, settings: PiecesSettings) -> list[Piece]:
    """Return the pieces of a recording."""
    seconds = len(audio) / AUDIO_RATE
    if seconds < settings.min_seconds:
        return []
    if seconds <= settings.max_seconds:
        return [Piece(0.0, seconds, item.transcript)]
    whole = Utterance(audio, AUDIO_RATE, item.transcript, item.language)
    words = split_words(item.transcript or "")
    times = align_words(whole, words) if _language(item) == "en" else None
    spans: list[tuple[float, float]]
    if times is None:
        heard = speech_spans(whole, min_speech=0.1, min_silence=settings.pause_seconds, pad=0.0)
        spans = [(span.start, span.end) for span in heard]
    else:
        spans = [*times]
    chosen = cut_places(spans, settings, rng_of(settings.seed, "pieces", item.id))
    found = []
    for first, last in chosen:
        start = max(_middle(spans, first), spans[first][0] - EDGE_SECONDS)
        stop = min(_middle(spans, last, seconds), spans[last - 1][1] + EDGE_SECONDS)
        text = None
        if times is not None:
            text = (item.transcript or "")[words[first].start : words[last - 1].end]
        found.append(Piece(max(0.0, start), min(stop, seconds), text))
    return found


def align_words(whole: Utterance, words: list[Word]) -> list[Span] | None:
    """Return when each word is spoken, or None where the aligner cannot tell.

    Raises:
        MissingDependencyError: if the aligner is not installed.
    """
    try:
        return forced_alignment.align_words(whole, words)
    except AlignmentError:
        return None


def _middle(spans: Sequence[tuple[float, float]], place: int, seconds: float = 0.0) -> float:
    """Return the middle of the pause before a span; at the ends, those of the recording."""
    if place == 0:
        return 0.0
    if place == len(spans):
        return seconds
    return (spans[place - 1][1] + spans[place][0]) / 2


def cut_places(
    spans: Sequence[tuple[float, float]], settings: PiecesSettings, rng: np.random.Generator
) -> list[tuple[int, int]]:
    """Return first and stop of runs of spans between pauses, drawn among those that fit in length.

    Args:
        spans: start and end of words or stretches of speech, in seconds, ascending.
        settings: give the shortest pause and the lengths.
        rng: draws.
    """
    edges = [
        place
        for place in range(1, len(spans))
        if spans[place][0] - spans[place - 1][1] >= settings.pause_seconds
    ]
    edges = [0, *edges, len(spans)] if spans else []
    shortest, longest = settings.min_seconds + 0.1, settings.max_seconds - 2 * EDGE_SECONDS
    found, at = [], 0
    while at < len(edges) - 1:
        begin = spans[edges[at]][0]
        fitting = [
            stop
            for stop in range(at + 1, len(edges))
            if shortest <= spans[edges[stop] - 1][1] - begin <= longest
        ]
        if not fitting:
            at += 1
            continue
        stop = int(rng.choice(fitting))
        found.append((edges[at], edges[stop]))
        at = stop
    return found


def _write_manifest(out: Path) -> str:
    """Join the parts and return a line that says what the corpus holds."""
    lines = [
        line
        for part in sorted((out / "parts").glob("*.jsonl"))
        for line in part.read_text(encoding="utf-8").split("\n")
        if line
    ]
    write_atomically(out / "manifest.jsonl", "".join(line + "\n" for line in lines))
    rows = [json.loads(line) for line in lines]
    hours: Counter[str] = Counter()
    for row in rows:
        hours[row["split"]] += row["seconds"] / 3600
    held = ", ".join(f"{split} {spent:.2f} h" for split, spent in sorted(hours.items()))
    with_text = sum("text" in row for row in rows)
    return (
        f"{counted(len(rows), 'piece')} ({held}), {with_text} with words, in "
        f"{out / 'manifest.jsonl'}"
    )
