"""Hear and time the words of a long recording, stretch by stretch, and cut it at sentence ends."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from stepedit_core.alignment import Alignment, TimedWord
from stepedit_core.dsp.words import heard_form, normalised, split_words
from stepedit_core.errors import AlignmentError
from stepedit_core.recording.hearing import align
from stepedit_core.recording.segments import Segment, Tile
from stepedit_core.recording.streaming import Stretch, read_stretches
from stepedit_core.recording.subtitles import Cue, cues_of
from stepedit_core.utterance import Utterance

if TYPE_CHECKING:
    from stepedit_core.recording.recording import Recording

__all__ = ["cut_long_tiles", "hear_sentences", "share_words"]

_LONGEST = 12.0  # longest sentence before it is cut between words, in seconds


def hear_sentences(recording: Recording, *, threads: int = 1) -> tuple[list[Segment], list[str]]:
    """Return the sentences of a recording as segments, and what a user should know.

    Stretches between pauses are heard one by one. Words that were given as a text are matched
    with what was heard, and take its times. Labels of speakers without words are kept: a sentence
    is that speaker's who speaks most of it.

    Raises:
        AlignmentError: if no words are heard.
    """
    texts: list[str] = []
    words: list[TimedWord] = []
    notes: list[str] = []
    wordless = 0
    stretches = [Stretch(tile.start, tile.stop) for tile in recording.tiles]
    with recording.open() as sound:
        for stretch, samples in read_stretches(sound.blocks(), stretches):
            part = Utterance(samples, recording.sample_rate, language=recording.language)
            try:
                found = None if part.problem() else align(part, threads=threads)
            except AlignmentError:
                found = None  # silence and music hold no words
            if found is None:
                wordless += 1
                continue
            notes += [note for note in found.notes if note.startswith("transcribed")]
            texts.append(found.text.strip())
            offset = stretch.start / recording.sample_rate
            words += [
                TimedWord(w.text, w.start + offset, w.end + offset, w.confidence)
                for w in found.words
            ]
    if not words:
        raise AlignmentError(f"{recording.path}: no words are heard in it; give --subtitles")
    heard = Alignment(" ".join(texts), tuple(_in_order(words)), "heard")
    if recording.text is not None:
        heard = _timed_text(recording.text, heard)
        notes = [f"the words were timed by what was heard, {_share(heard)} % of them exactly"]
    if wordless:
        notes.append(f"no words are heard in {wordless} of {len(stretches)} stretches")
    segments = [
        Segment(number, cue.start, cue.end, cue.text, _speaker_of(recording, cue))
        for number, cue in enumerate(cues_of(heard, _LONGEST), 1)
    ]
    return segments, list(dict.fromkeys(notes))


def _speaker_of(recording: Recording, cue: Cue) -> str | None:
    """Return who speaks most of a cue by the labels that the recording came with, or None."""
    shares: dict[str, float] = {}
    for part in recording.segments:
        shared = min(part.end, cue.end) - max(part.start, cue.start)
        if part.speaker and shared > 0:
            shares[part.speaker] = shares.get(part.speaker, 0.0) + shared
    return max(shares, key=shares.__getitem__, default=None)


def _in_order(words: Sequence[TimedWord]) -> list[TimedWord]:
    """Return words whose starts do not decrease."""
    ordered: list[TimedWord] = []
    at = 0.0
    for word in words:
        at = max(at, word.start)
        ordered.append(TimedWord(word.text, at, max(at, word.end), word.confidence))
    return ordered


def _share(alignment: Alignment) -> int:
    """Return how many percent of the words were heard as they are written."""
    heard = sum(bool(word.confidence) for word in alignment.words)
    return round(100 * heard / max(1, len(alignment.words)))


def _timed_text(text: str, heard: Alignment) -> Alignment:
    """Return a given text with the times of the words that were heard.

    Raises:
        AlignmentError: if hardly a word of the text is heard.
    """
    given = [heard_form(word.text) for word in split_words(text)]
    if not given:
        raise AlignmentError("the text holds no words")
    spoken = [heard_form(word.text) for word in heard.words]
    matcher = difflib.SequenceMatcher(None, given, spoken, autojunk=False)
    places, starts, ends = [], [], []
    for first, second, size in matcher.get_matching_blocks():
        for offset in range(size):
            places.append(first + offset)
            starts.append(heard.words[second + offset].start)
            ends.append(heard.words[second + offset].end)
    if len(places) < 0.3 * len(given):
        raise AlignmentError(
            f"{len(places)} of the {len(given)} words of the text are heard in the recording; is "
            "it another recording's transcript?"
        )
    order = np.arange(len(given))
    begin = np.maximum.accumulate(np.interp(order, places, starts))
    finish = np.maximum(begin, np.interp(order, places, ends))
    known = set(places)
    timed = tuple(
        TimedWord(word.text, float(begin[n]), float(finish[n]), 1.0 if n in known else 0.0)
        for n, word in enumerate(split_words(text))
    )
    return Alignment(text, timed, heard.aligner)


def share_words(before: Sequence[str], after: str) -> list[str]:
    """Share a text among the parts of the text that it came from, by a difference of words.

    Args:
        before: the parts, in order.
        after: the words of all parts together, some of them changed.

    Returns:
        One text for each part; words that were put in go with what is before them.
    """
    if len(before) == 1:
        return [after.strip()]
    old = [
        (normalised(word.text), n) for n, part in enumerate(before) for word in split_words(part)
    ]
    new = split_words(after)
    matcher = difflib.SequenceMatcher(
        None, [word for word, _ in old], [normalised(word.text) for word in new], autojunk=False
    )
    owners = np.full(len(new), -1)
    for kind, a, b, c, d in matcher.get_opcodes():
        for offset in range(d - c):
            at = a + offset if kind == "equal" else min(a + offset, max(a, b - 1))
            if kind == "insert":
                at = a - 1
            owners[c + offset] = old[min(max(at, 0), len(old) - 1)][1] if old else 0
    owners = np.maximum.accumulate(owners)
    edges = [0]
    for part in range(1, len(before)):
        first = int(np.searchsorted(owners, part))
        edges.append(new[first].start if first < len(new) else len(after))
    return [after[a:b].strip() for a, b in pairwise([*edges, len(after)])]


def cut_long_tiles(recording: Recording, longest: float) -> tuple[list[Tile], list[str]]:
    """Return the tiles, those with words that last longer cut between words.

    A cut lies at a sentence end where there is one in the second half of what fits, otherwise in
    the longest pause. Segments that are cut keep their number in every part.

    Args:
        recording: its words are known.
        longest: in seconds.
    """
    rate, notes = recording.sample_rate, []
    tiles: list[Tile] = []
    long = [t for t in recording.tiles if t.text and (t.stop - t.start) / rate > longest]
    if not long:
        return list(recording.tiles), []
    parts: dict[int, list[Tile]] = {}
    stretches = [Stretch(tile.start, tile.stop) for tile in long]
    with recording.open() as sound:
        pairs = read_stretches(sound.blocks(), stretches)
        for tile, (_, samples) in zip(long, pairs, strict=True):
            spoken = Utterance(samples, rate, tile.text, recording.language)
            try:
                parts[tile.start] = _cut_tile(tile, align(spoken), recording, longest)
            except AlignmentError as error:
                where = f"segment {tile.segments[0].number}"
                notes.append(f"{where} is longer than {longest:g} s and stays whole: {error}")
    for tile in recording.tiles:
        tiles += parts.get(tile.start, [tile])
    return tiles, notes


def _cut_tile(tile: Tile, found: Alignment, recording: Recording, longest: float) -> list[Tile]:
    """Return the parts of a tile."""
    rate, words = recording.sample_rate, found.words
    offset = tile.start / rate
    ends = {sentence.stop for sentence in found.sentences}
    places = found.places
    tiles: list[Tile] = []
    first, start = 0, tile.start
    while first < len(words):
        begin = start / rate - offset
        fits = [n for n in range(first + 1, len(words)) if words[n].start - begin <= longest]
        rest = (tile.stop - start) / rate
        stop, edge = len(words), tile.stop
        if rest > longest and fits:
            late = [n for n in fits if words[n].start - begin >= longest / 2] or fits[-1:]
            stop = max(late, key=lambda n: (n in ends, words[n].start - words[n - 1].end))
            low, high = words[stop - 1].end + offset, words[stop].start + offset
            edge = recording.levels.quietest(round(low * rate), round(max(low, high) * rate))
        text = found.text[
            places[first].start if first else 0 : places[stop].start if stop < len(words) else None
        ]
        own = tile.segments[0]
        spoken = Segment(
            own.number,
            max(own.start, words[first].start + offset),
            words[stop - 1].end + offset,
            text.strip(),
            tile.speaker,
        )
        tiles.append(Tile(start, max(edge, start + 1), (spoken,)))
        first, start = stop, max(edge, start + 1)
    return tiles
