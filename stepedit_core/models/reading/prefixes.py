"""How probable it is that heard frames say a text, or the beginning of one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stepedit_core.models.reading.network import BLANK

__all__ = ["beginning_scores"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
NEVER = -1e30


def beginning_scores(
    heard: FloatArray, frames: IntArray, ended: npt.NDArray[np.bool_], phones: IntArray
) -> FloatArray:
    """Return log probabilities of a text, or of all its beginnings together, ``(n,)``.

    The forward variables of connectionist temporal classification (Graves et al. 2006, eqs. 5 to
    8), summed over all places of the text where a row has not ended.

    Args:
        heard: log probabilities of phones and blank, ``(n, frames, 40)``.
        frames: how many of each row count, ``(n,)``.
        ended: whether a row has to have said the whole text, ``(n,)``.
        phones: of the text, at least one.
    """
    labels = np.full(2 * len(phones) + 1, BLANK)
    labels[1::2] = phones
    may_leap = np.zeros(len(labels), dtype=bool)
    may_leap[3::2] = phones[1:] != phones[:-1]
    reached = np.full((len(heard), len(labels)), NEVER)
    reached[:, 0] = 0.0  # before the first frame
    for frame in range(int(frames.max(initial=0))):
        stepped = np.logaddexp(reached, _moved(reached, 1))
        leapt = np.logaddexp(stepped, np.where(may_leap, _moved(reached, 2), NEVER))
        said = leapt + heard[:, frame, labels]
        reached = np.where((frame < frames)[:, None], said, reached)
    everywhere = np.logaddexp.reduce(reached, axis=1)
    at_end = np.logaddexp(reached[:, -1], reached[:, -2])
    scores = np.where(ended, at_end, everywhere)
    return np.where(scores < NEVER / 2, -np.inf, scores)


def _moved(reached: FloatArray, places: int) -> FloatArray:
    """Return variables of the place so many before each."""
    moved = np.full_like(reached, NEVER)
    moved[:, places:] = reached[:, :-places]
    return moved
