"""Where the answer to a request is expected in its source, before or after it is generated."""

from __future__ import annotations

import numpy as np

from stepedit_core.codes import SEMANTIC_PER_GROUP
from stepedit_core.engine import FreeGroups, GenerateRequest, answer_starts
from stepedit_core.llm_route.source_map import Origin, Pairs, paced_places

__all__ = ["expected_paces", "origin_of"]


def origin_of(request: GenerateRequest, groups: int, late: float = 0.0) -> Origin:
    """Return where the codes of an answer are expected in their source, as far as is known.

    Args:
        request: that was answered.
        groups: of the answer.
        late: source groups by which they begin late.
    """
    places, made = None, None
    if request.free is not None or request.even_pace:
        bends, away = expected_paces(request)
        places = paced_places(SEMANTIC_PER_GROUP * groups, bends, away, late)
    if request.free is not None:
        made = np.zeros(groups, dtype=bool)
        for part, begin in zip(request.free, answer_starts(request.free), strict=True):
            made[begin : begin + part.length] = True
    source = request.utterance.digest
    return Origin(source, places, request.decoded_as, made, request.codes.start)


def expected_paces(request: GenerateRequest) -> tuple[Pairs, Pairs]:
    """Return the changes of pace, and what is new: one pace, or joins of what is confined."""
    if request.free is None:
        return ((0.0, 1 / max(request.length_ratio, 0.01)),), ()
    return _bends(request.free)


def _bends(free: tuple[FreeGroups, ...]) -> tuple[Pairs, Pairs]:
    """Return the changes of pace where copied parts (pace 1) meet the free ones, and what is new.

    A sound is put in amid a group: half of that is told before it, half of it after.
    """
    bends, away = [(0.0, 1.0)], []
    for part, begin in zip(free, answer_starts(free), strict=True):
        if part.new and part.length > 1:
            bends += [(begin + 0.5, -1.0), (begin + part.length - 0.5, 1.0)]
            away.append((begin + 0.5, part.length - 1.0))
            continue
        # What is left out whole is passed over within half a group of what follows.
        width = part.length or 0.5
        extra = 0.0 if part.length else 0.5
        change = (part.stop - part.start + extra) / width - 1
        bends += [(begin, change), (begin + width, -change)]
    return tuple(bends), tuple(away)
