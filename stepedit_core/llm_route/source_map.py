"""Where codes come from: what a decoder may be told of an edit beside the codes themselves."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from stepedit_core.codes import GROUP_SECONDS, SEMANTIC_PER_GROUP, DualCodes

__all__ = ["Origin", "Pairs", "paced_places"]

SEMANTIC_SECONDS = GROUP_SECONDS / SEMANTIC_PER_GROUP
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
        start: second of the source at which the codes begin that places are counted in.
    """

    source: str
    places: npt.NDArray[np.float32] | None = None
    label: str = ""
    made: npt.NDArray[np.bool_] | None = None
    start: float = 0.0

    @classmethod
    def same(cls, source: str, codes: DualCodes) -> Origin:
        """Return the origin of an utterance's own codes, for the identity edit."""
        places = np.arange(SEMANTIC_PER_GROUP * codes.groups, dtype=np.float32)
        return cls(source, places, start=codes.start)

    def counted_from(self, start: float) -> Origin:
        """Return the places in codes of the same source that begin at another second of it.

        Codes that a chain carries on and those of the audio that came of them begin apart.
        """
        if self.places is None or start == self.start:
            return self
        shift = np.float32((self.start - start) / SEMANTIC_SECONDS)
        return replace(self, places=self.places + shift, start=start)


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
