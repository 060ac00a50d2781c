"""The most that an answer can still be worth while it is being said."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from stepedit_core.models.reader.network import BLANK

__all__ = ["prefix_log_probability"]


def prefix_log_probability(heard: npt.NDArray[np.float64], phones: Sequence[int]) -> float:
    """Return the log probability that what was heard begins a text's phones.

    The sum of the forward variables (Graves et al. 2006, eq. 6) after the last frame. Whatever
    follows has a probability of at most 1, so no continuation makes the whole text likelier.

    Args:
        heard: log probabilities of phones and blank, ``(frames, 40)``; each frame sums to 1.
        phones: indices of ``PHONES``.
    """
    spaced = np.full(2 * len(phones) + 1, BLANK)
    spaced[1::2] = phones
    # A blank between two phones may be left out, unless they are the same one.
    skips = np.zeros(len(spaced))
    skips[3::2] = spaced[3::2] != spaced[1:-2:2]
    likely = np.exp(heard[:, spaced])
    now = np.zeros(len(spaced))
    now[:2] = 1.0
    total = 0.0
    for index, frame in enumerate(likely):
        if index:
            before = now
            now = before.copy()
            now[1:] += before[:-1]
            now[2:] += skips[2:] * before[:-2]
        now = now * frame
        mass = float(now.sum())
        if mass <= 0.0:
            return -math.inf
        now /= mass
        total += math.log(mass)
    return total
