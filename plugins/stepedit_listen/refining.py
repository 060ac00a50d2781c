"""Move word borders to the pauses that they belong to.

Attention and CTC say in which tenth of a second a word begins, and pauses say it exactly: sound
that begins after silence is the beginning of a word.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import pairwise

from stepedit_core import MissingDependencyError, Span, TimedWord, Utterance
from stepedit_core.dsp.silences import find_silences, find_speech

__all__ = ["MISPLACED", "REACH", "at_pauses", "borders_at"]

REACH = 0.3
"""How far from a pause a word's border may lie to be moved to it, in seconds."""
MISPLACED = 0.1
"""A border of a forced alignment that is so far from its pause is misplaced, in seconds."""
_LEAST = 0.06
"""Shorter silence may be the closure of a stop, in seconds."""


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

    A pause goes to the border that is nearest to its middle, a border takes the longest of its
    pauses, and no word is left without time.

    Args:
        pauses: in seconds, in order; those at the ends of the recording included.
        words: in order.
        least: borders that are nearer to their pause stay, in seconds.
    """
    if not words:
        return []
    borders = [words[0].start, *((a.end + b.start) / 2 for a, b in pairwise(words)), words[-1].end]
    taken: dict[int, Span] = {}
    for pause in pauses:
        if pause.seconds < _LEAST:
            continue
        near = min(range(len(borders)), key=lambda n: abs(borders[n] - _point(pause, n, borders)))
        away = abs(borders[near] - _point(pause, near, borders))
        reach = REACH + (pause.seconds / 2 if 0 < near < len(words) else 0.0)
        if away <= reach and (near not in taken or taken[near].seconds < pause.seconds):
            taken[near] = pause
    result = list(words)
    for border, pause in taken.items():
        before = result[border - 1] if border else None
        after = result[border] if border < len(result) else None
        if (
            before is not None
            and before.start < pause.start
            and _far(before.end, pause.start, least)
        ):
            result[border - 1] = dataclasses.replace(before, end=pause.start)
        if after is not None and pause.end < after.end and _far(after.start, pause.end, least):
            result[border] = dataclasses.replace(after, start=pause.end)
    return _in_order(result)


def _far(now: float, then: float, least: float) -> bool:
    return abs(now - then) >= least


def _point(pause: Span, border: int, borders: Sequence[float]) -> float:
    """Return the moment of a pause that a border is held against."""
    if border == 0:
        return pause.end
    if border == len(borders) - 1:
        return pause.start
    return (pause.start + pause.end) / 2


def _in_order(words: Sequence[TimedWord]) -> list[TimedWord]:
    """Let no word begin before the one before it begins, or end after the next one begins."""
    result: list[TimedWord] = []
    for word in words:
        start = max(word.start, result[-1].start) if result else word.start
        if result and result[-1].end > start:
            result[-1] = dataclasses.replace(result[-1], end=start)
        result.append(dataclasses.replace(word, start=start, end=max(start, word.end)))
    return result
