"""A constant offset (DC) of a recording: measured, taken out for the work, and put back.

Cheap sound cards add one. It is no sound, but it counts in every mean square: levels, gates and
loudness come out wrong, and silence that is spliced in without it makes a thump.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from stepedit_core.utterance import Utterance

__all__ = ["around_offset", "offset_of", "without_offset"]

_LEAST, _SHARE, _SHARE_OF_SHORT, _SHORT_SECONDS = 1e-3, 0.02, 0.2, 0.5

T = TypeVar("T")


def offset_of(samples: npt.NDArray[np.floating], rate: int) -> float:
    """Return the constant offset of samples, or 0.0 where the mean is that of sound alone.

    It counts from -60 dB of full scale and 2 % of the standard deviation on; the mean of less
    than half a second also holds slow sound, and counts from 20 %. A constant alone has none.

    Args:
        samples: shape ``(n,)``, full scale 1.
        rate: in Hz.
    """
    if not len(samples):
        return 0.0
    mean = float(np.mean(samples, dtype=np.float64))
    spread = float(np.std(samples, dtype=np.float64))
    share = _SHARE if len(samples) >= _SHORT_SECONDS * rate else _SHARE_OF_SHORT
    if not spread or abs(mean) < max(_LEAST, share * spread):
        return 0.0
    return mean


def without_offset(utterance: Utterance) -> Utterance:
    """Return an utterance without its constant offset; the same one where it has none."""
    offset = offset_of(utterance.samples, utterance.sample_rate)
    if not offset:
        return utterance
    return utterance.replace(samples=utterance.samples - np.float32(offset))


def around_offset(
    utterance: Utterance, work: Callable[[Utterance], tuple[Utterance, T]]
) -> tuple[Utterance, T]:
    """Let ``work`` edit an utterance without its offset, and put the offset back.

    The offset stays, because what is made may be spliced into the rest of the recording. What
    would rise above full scale with it, or above a source beyond it, is made softer.

    Args:
        utterance: any rate and length.
        work: takes an utterance, returns the edited one and what else it has to say.
    """
    offset = offset_of(utterance.samples, utterance.sample_rate)
    if not offset:
        return work(utterance)
    edited, said = work(without_offset(utterance))
    ceiling = max(1.0, float(np.abs(utterance.samples).max()))
    peak = float(np.abs(edited.samples + np.float32(offset)).max(initial=0.0))
    room = (ceiling - abs(offset)) / float(np.abs(edited.samples).max()) if peak > ceiling else 1.0
    samples = edited.samples * np.float32(min(1.0, room)) + np.float32(offset)
    return edited.replace(samples=samples), said
