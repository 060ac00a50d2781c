"""What stands around words that change: the part of a recording that a model is given.

Small models say new words badly in answers longer than those that they were taught with, so that
they are given a few seconds around the place instead of the whole recording.
"""

from __future__ import annotations

from dataclasses import dataclass

from stepedit_core.alignment import Alignment
from stepedit_core.codes import GROUP_SECONDS, DualCodes
from stepedit_core.dsp.words import split_words
from stepedit_core.plan import Replacement
from stepedit_core.utterance import Span

__all__ = ["Surroundings", "surroundings"]

_PAUSE = 0.12
"""Seconds of a longer pause that are kept with the word beside it."""


@dataclass(frozen=True)
class Surroundings:
    """A part of a recording, at borders of words, with the change inside.

    Attributes:
        start: first group of the recording's codes.
        stop: group after the last one.
        codes: of the part.
        alignment: of the part's words; times are counted in the recording.
        change: of the part's words.
    """

    start: int
    stop: int
    codes: DualCodes
    alignment: Alignment
    change: Replacement

    @property
    def span(self) -> Span:
        """The part's time in the recording, in seconds."""
        start = self.codes.start
        return Span(max(0.0, start), start + self.codes.seconds)


def surroundings(
    codes: DualCodes,
    known: Alignment,
    change: Replacement,
    hole: tuple[int, int],
    seconds: float | None,
) -> Surroundings:
    """Return the words around a change, as many as fit, evenly on both sides.

    Args:
        codes: of the recording.
        known: its words.
        change: which of them change.
        hole: groups that go, from the first to after the last.
        seconds: longest part; None takes the whole recording.
    """
    count = len(known.words)
    first, stop = change.first, change.stop
    most = codes.groups if seconds is None else max(1, int(seconds / GROUP_SECONDS))

    def begin(word: int) -> int:
        return min(_group_before(known, word, codes), hole[0])

    def end(word: int) -> int:
        return max(_group_after(known, word, codes), hole[1])

    while True:
        wider = [(first - 1, stop)] if first > 0 else []
        wider += [(first, stop + 1)] if stop < count else []
        wider = [part for part in wider if end(part[1]) - begin(part[0]) <= most]
        if not wider:
            break
        first, stop = min(
            wider,
            key=lambda part: abs((hole[0] - begin(part[0])) - (end(part[1]) - hole[1])),
        )
    return _part(codes, known, change, (first, stop), (begin(first), end(stop)))


def _group_before(known: Alignment, word: int, codes: DualCodes) -> int:
    """Return the group at which a part begins whose first word is given."""
    words = known.words
    if word == 0:
        return 0
    if word == len(words):
        at = words[-1].end
    else:
        middle = (words[word - 1].end + words[word].start) / 2
        at = max(middle, words[word].start - _PAUSE)
    return min(max(0, round((at - codes.start) / GROUP_SECONDS)), codes.groups - 1)


def _group_after(known: Alignment, word: int, codes: DualCodes) -> int:
    """Return the group at which a part ends that ends before the given word."""
    words = known.words
    if word == len(words):
        return codes.groups
    if word == 0:
        at = words[0].start
    else:
        middle = (words[word - 1].end + words[word].start) / 2
        at = min(middle, words[word - 1].end + _PAUSE)
    return min(max(1, round((at - codes.start) / GROUP_SECONDS)), codes.groups)


def _part(
    codes: DualCodes,
    known: Alignment,
    change: Replacement,
    words: tuple[int, int],
    groups: tuple[int, int],
) -> Surroundings:
    """Cut codes, words and text out."""
    first, stop = words
    text = _cut_text(known.text, first, stop)
    more = len(split_words(change.by)) - (change.stop - change.first)
    after = _cut_text(change.text_after, first, stop + more)
    inside = Replacement(change.first - first, change.stop - first, change.by, after)
    timed = Alignment(text, known.words[first:stop], known.aligner)
    return Surroundings(*groups, codes.slice_groups(*groups), timed, inside)


def _cut_text(text: str, first: int, stop: int) -> str:
    """Return the words from one to before another, with the punctuation after them."""
    places = split_words(text)
    begin = places[first].start if first else 0
    end = places[stop].start if stop < len(places) else len(text)
    return text[begin:end].strip()
