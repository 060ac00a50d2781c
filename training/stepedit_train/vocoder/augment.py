"""Noise for recordings, and mels made worse as those of a decoder are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from stepedit_core.models.decoder.vocoder import HarmonicNoiseVocoder
from stepedit_train.noises import uneven_noise

__all__ = ["background_loss", "blurred", "noise_for"]

FloatArray = npt.NDArray[np.float32]

QUIETEST = 1e-3
"""Deviation below which a signal counts as silent; its noise is set against this level."""
TINY_POWER = 1e-12


def blurred(mel: Tensor, rng: np.random.Generator, noise: float) -> Tensor:
    """Return mels ``(b, bins, t)`` smoothed over time and bands, with noise up to a deviation."""
    amount = torch.from_numpy(rng.uniform(0, 0.25, (2, len(mel), 1, 1)).astype(np.float32))
    for axis, share in ((2, amount[0]), (1, amount[1])):
        edges = (1, 1, 0, 0) if axis == 2 else (0, 0, 1, 1)
        padded = F.pad(mel[:, None], edges, mode="replicate")[:, 0]
        size = mel.shape[axis]
        sides = padded.narrow(axis, 0, size) + padded.narrow(axis, 2, size)
        mel = (1 - 2 * share) * mel + share * sides
    drawn = torch.from_numpy(rng.standard_normal(mel.shape).astype(np.float32))
    level = torch.from_numpy(rng.uniform(0, noise, (len(mel), 1, 1)).astype(np.float32))
    return mel + level * drawn


def noise_for(
    speech: FloatArray, rng: np.random.Generator, snr_db: tuple[float, float], rate: int
) -> FloatArray:
    """Return noise for a signal, at a ratio drawn from a range in dB."""
    level = max(float(speech.std()), QUIETEST) * 10 ** (-rng.uniform(*snr_db) / 20)
    return np.float32(level) * uneven_noise(rng, len(speech), rate)


def background_loss(
    vocoder: HarmonicNoiseVocoder, logits: Tensor, wave: Tensor, noise: Tensor
) -> Tensor:
    """Return the cross entropy of the background's share of the power.

    Args:
        vocoder: whose transform is used.
        logits: of the share, ``(b, bins, frames)``.
        wave: speech and noise, ``(b, n)``.
        noise: of the same shape; silent where none was added.
    """
    powers = [vocoder.spectrum(part).abs().square() for part in (noise, wave - noise)]
    share = powers[0] / (powers[0] + powers[1]).clamp_min(TINY_POWER)
    return F.binary_cross_entropy_with_logits(logits, share)
