"""Where each part of an answer lies in its source: what a decoder may know beside the codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from stepedit_core.codes import (
    GROUP_SECONDS,
    SEMANTIC_PER_GROUP,
    DualCodes,
    FreeGroups,
    answer_starts,
)

__all__ = ["Pairs", "SourceMap", "expected_tempo", "positions_at"]

SEMANTIC_SECONDS = GROUP_SECONDS / SEMANTIC_PER_GROUP
Pairs = tuple[tuple[float, float], ...]


@dataclass(frozen=True, eq=False)
class SourceMap:
    """Where each part of an answer is expected in its source, and what was done there.

    A decoder whose reference is that source, and which was trained with such maps, finds the
    source's sound by it; others do without.

    Attributes:
        positions: source position of the middle of each semantic code (40 ms), in semantic codes
            of the source, the first one's middle at 0; float32 ``(3 * groups,)``. NaN where it is
            not known, or where the source holds nothing of it. None: nothing is known.
        condition: the edit's conditioning label (``Plan.label``); empty: none.
        edited: groups that the edit may have changed, bool ``(groups,)``; None: all.
        start: second of the source at which the codes begin that positions are counted in.
        strength: how much of the label's usual shift is asked for (``Plan.strength``).
    """

    positions: npt.NDArray[np.float32] | None = None
    condition: str = ""
    edited: npt.NDArray[np.bool_] | None = None
    start: float = 0.0
    strength: float = 1.0

    @classmethod
    def identity(cls, codes: DualCodes) -> SourceMap:
        """Return the map of an utterance's own codes, for the identity edit."""
        positions = np.arange(SEMANTIC_PER_GROUP * codes.groups, dtype=np.float32)
        return cls(positions, start=codes.start)

    @classmethod
    def build(
        cls,
        groups: int,
        tempo: tuple[Pairs, Pairs] | None,
        *,
        condition: str = "",
        free: Sequence[FreeGroups] | None = None,
        start: float = 0.0,
        offset: float = 0.0,
        placed_inside: bool = True,
        strength: float = 1.0,
    ) -> SourceMap:
        """Return where the codes of an answer are expected in their source.

        Args:
            groups: of the answer.
            tempo: changes of rate and what is inserted, see `expected_tempo`; None: not known.
            condition: the edit's conditioning label.
            free: parts that the edit may have changed; None: all.
            start: second of the source at which its codes begin.
            offset: source groups by which the answer's codes begin late.
            placed_inside: whether positions are known in the parts that the edit may have changed.
            strength: how much of the label's usual shift is asked for.
        """
        positions, edited = None, None
        if tempo is not None:
            positions = positions_at(SEMANTIC_PER_GROUP * groups, *tempo, offset)
        if free is not None:
            edited = np.zeros(groups, dtype=bool)
            for part, begin in zip(free, answer_starts(free), strict=True):
                edited[begin : begin + part.length] = True
        if positions is not None and edited is not None and not placed_inside:
            positions[np.repeat(edited, SEMANTIC_PER_GROUP)] = np.nan
        return cls(positions, condition, edited, start, strength)

    def part(self, first: int, stop: int) -> SourceMap:
        """Return the map of the answer's groups from ``first`` to before ``stop`` alone."""
        codes = slice(SEMANTIC_PER_GROUP * first, SEMANTIC_PER_GROUP * stop)
        positions = None if self.positions is None else self.positions[codes]
        edited = None if self.edited is None else self.edited[first:stop]
        return replace(self, positions=positions, edited=edited)

    def at_pace(self, ratio: float) -> SourceMap:
        """Return the same places in the source at another pace.

        Args:
            ratio: its duration then over its duration now.
        """
        start = self.start * ratio
        if self.positions is None:
            return replace(self, start=start)
        moved = (self.positions + 0.5) * np.float32(ratio) - np.float32(0.5)
        return replace(self, positions=moved, start=start)

    def counted_from(self, start: float) -> SourceMap:
        """Return the positions in codes of the same source that begin at another second of it.

        Codes that a chain carries on and those of the audio that came of them begin apart.
        """
        if self.positions is None or start == self.start:
            return self
        shift = np.float32((self.start - start) / SEMANTIC_SECONDS)
        return replace(self, positions=self.positions + shift, start=start)


def positions_at(
    count: int, rate_changes: Pairs, inserted: Pairs = (), offset: float = 0.0
) -> npt.NDArray[np.float32]:
    """Return the source positions of semantic codes that are spoken at known tempi.

    Args:
        count: of the answer's semantic codes.
        rate_changes: (answer group, change of rate) pairs; the rate is in source groups per
            answer group of 120 ms.
        inserted: (answer group, groups) of stretches that the source holds nothing of.
        offset: source groups by which the answer's codes begin late.

    Returns:
        float32 ``(count,)`` as in `SourceMap`; NaN in inserted stretches.
    """
    time = (np.arange(count) + 0.5) / SEMANTIC_PER_GROUP
    moved = np.full(count, offset)
    for begin, change in rate_changes:
        moved += change * np.maximum(0.0, time - begin)
    for begin, groups in inserted:
        moved[(time >= begin) & (time < begin + groups)] = np.nan
    return (SEMANTIC_PER_GROUP * moved - 0.5).astype(np.float32)


def expected_tempo(
    length_ratio: float, free: Sequence[FreeGroups] | None = None
) -> tuple[Pairs, Pairs]:
    """Return the changes of rate, and what is inserted, as `positions_at` takes them.

    One rate for the whole answer; or, where it is confined, rate 1 for what is copied, with a
    change at each join. A sound is inserted amid a group: half of that comes before, half after.
    """
    if free is None:
        return ((0.0, 1 / max(length_ratio, 0.01)),), ()
    rate_changes, inserted = [(0.0, 1.0)], []
    for part, begin in zip(free, answer_starts(free), strict=True):
        if part.new and part.length > 1:
            rate_changes += [(begin + 0.5, -1.0), (begin + part.length - 0.5, 1.0)]
            inserted.append((begin + 0.5, part.length - 1.0))
            continue
        # What is left out whole is passed over within half a group of what follows.
        width = part.length or 0.5
        extra = 0.0 if part.length else 0.5
        change = (part.stop - part.start + extra) / width - 1
        rate_changes += [(begin, change), (begin + width, -change)]
    return tuple(rate_changes), tuple(inserted)
