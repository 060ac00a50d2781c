"""Lay heard words along the words of a transcript."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from stepedit_core import TimedWord
from stepedit_core.dsp.words import Word, normalised

__all__ = ["laid_along", "spread_between"]


def laid_along(
    words: Sequence[Word], heard: Sequence[TimedWord], seconds: float
) -> list[TimedWord] | None:
    """Return the words with the times of those heard that are the same, in order.

    Words that were not heard share the time between their neighbours by their expected
    durations, with confidence 0. A run of equally many other words is taken for
    misrecognised ones, with half their confidence.

    Args:
        words: of the transcript.
        heard: with times.
        seconds: duration of the utterance.

    Returns:
        One timed word for each word, or None where no word was heard.
    """
    ours = [normalised(word.text) for word in words]
    theirs = [normalised(word.text) for word in heard]
    placed: list[TimedWord | None] = [None] * len(words)
    matcher = difflib.SequenceMatcher(None, ours, theirs, autojunk=False)
    same = 0
    for kind, a, b, c, d in matcher.get_opcodes():
        if kind == "equal" or (kind == "replace" and b - a == d - c):
            share = 1.0 if kind == "equal" else 0.5
            same += b - a if kind == "equal" else 0
            for ours_at, theirs_at in zip(range(a, b), range(c, d), strict=True):
                one = heard[theirs_at]
                confidence = None if one.confidence is None else one.confidence * share
                placed[ours_at] = TimedWord(
                    words[ours_at].text, one.start, max(one.start, one.end), confidence
                )
    return spread_between(words, placed, seconds) if same else None


def spread_between(
    words: Sequence[Word], placed: Sequence[TimedWord | None], seconds: float
) -> list[TimedWord]:
    """Place words without times between their neighbours, by their expected durations."""
    result = list(placed)
    n = 0
    while n < len(result):
        if result[n] is not None:
            n += 1
            continue
        stop = n
        while stop < len(result) and result[stop] is None:
            stop += 1
        left = result[n - 1].end if n and result[n - 1] is not None else 0.0  # type: ignore[union-attr]
        right = result[stop].start if stop < len(result) else seconds  # type: ignore[union-attr]
        lengths = [max(word.seconds, 0.05) for word in words[n:stop]]
        room = max(0.0, right - left)
        scale = min(1.0, room / sum(lengths))
        at = left + (room - scale * sum(lengths)) / 2
        for k, length in enumerate(lengths, start=n):
            result[k] = TimedWord(words[k].text, at, at + scale * length, 0.0)
            at += scale * length
        n = stop
    return [word for word in result if word is not None]
