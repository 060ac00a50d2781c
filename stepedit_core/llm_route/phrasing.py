"""Cut a text into phrases that a model says well at once.

The cheapest way through the text is taken (dynamic programming, as lines are broken by Knuth and
Plass 1981): phrases are to be nearly as long as they may, and to end where a reader would breathe:
at the end of a sentence, then at a comma, before a conjunction, between other words last.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from stepedit_core.dsp.words import Word, read_seconds, sentence_places, split_words

__all__ = ["CLAUSE_PAUSE", "SENTENCE_PAUSE", "Phrase", "cut_phrases"]

SENTENCE_PAUSE, CLAUSE_PAUSE = 0.36, 0.12
"""Seconds of silence after a phrase that ends a sentence, and after one that ends at a comma."""

_AT_CLAUSE, _BEFORE_CONJUNCTION, _BETWEEN, _AFTER_FUNCTION = 0.05, 0.25, 0.6, 1.2
"""Costs of ending a phrase there; a sentence's end costs nothing."""
_LONE_WORD = 2.0
_OVER, _MOST_OVER = 4.0, 1.3
"""How steeply seconds above the longest phrase cost, and how much longer one may be at all."""
_CLAUSE = re.compile(r"[,;:，、；：…—–]+[\"'”’)\]」』）]*|\s-+(?=\s)")
_OPENING = re.compile(r"[\s\"'“‘(「『（¿¡]+$")
_CONJUNCTIONS = frozenset(
    {
        *("and", "but", "or", "nor", "so", "yet", "because", "although", "though", "while"),
        *("when", "where", "which", "who", "that", "if", "unless", "until", "after", "before"),
        *("since", "than", "as", "with", "without", "from", "into", "through"),
    }
)
_FUNCTION = frozenset(
    {
        *("a", "an", "the", "of", "to", "in", "on", "at", "by", "for", "from", "with", "my"),
        *("your", "his", "her", "its", "our", "their", "this", "that", "these", "those", "is"),
        *("are", "was", "were", "be", "been", "am", "i", "we", "he", "she", "they", "it", "and"),
        *("or", "but", "not", "no", "so", "too", "very", "as", "than", "mr", "mrs", "dr"),
    }
)


@dataclass(frozen=True)
class Phrase:
    """A part of a text.

    Attributes:
        text: its words, with their punctuation and tags.
        seconds: how long it is expected to last.
        pause: seconds of silence to come after it.
    """

    text: str
    seconds: float
    pause: float


def cut_phrases(text: str, longest: float, pace: float = 1.0) -> list[Phrase]:
    """Return the phrases of a text, in order; one where all of it is short enough.

    Args:
        text: any language; tags in brackets stay whole.
        longest: seconds that a phrase is to last at most; one that would leave a word alone, or
            that is one word, may last longer.
        pace: how much longer than on average the speaker takes.
    """
    whole = pace * read_seconds(text)
    words = split_words(text)
    if whole <= longest or len(words) < 2:
        return [Phrase(text.strip(), whole, 0.0)]
    ends = _ends(text, words)
    edges = [0, *(end.at for end in ends)]
    expected = _Expected([read_seconds(word.text) for word in words], ends, pace)
    phrases = []
    for first, stop in pairwise(_cheapest(expected, ends, longest)):
        said = text[edges[first] : edges[stop]].strip()
        phrases.append(Phrase(said, pace * read_seconds(said), ends[stop - 1].pause))
    return phrases


class _Expected:
    """How long runs of words are expected to last."""

    def __init__(self, alone: Sequence[float], ends: Sequence[_End], pace: float) -> None:
        """Take the seconds of each word by itself, and the pauses after them."""
        self._fixed, self._pace = 2 * read_seconds("a") - read_seconds("a a"), pace
        self._words = np.cumsum([0.0, *(seconds - self._fixed for seconds in alone)])
        self._pauses = np.cumsum([0.0, *(end.pause for end in ends)])

    def seconds(self, first: int, stop: int) -> float:
        """Return the duration of the words from ``first`` to before ``stop``."""
        words = self._words[stop] - self._words[first]
        pauses = self._pauses[stop - 1] - self._pauses[first]
        return float(self._pace * (self._fixed + words + pauses))


def _cheapest(expected: _Expected, ends: Sequence[_End], longest: float) -> list[int]:
    """Return the words at which the phrases of the cheapest way begin, and the number of words."""
    best: list[tuple[float, int]] = [(0.0, 0)]
    for stop in range(1, len(ends) + 1):
        found = (math.inf, stop - 1)
        for first in range(stop - 1, -1, -1):
            share = expected.seconds(first, stop) / longest
            if stop - first > 1 and share > _MOST_OVER:
                break
            cost = best[first][0] + _length_cost(share, stop - first) + ends[stop - 1].cost
            found = min(found, (cost, first))
        best.append(found)
    cuts = [len(ends)]
    while cuts[-1]:
        cuts.append(best[cuts[-1]][1])
    return cuts[::-1]


def _length_cost(share: float, words: int) -> float:
    """Return what a phrase costs that takes a share of the longest duration."""
    lone = _LONE_WORD if words == 1 else 0.0
    if share > 1:
        return lone + (_OVER * (share - 1)) ** 2
    return lone + (1 - share) ** 2


@dataclass(frozen=True)
class _End:
    """A place between two words: where it lies in the text, its cost, the pause there."""

    at: int
    cost: float
    pause: float


def _ends(text: str, words: Sequence[Word]) -> list[_End]:
    """Return where phrases may end: after each word."""
    sentences = {end for _, end in sentence_places(text)}
    places = []
    for before, after in pairwise(words):
        gap = text[before.end : after.start]
        ends = [end for end in range(before.end, after.start + 1) if end in sentences]
        clause = _CLAUSE.search(gap)
        if ends:
            places.append(_End(ends[0], 0.0, SENTENCE_PAUSE))
        elif clause is not None:
            places.append(_End(before.end + clause.end(), _AT_CLAUSE, CLAUSE_PAUSE))
        else:
            opening = _OPENING.search(gap)
            at = after.start if opening is None else before.end + opening.start()
            places.append(_End(at, _cost_between(before.text, after.text), 0.0))
    return [*places, _End(len(text), 0.0, 0.0)]


def _cost_between(before: str, after: str) -> float:
    """Return what it costs to end a phrase between words without punctuation."""
    if before.lower() in _FUNCTION:
        return _AFTER_FUNCTION
    return _BEFORE_CONJUNCTION if after.lower() in _CONJUNCTIONS else _BETWEEN
