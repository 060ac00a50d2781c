"""Mels made worse on purpose, so that a decoder's mels are spoken well too."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["blurred"]


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
