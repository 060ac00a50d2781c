"""Phone labels from an offline recogniser, and their spread over 20 ms frames.

The recogniser is the waveform CTC model of the ``hama`` package (Apache-2.0, English and
Korean). Labels of a recogniser are errors included: whatever is trained on them must not be
scored by the same recogniser alone.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from stepedit_core.errors import MissingDependencyError

__all__ = ["FRAME_SECONDS", "SILENCE", "phone_names", "recognise_phones", "spread_phones"]

FRAME_SECONDS = 0.02
RATE = 16_000
SILENCE = 0
"""Label of silence; phone ``p`` of the recogniser is label ``p + 1``."""
REACH = 4
"""Frames that a phone reaches to each side of its spike at most; silence is beyond."""

IntArray = npt.NDArray[np.int32]


@lru_cache(maxsize=1)
def _recogniser() -> Any:
    try:
        from hama import ASRModel
    except ImportError as error:
        raise MissingDependencyError(
            "phone labels need the hama package: pip install 'stepedit[train]'"
        ) from error
    return ASRModel()


def phone_names() -> list[str]:
    """Return the names of the labels, silence first."""
    return ["sil", *_recogniser().decoder_tokens]


def recognise_phones(speech: npt.NDArray[np.float32]) -> IntArray:
    """Return the phones of a signal and the 20 ms frames of their spikes.

    Args:
        speech: float32 at 16 kHz, shape ``(n,)``.

    Returns:
        int32, shape ``(phones, 2)``: recogniser id and the middle frame of its spike.
    """
    model = _recogniser()
    frames = np.asarray(model(speech, RATE).frame_token_ids, dtype=np.int32)
    edges = np.flatnonzero(np.diff(frames)) + 1
    starts, stops = np.r_[0, edges], np.r_[edges, len(frames)]
    names = model.decoder_tokens
    rows = [
        (int(frames[start]), (int(start) + int(stop) - 1) // 2)
        for start, stop in zip(starts, stops, strict=True)
        if len(frames) and names[frames[start]] not in ("<blank>", "<wb>", "<unk>")
    ]
    return np.array(rows, dtype=np.int32).reshape(-1, 2)


def spread_phones(spikes: IntArray, count: int) -> npt.NDArray[np.int64]:
    """Give every 20 ms frame the phone of the nearest spike, or silence where none is near.

    Args:
        spikes: see :func:`recognise_phones`.
        count: frames.

    Returns:
        int64, shape ``(count,)``: labels.
    """
    labels = np.full(count, SILENCE, dtype=np.int64)
    if not len(spikes) or not count:
        return labels
    frames = np.arange(count)
    at = spikes[:, 1]
    right = np.searchsorted(at, frames).clip(0, len(at) - 1)
    left = (right - 1).clip(0)
    nearest = np.where(np.abs(frames - at[left]) <= np.abs(at[right] - frames), left, right)
    near = np.abs(frames - at[nearest]) <= REACH
    labels[near] = spikes[nearest[near], 0] + 1
    return labels
