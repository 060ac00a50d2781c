"""Word times from pauses and syllable counts alone, for languages without an aligner."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from stepedit_core.dsp.words import Word
from stepedit_core.utterance import Span

__all__ = ["align_by_pauses"]

FloatArray = npt.NDArray[np.float64]

# A pause may lie this far (in seconds of speech) from where syllables expect a word to end at
# the cost of one; punctuation is worth four of that; a pause inside a word costs five.
_DRIFT, _PUNCTUATION, _INSIDE = 0.3, 4.0, 5.0


def align_by_pauses(spans: Sequence[Span], words: Sequence[Word], text: str) -> tuple[Span, ...]:
    """Spread words over stretches of speech; a pause ends a word where that fits best.

    Stretches of speech are matched with stretches of words by dynamic programming; the expected
    duration of a word comes from its syllables. No model, any language; coarse.

    Args:
        spans: stretches of speech, in seconds, in order.
        words: at least one.
        text: what the words were split from; its punctuation tells where pauses are likely.

    Returns:
        When each word is said, in seconds.
    """
    lengths = np.array([span.seconds for span in spans])
    nominal = np.array([max(word.seconds, 0.05) for word in words])
    ends = np.cumsum(nominal) / nominal.sum() * lengths.sum()
    likely = [_pause_after(text, left, right) for left, right in pairwise(words)]
    after = _match(np.cumsum(lengths)[:-1], ends[:-1], likely)
    edges = [0, *[word + 1 for word in after if word is not None], len(words)]
    stretches: list[list[Span]] = [[spans[0]]]
    for span, word in zip(spans[1:], after, strict=True):
        if word is None:
            stretches[-1].append(span)
        else:
            stretches.append([span])
    times: list[Span] = []
    for stretch, (first, last) in zip(stretches, pairwise(edges), strict=True):
        times += _spread(stretch, nominal[first:last])
    return tuple(times)


def _pause_after(text: str, word: Word, following: Word) -> bool:
    """Return whether punctuation stands between two words, tags left out."""
    between = re.sub(r"\[[^\[\]]*\]", "", text[word.end : following.start])
    return any(not letter.isspace() and letter not in "'’-" for letter in between)


def _match(pauses: FloatArray, ends: FloatArray, likely: Sequence[bool]) -> list[int | None]:
    """Return for each pause the word that it follows, or None for a pause inside a word.

    Dynamic programming over (pauses, word ends), both in seconds of speech without pauses;
    words are used once and in order.
    """
    n, m = len(pauses), len(ends)
    best = np.zeros((n + 1, m + 1))
    best[1:, 0] = _INSIDE * np.arange(1, n + 1)
    choice = np.zeros((n + 1, m + 1), dtype=int)  # 0: inside a word, 1: word unused, 2: match
    for i in range(1, n + 1):
        for j in range(1, m + 1):
            match = ((pauses[i - 1] - ends[j - 1]) / _DRIFT) ** 2
            match -= _PUNCTUATION if likely[j - 1] else 0.0
            costs = (
                best[i - 1, j] + _INSIDE,
                best[i, j - 1],
                best[i - 1, j - 1] + match,
            )
            choice[i, j] = int(np.argmin(costs))
            best[i, j] = costs[choice[i, j]]
    found: list[int | None] = [None] * n
    i, j = n, m
    while i > 0 and j > 0:
        if choice[i, j] == 2:
            found[i - 1] = j - 1
            i, j = i - 1, j - 1
        elif choice[i, j] == 1:
            j -= 1
        else:
            i -= 1
    return found


def _spread(stretch: Sequence[Span], nominal: FloatArray) -> list[Span]:
    """Share the speech of some spans among words by their expected durations."""
    lengths = np.array([span.seconds for span in stretch])
    total = np.concatenate([[0.0], np.cumsum(lengths)])
    edges = np.concatenate([[0.0], np.cumsum(nominal)]) / nominal.sum() * total[-1]

    def moment(edge: float, *, ending: bool) -> float:
        place = np.searchsorted(total, edge, side="left" if ending else "right")
        which = min(max(int(place) - 1, 0), len(stretch) - 1)
        return float(stretch[which].start + min(edge - total[which], lengths[which]))

    return [
        Span(moment(a, ending=False), moment(b, ending=True)) for a, b in pairwise(edges.tolist())
    ]
