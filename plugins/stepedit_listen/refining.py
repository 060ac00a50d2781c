"""Move word borders to the pauses that they belong to.

Attention and CTC say in which tenth of a second a word begins, and pauses say it exactly: sound
that begins after silence is the beginning of a word. A border is moved only where it is plain that
the pause is its own: the pause is near, and the next border is clearly farther from it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from stepedit_core import MissingDependencyError, Span, TimedWord, Utterance
from stepedit_core.dsp.silences import find_silences, find_speech

__all__ = ["MISPLACED", "REACH", "at_pauses", "borders_at"]

REACH = 0.3
"""How far from a pause a word's border may lie to be moved to it, in seconds."""
MISPLACED = 0.1
"""A border of a forced alignment that is so far from its pause is misplaced, in seconds."""
_LEAST = 0.06
"""Shorter silence may be the closure of a stop, in seconds."""
_UNCLAIMED = 0.5
"""The same for a pause that lies between two words already, in seconds."""
_CLEARLY = 0.04
"""A pause belongs to a border where one on its other side is so much farther, in seconds."""


def at_pauses(
    utterance: Utterance, words: Sequence[TimedWord], least: float = 0.0
) -> list[TimedWord]:
    """Return words whose borders near a pause lie at the pause; the others stay.

    Pauses are those of Silero VAD, refined by level. Without it the words stay as they are.

    Args:
        utterance: any rate.
        words: in order, with times that do not decrease.
        least: borders that are nearer to their pause stay, in seconds: an aligner with frames of 10
            ms knows better where a breath ends, and errs by tenths of a second or not at all.
    """
    try:
        speech = find_speech(utterance)
    except MissingDependencyError:
        return list(words)
    return borders_at(find_silences(utterance, speech), words, least) if speech else list(words)


def borders_at(
    pauses: Sequence[Span], words: Sequence[TimedWord], least: float = 0.0
) -> list[TimedWord]:
    """Return words whose borders lie at pauses, where there is one for them.

    A pause goes to the border that is clearly nearest to it, a border takes the longest of its
    pauses, and no word is left without time.

    Args:
        pauses: in seconds, in order; those at the ends of the recording included.
        words: in order.
        least: borders that are nearer to their pause stay, in seconds.
    """
    if not words:
        return []
    starts = [word.start for word in words]
    ends = [word.end for word in words]
    borders = [(starts[0], starts[0]), *zip(ends, starts[1:], strict=False), (ends[-1], ends[-1])]
    taken: dict[int, Span] = {}
    for pause in pauses:
        near = _own_border(pause, borders) if pause.seconds >= _LEAST else None
        if near is not None and (near not in taken or taken[near].seconds < pause.seconds):
            taken[near] = pause
    result = list(words)
    for border, pause in taken.items():
        if border > 0:
            before = result[border - 1]
            within = _reach(pause, borders[border])
            moves = _away(before.end, pause) <= within and _far(before.end, pause.start, least)
            if moves and before.start < pause.start:
                result[border - 1] = dataclasses.replace(before, end=pause.start)
        if border < len(result):
            after = result[border]
            within = _reach(pause, borders[border])
            moves = _away(after.start, pause) <= within and _far(after.start, pause.end, least)
            if moves and pause.end < after.end:
                result[border] = dataclasses.replace(after, start=pause.end)
    return _in_order(result)


def _own_border(pause: Span, borders: Sequence[tuple[float, float]]) -> int | None:
    """Return the border that a pause belongs to without doubt, or None.

    Doubt is between a border before the pause and one after it. Of those on one side the nearest
    is meant; borders inside the pause are all as near, and the one next to its middle is taken.
    """
    away = [
        0.0 if _is_unclaimed(pause, border) else min(_away(edge, pause) for edge in border)
        for border in borders
    ]
    middle = (pause.start + pause.end) / 2
    aside = [(left + right) / 2 - middle for left, right in borders]
    near = min(range(len(borders)), key=lambda n: (away[n], abs(aside[n])))
    if away[near] > REACH:
        return None
    if away[near] > 0:
        other = [far for far, side in zip(away, aside, strict=True) if side * aside[near] < 0]
        if min(other, default=math.inf) - away[near] < _CLEARLY:
            return None
        if aside[near] < 0:  # of words without time before the pause, the last one ends there
            near = max(n for n in range(len(borders)) if away[n] == away[near])
    return near


def _away(moment: float, pause: Span) -> float:
    """Return how far from a pause a moment lies; 0 inside."""
    return max(0.0, pause.start - moment, moment - pause.end)


def _reach(pause: Span, border: tuple[float, float]) -> float:
    """Return how far an end of a border may move; farther where no word claims the pause."""
    return _UNCLAIMED if _is_unclaimed(pause, border) else REACH


def _is_unclaimed(pause: Span, border: tuple[float, float]) -> bool:
    """Say whether a part of a pause lies between the two words of a border."""
    return max(border[0], pause.start) < min(border[1], pause.end)


def _far(now: float, then: float, least: float) -> bool:
    return abs(now - then) >= least


def _in_order(words: Sequence[TimedWord]) -> list[TimedWord]:
    """Let no word begin before the one before it begins, or end after the next one begins."""
    result: list[TimedWord] = []
    for word in words:
        start = max(word.start, result[-1].start) if result else word.start
        if result and result[-1].end > start:
            result[-1] = dataclasses.replace(result[-1], end=start)
        result.append(dataclasses.replace(word, start=start, end=max(start, word.end)))
    return result
