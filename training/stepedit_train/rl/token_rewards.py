"""Rewards on groups of codes: how an answer keeps what its target keeps of the source.

After the public training code of Step-Audio-EditX (danjuan-77/Step-Audio-EditX, a652e87,
``reward_func_token.py``): a unit is a group of five codes (120 ms). They need a recorded target,
cost next to nothing, and say little by themselves: a copy of the source keeps everything. A run
adds them to a reward of what was asked for, and takes ``copy_penalty`` off copies.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from stepedit_core.codes import GROUP_SIZE, DualCodes
from stepedit_core.dsp.words import edit_distance
from stepedit_core.reward import Answer, Reward

__all__ = [
    "Consistency",
    "EditSimilarity",
    "InOrder",
    "Length",
    "copied_share",
    "kept_segments",
]

MARGIN = 30
"""Groups that a kept segment may come late."""
_SLACK = 0.1

Units = npt.NDArray[np.int64]


def _units(*codes: DualCodes) -> list[Units]:
    """Number the groups of several codes, equal ones alike."""
    rows = [one.interleave().reshape(-1, GROUP_SIZE) for one in codes]
    joined = np.concatenate(rows) if rows else np.zeros((0, GROUP_SIZE), np.int64)
    if not len(joined):
        return [np.zeros(0, np.int64) for _ in rows]
    numbers = np.unique(joined, axis=0, return_inverse=True)[1].reshape(-1)
    return np.split(numbers, np.cumsum([len(row) for row in rows])[:-1])


def kept_segments(source: Units, target: Units) -> list[Units]:
    """Return the stretches of the source that the target has, in order, found greedily."""
    segments: list[list[int]] = []
    at, is_open = 0, False
    for unit in source.tolist():
        if at == len(target):
            break
        if unit != target[at]:
            is_open = False
            continue
        if not is_open:
            segments.append([])
        segments[-1].append(unit)
        at, is_open = at + 1, True
    return [np.array(segment, np.int64) for segment in segments]


def copied_share(answer: DualCodes, source: DualCodes) -> float:
    """Return the copied share of an answer, 0..1: 1 less its relative edit distance."""
    one, two = _units(answer, source)
    return 1 - edit_distance(one.tolist(), two.tolist()) / max(len(one), len(two), 1)


class EditSimilarity(Reward):
    """Similarity of the answer to the stretches that the target keeps of the source."""

    name: ClassVar[str] = "edit_similarity"

    def score(self, answers: Sequence[Answer]) -> list[float | None]:
        """Return the mean similarity over those stretches; None without a target or any."""
        return [self._one(answer) for answer in answers]

    def _one(self, answer: Answer) -> float | None:
        if answer.target is None:
            return None
        output, source, target = _units(answer.codes, answer.request.codes, answer.target)
        kept = kept_segments(source, target)
        if not kept:
            return None
        total, begin = 0.0, 0
        for segment in kept:
            part = output[begin : begin + len(segment) + MARGIN]
            if len(part):
                longest = max(len(part), len(segment))
                total += max(0.0, 1 - edit_distance(part.tolist(), segment.tolist()) / longest)
                begin += max(1, len(segment) - GROUP_SIZE)
        return total / len(kept)


class Consistency(Reward):
    """Share of the answer's groups that occur in the source; a copy gets the maximum."""

    name: ClassVar[str] = "consistency"

    def score(self, answers: Sequence[Answer]) -> list[float | None]:
        """Return shares."""
        found: list[float | None] = []
        for answer in answers:
            output, source = _units(answer.codes, answer.request.codes)
            found.append(float(np.isin(output, source).mean()) if len(output) else 0.0)
        return found


class InOrder(Reward):
    """Share of the target's kept stretches that begin in the answer, in their order."""

    name: ClassVar[str] = "in_order"

    def score(self, answers: Sequence[Answer]) -> list[float | None]:
        """Return shares; None without a target or any stretch."""
        return [self._one(answer) for answer in answers]

    def _one(self, answer: Answer) -> float | None:
        if answer.target is None:
            return None
        output, source, target = _units(answer.codes, answer.request.codes, answer.target)
        kept = kept_segments(source, target)
        found, begin = 0, 0
        for segment in kept:
            places = np.flatnonzero(output[begin:] == segment[0])
            if len(places):
                found, begin = found + 1, begin + int(places[0]) + 1
        return found / len(kept) if kept else None


class Length(Reward):
    """Closeness of the answer's length to the target's, or to what the plan expects."""

    name: ClassVar[str] = "length"

    def score(self, answers: Sequence[Answer]) -> list[float | None]:
        """Return exp(-difference / (1 + a tenth of what is expected)), in groups."""
        found: list[float | None] = []
        for answer in answers:
            target = answer.target
            expected = answer.expected_groups if target is None else float(target.groups)
            off = abs(answer.codes.groups - expected)
            found.append(math.exp(-off / (max(expected, 1.0) * _SLACK + 1)))
        return found
