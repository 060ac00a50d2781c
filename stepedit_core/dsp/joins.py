"""Whether the join of a cut says the words beside it and no rest of those that went.

PocketSphinx lays grammars of phones along some words on either side of the join: the words that
should be there; these with a rest of what was cut out between them; these with phones of a
neighbour missing. How much likelier one of the wrong readings is than the right one tells a good
cut from a bad one, where level and spectrum do not. Source: forced alignment with alternatives
(Huggins-Daines et al. 2006, ICASSP).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from stepedit_core.alignment import Alignment
from stepedit_core.dsp.alignment import Phones, grammar_scores, pronunciations
from stepedit_core.dsp.words import split_words
from stepedit_core.utterance import Span, Utterance

__all__ = ["BESIDE", "Readings", "readings_of"]

BESIDE = 2
"""Words on either side of a cut that are listened to."""
_MARGIN = 0.05
_MOST_LEFT, _MOST_TAKEN = 6, 2
"""Most phones of a rest of the word, and most phones of a neighbour that may be missing."""


@dataclass(frozen=True)
class Readings:
    """What may be heard around a cut.

    Attributes:
        span: what is listened to, in seconds of the recording before the cut.
        right: what should be heard: words, each as the ways in which it is said.
        wrong: what should not.
    """

    span: Span
    right: Sequence[Sequence[Phones]]
    wrong: Sequence[Sequence[Sequence[Phones]]]

    def odds(self, made: Sequence[tuple[Utterance, float]]) -> list[float]:
        """Return the log-likelihoods of the best wrong reading over that of the right one.

        Below 0 the words beside the join are there, whole, and no rest of what went; in units of
        PocketSphinx, of which some ten are one nat.

        Args:
            made: the recording after a cut, and how much shorter it got, in seconds.
        """
        start, end = self.span
        versions = [one.slice(Span(start, max(start, end - less))) for one, less in made]
        found = grammar_scores(versions, [self.right, *self.wrong])
        return [max(wrong) - right if np.isfinite(right) else np.inf for right, *wrong in found]


def readings_of(
    utterance: Utterance, alignment: Alignment, first: int, stop: int
) -> Readings | None:
    """Return what may be heard where words are cut out; None where no word would be left to hear.

    Args:
        utterance: the recording.
        alignment: its words.
        first: index of the first word that goes.
        stop: index after the last word that goes.

    Raises:
        MissingDependencyError: if pocketsphinx is not installed.
    """
    words = alignment.words
    low, high = max(0, first - BESIDE), min(len(words), stop + BESIDE)
    before, gone, after = (
        [_said(word.text) for word in words[a:b]]
        for a, b in ((low, first), (first, stop), (stop, high))
    )
    if not before and not after:
        return None
    right = [*before, *after]
    rest = [*before, _rests(gone), *after]
    wrong = [rest]
    if before and (fewer := _shorter(before[-1], at_end=True)):
        wrong.append([*before[:-1], fewer, *after])
    if after and (fewer := _shorter(after[0], at_end=False)):
        wrong.append([*before, fewer, *after[1:]])
    return Readings(_span(utterance, alignment, low, high), right, wrong)


def _said(text: str) -> list[Phones]:
    """Return the ways in which a word of an alignment is said."""
    ways = [pronunciations(word) for word in split_words(text)]
    joined: list[Phones] = [()]
    for way in ways:
        joined = [(*a, *b) for a in joined for b in way]
    return joined


def _rests(gone: Sequence[Sequence[Phones]]) -> list[Phones]:
    """Return what may be left of words: their first or their last phones."""
    whole = [phone for ways in gone for phone in ways[0]]
    ways = [tuple(whole)] if len(gone) > 1 else [tuple(way) for way in gone[0]]
    return _different(
        part
        for way in ways
        for n in range(1, min(len(way), _MOST_LEFT) + 1)
        for part in (way[:n], way[-n:])
    )


def _shorter(ways: Sequence[Phones], at_end: bool) -> list[Phones]:
    """Return a word without its last or its first phones; nothing of a word of one phone."""
    return _different(
        way[:-n] if at_end else way[n:]
        for way in ways
        for n in range(1, min(_MOST_TAKEN, len(way) - 1) + 1)
    )


def _different(parts: Iterable[Phones]) -> list[Phones]:
    return list(dict.fromkeys(parts))


def _span(utterance: Utterance, alignment: Alignment, low: int, high: int) -> Span:
    """Return the time of some words, and of a little of the pauses beside them."""
    words = alignment.words
    gaps = [alignment.gap(n, utterance.seconds) for n in (low, high)]
    start, end = ((gap.start + gap.end) / 2 for gap in gaps)
    return Span(
        max(0.0, start if low else 0.0, words[low].start - _MARGIN),
        min(utterance.seconds, end if high < len(words) else np.inf, words[high - 1].end + _MARGIN),
    )
