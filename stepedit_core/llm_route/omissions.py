"""Answers that are their source with parts of its silence left out.

Where an edit does nothing else (`Plan.omissions`), its answer is known but for where each silence
is left and where it is entered again. A passage says which ways through the source's codes there
are. It moves by groups of the answer (120 ms), each of which may begin at any semantic code of the
source (40 ms); its two linguistic codes (60 ms) are those at the same time, to within 20 ms, so
that the 2:3 phase of the answer stays and both of its streams are in the source's order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stepedit_core.codes import (
    GROUP_SECONDS,
    LINGUISTIC_PER_GROUP,
    LINGUISTIC_SIZE,
    SEMANTIC_PER_GROUP,
    DualCodes,
)
from stepedit_core.plan import Omission

__all__ = ["Passage", "cut_off"]

IntArray = npt.NDArray[np.int64]

_CODE_SECONDS = GROUP_SECONDS / SEMANTIC_PER_GROUP
_SLACK = 1e-6
"""Codes by which a time may miss a code's edge by rounding."""


@dataclass(frozen=True, eq=False)
class Passage:
    """Ways through a source's codes; places are counted in its semantic codes.

    Attributes:
        groups: int64 ``(places, 5)``, the interleaved tokens of the group that begins at each
            place. Past the end, the last code stands again.
        stays: bool ``(places,)``, whether the group at a place may follow where it is reached.
        first: int64 ``(places,)``, the nearest place that may follow in its stead.
        last: int64 ``(places,)``, the furthest; below ``first`` where there is none. The number
            of places stands for the end of the answer.
    """

    groups: IntArray
    stays: npt.NDArray[np.bool_]
    first: IntArray
    last: IntArray

    @classmethod
    def of(cls, codes: DualCodes, omissions: Sequence[Omission]) -> Passage:
        """Return the ways through codes of which parts may be left out.

        Args:
            codes: of the source; what lies past its last whole group is left out.
            omissions: in seconds of what they encode, without overlap.
        """
        count = SEMANTIC_PER_GROUP * codes.groups
        places = np.arange(count)
        stays = np.ones(count, dtype=bool)
        first, last = places + 1, places.copy()
        for part in omissions:
            begin = (part.span.start - codes.start) / _CODE_SECONDS
            end = (part.span.end - codes.start) / _CODE_SECONDS
            a, b = max(0, int(np.ceil(begin - _SLACK))), min(count, int(np.floor(end + _SLACK)))
            kept = int(part.kept / _CODE_SECONDS + _SLACK)
            for place in range(a, b):
                before = place - a
                is_late = place >= b - kept
                stays[place] = is_late or before + SEMANTIC_PER_GROUP <= kept
                if not is_late or before < SEMANTIC_PER_GROUP:
                    last[place] = b
                    first[place] = min(b, max(place + 1, b - max(0, kept - before)))
        return cls(_groups(codes), stays, first, last)

    def follow(self, place: int) -> IntArray:
        """Return where the next group may begin, in order; the number of places is the end."""
        stay = [place] if self.stays[place] else []
        return np.array([*stay, *range(self.first[place], self.last[place] + 1)], dtype=np.int64)

    def places(self, answer: DualCodes) -> IntArray:
        """Return where each group of an answer begins in the source, int64 ``(groups,)``.

        Of places that say the same, the last is meant, as in generation.

        Raises:
            ValueError: if the answer is no way through the source.
        """
        found, place = [], 0
        for group in answer.interleave().reshape(-1, self.groups.shape[1]):
            found.append(self.place_of(group, place))
            place = found[-1] + SEMANTIC_PER_GROUP
        return np.array(found, dtype=np.int64)

    def place_of(self, group: IntArray | Sequence[int], place: int) -> int:
        """Return where a group begins that follows at a place, the last of those that say it.

        Raises:
            ValueError: if it does not follow there.
        """
        ways = self.follow(place) if place < len(self.groups) else np.zeros(0, dtype=np.int64)
        ways = ways[ways < len(self.groups)]
        same = ways[(self.groups[ways] == np.asarray(group)).all(axis=1)]
        if not len(same):
            raise ValueError(f"the group does not follow at place {place} of its source")
        return int(same[-1])

    def positions(self, answer: DualCodes) -> npt.NDArray[np.float32]:
        """Return the place of each semantic code of an answer, as of `SourceMap`.

        Raises:
            ValueError: as of `places`.
        """
        own = self.places(answer)[:, None] + np.arange(SEMANTIC_PER_GROUP)
        return own.reshape(-1).astype(np.float32)

    def time_map(self, answer: DualCodes, start: float) -> Callable[[float], float]:
        """Return a function from a second of the source to its second of the answer.

        Args:
            answer: a way through the source.
            start: second of the source at which its codes begin.
        """
        places = start + _CODE_SECONDS * self.places(answer)
        said = GROUP_SECONDS * np.arange(len(places))
        before = np.stack([places, places + GROUP_SECONDS], axis=1).reshape(-1)
        after = np.stack([said, said + GROUP_SECONDS], axis=1).reshape(-1)
        return lambda second: float(np.interp(second, before, after))


def cut_off(codes: DualCodes, omissions: Sequence[Omission], seconds: float) -> tuple[float, float]:
    """Return how much is to be kept before and behind what a source's codes hold, in seconds.

    Tokenizers cut off soft ends, and what is said there may be soft.

    Args:
        codes: of the source; they may begin later than it.
        omissions: in seconds of the source, in order.
        seconds: duration of the source.
    """
    begin, end = 0.0, seconds
    if omissions and omissions[0].span.start <= 0:
        begin = omissions[0].span.end
    if omissions and omissions[-1].span.end >= seconds:
        end = omissions[-1].span.start
    return max(0.0, codes.start - begin), max(0.0, end - codes.start - codes.seconds)


def _groups(codes: DualCodes) -> IntArray:
    """Return the tokens of the group that begins at each semantic code."""
    count = codes.groups
    places = np.arange(SEMANTIC_PER_GROUP * count)
    beside = (places * LINGUISTIC_PER_GROUP + 1) // SEMANTIC_PER_GROUP
    linguistic = beside[:, None] + np.arange(LINGUISTIC_PER_GROUP)
    semantic = places[:, None] + np.arange(SEMANTIC_PER_GROUP)
    return np.concatenate(
        [
            codes.linguistic[linguistic.clip(max=LINGUISTIC_PER_GROUP * count - 1)],
            codes.semantic[semantic.clip(max=SEMANTIC_PER_GROUP * count - 1)] + LINGUISTIC_SIZE,
        ],
        axis=1,
    )
