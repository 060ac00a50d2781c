"""Crops of recordings with the inputs and targets of the vocoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stepedit_core.models.tokenizer.features import MelConfig, prompt_mel
from stepedit_train.data.cache import Cache
from stepedit_train.data.prosody import FRAME_SECONDS

__all__ = [
    "VocoderBatch",
    "cut",
    "stack_crops",
]

FloatArray = npt.NDArray[np.float32]

LARGEST_STEP, SHORTEST_RUN = 0.1, 4
"""Octaves between frames that are no jump; frames of the shortest run that is believed."""
MARGIN = 2
"""Mel frames on each side that see the reflected ends of a signal; cut away."""


@dataclass(frozen=True)
class VocoderBatch:
    """Crops of equal length.

    Attributes:
        wave: float32 at 24 kHz, ``(b, hop * t)``.
        mel: natural log, float32 ``(b, bins, t)``.
        hz: fundamental frequency every 10 ms, interpolated where unknown, ``(b, 2 * t + 1)``.
        voicing: 0 to 1, ``(b, 2 * t + 1)``.
        steady: 1 where the pitch was measured beyond doubt, otherwise 0, same shape.
        source_rate: Hz of the files, ``(b,)``.
        noise: what was added to the recording and is in the wave, same shape as the wave.
    """

    wave: Tensor
    mel: Tensor
    hz: Tensor
    voicing: Tensor
    steady: Tensor
    source_rate: Tensor
    noise: Tensor


def steady_frames(f0: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Return the mask of reliable frames of a pitch track: voiced runs without jumps.

    Voice moves by less than 120 cents in 10 ms; DIO does not at the ends of voiced stretches. A
    vocoder that is taught with such pitch hides the harmonics, which are then wrong, in noise.

    Args:
        f0: Hz every 10 ms, 0 where unvoiced.
    """
    is_voiced = f0 > 0
    octaves = np.log2(np.where(is_voiced, f0, 1.0))
    jumps = (np.abs(np.diff(octaves)) > LARGEST_STEP) & is_voiced[1:] & is_voiced[:-1]
    steady = is_voiced.copy()
    steady[1:] &= ~jumps
    steady[:-1] &= ~jumps
    edges = np.flatnonzero(np.diff(np.concatenate([[0], steady.astype(np.int8), [0]])))
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        if end - begin < SHORTEST_RUN:
            steady[begin:end] = False
    return steady


def _pitch_at(
    prosody: npt.NDArray[np.float16], times: npt.NDArray[np.floating]
) -> tuple[npt.NDArray[np.float32], ...]:
    """Return Hz, voicing and steadiness at times in seconds of the tokenizers' signal."""
    f0 = prosody[0].astype(np.float64)
    own = np.arange(len(f0)) * FRAME_SECONDS
    is_steady = steady_frames(f0)
    voicing = np.interp(times, own, (f0 > 0).astype(np.float64), left=0.0, right=0.0)
    steady = np.interp(times, own, is_steady.astype(np.float64), left=0.0, right=0.0) > 0.99
    known = (voicing.astype(np.float32), steady.astype(np.float32))
    if not is_steady.any():
        return np.full(len(times), 160.0, np.float32), *known
    # On the log scale; all other frames are interpolated over.
    octaves = np.interp(times, own[is_steady], np.log2(f0[is_steady]))
    return np.exp2(octaves).astype(np.float32), *known


def cut(
    cache: Cache,
    index: int,
    start: int,
    frames: int,
    gain: float,
    config: MelConfig,
    added: Callable[[FloatArray], FloatArray] = np.zeros_like,
) -> VocoderBatch:
    """Return a crop of one recording, as a batch of one.

    Args:
        cache: with audio and prosody.
        index: of the recording.
        start: first sample; whatever lies outside the recording is silent.
        frames: mel frames.
        gain: factor of the signal.
        config: of the mel.
        added: gives the noise for a signal, float32 of its shape; none by default.
    """
    hop, rate = config.hop_size, config.sampling_rate
    item = cache.items[index]
    audio = cache.audio(index)
    length = (frames + 2 * MARGIN) * hop
    first = start - MARGIN * hop
    part = np.zeros(length, np.float32)
    low, high = max(first, 0), min(first + length, len(audio))
    part[low - first : high - first] = audio[low:high] * np.float32(gain)
    noise = added(part)
    signal = torch.from_numpy(part + noise)
    mel = prompt_mel(signal, rate, config)[:, MARGIN:-MARGIN].transpose(1, 2)
    times = start / rate + np.arange(2 * frames + 1) * (hop / 2 / rate) - item.start
    hz, voicing, steady = _pitch_at(cache.read(index, "prosody", "prosody"), times)
    return VocoderBatch(
        signal[None, MARGIN * hop : -MARGIN * hop],
        mel,
        torch.from_numpy(hz)[None],
        torch.from_numpy(voicing)[None],
        torch.from_numpy(steady)[None],
        torch.tensor([float(item.source_rate)]),
        torch.from_numpy(noise)[None, MARGIN * hop : -MARGIN * hop],
    )


def stack_crops(crops: Sequence[VocoderBatch]) -> VocoderBatch:
    """Join batches of crops of equal length."""
    names = ("wave", "mel", "hz", "voicing", "steady", "source_rate", "noise")
    return VocoderBatch(*(torch.cat([getattr(crop, name) for crop in crops]) for name in names))
