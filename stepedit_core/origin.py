"""Where codes come from: what a decoder may be told of an edit beside the codes themselves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stepedit_core.codes import SEMANTIC_PER_GROUP

__all__ = ["Origin", "Pairs", "paced_places"]

Pairs = tuple[tuple[float, float], ...]


@dataclass(frozen=True, eq=False)
class Origin:
    """Where each part of an answer is expected in its source, and what was done there.

    A decoder whose reference is that source, and which was taught to, finds the source's sound
    by it; others do without.

    Attributes:
        source: digest of the utterance that was edited (`Utterance.digest`).
        places: source place of the middle of each semantic code (40 ms), in semantic codes of
            the source, the first one's middle at 0; float32 ``(3 * groups,)``. NaN where nobody
            knows, or where the source holds nothing of it. None: nothing is known.
        label: what was done, as `Edit.decoded_as` names it; empty: nothing, or unknown.
        made: groups that the edit may have changed, bool ``(groups,)``; None: all.
    """

    source: str
    places: npt.NDArray[np.float32] | None = None
    label: str = ""
    made: npt.NDArray[np.bool_] | None = None

    @classmethod
    def same(cls, source: str, groups: int) -> Origin:
        """Return the origin of an utterance's own codes, for the identity edit."""
        return cls(source, np.arange(SEMANTIC_PER_GROUP * groups, dtype=np.float32))


def paced_places(
    count: int, bends: Pairs, away: Pairs = (), late: float = 0.0
) -> npt.NDArray[np.float32]:
    """Return the places of semantic codes that are told at known paces.

    Args:
        count: of the answer's semantic codes.
        bends: (answer group, change of pace) pairs; the pace is in source groups per answer
            group of 120 ms.
        away: (answer group, groups) of stretches that the source holds nothing of.
        late: source groups by which the answer's codes begin late.

    Returns:
        float32 ``(count,)`` as in `Origin`; NaN in stretches away.
    """
    time = (np.arange(count) + 0.5) / SEMANTIC_PER_GROUP
    moved = np.full(count, late)
    for begin, change in bends:
        moved += change * np.maximum(0.0, time - begin)
    for begin, groups in away:
        moved[(time >= begin) & (time < begin + groups)] = np.nan
    return (SEMANTIC_PER_GROUP * moved - 0.5).astype(np.float32)
