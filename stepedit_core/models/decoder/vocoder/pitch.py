"""Pitch and voicing from a mel spectrogram, as a distribution over pitch classes."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stepedit_core.models.decoder.convnext import ConvNeXtBlock

__all__ = ["LOWEST_HZ", "Pitch", "PitchPredictor", "decode_pitch", "pitch_place"]

LOWEST_HZ = 50.0
OCTAVES = 4.0
"""Pitch classes reach from 50 to 800 Hz, evenly on the log scale."""
REACH = 4
"""Classes on each side of the likeliest one that its mean is taken over."""
FILL_REACH = 40
SMOOTH_REACH = 3
"""Pitch is averaged over 30 ms to either side: what changes faster is error, heard as roughness."""
FILL_SHARE = 1e-3
"""Unvoiced frames take their pitch from voiced ones up to 0.4 s away, by this weak weight."""
LEAST_CONFIDENCE = 1e-4


@dataclass(frozen=True)
class Pitch:
    """What an excitation is made from, every 10 ms: ``2 * frames + 1`` values.

    Attributes:
        hz: fundamental frequency, float32 ``(batch, 2 * frames + 1)``; goes on where unvoiced.
        voicing: probability of voice, float32, same shape.
    """

    hz: Tensor
    voicing: Tensor


class PitchPredictor(nn.Module):
    """Convolutions from mel frames (50 Hz) to pitch classes and voicing every 10 ms.

    Args:
        bins: mel bands.
        width: channels.
        blocks: ConvNeXt blocks.
        classes: pitch classes.
    """

    def __init__(self, bins: int, width: int, blocks: int, classes: int) -> None:
        super().__init__()
        self.enter = nn.Conv1d(bins, width, 5, padding=2)
        self.blocks = nn.ModuleList(ConvNeXtBlock(width) for _ in range(blocks))
        self.upsample = nn.ConvTranspose1d(width, width, 3, 2)
        self.last = ConvNeXtBlock(width)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes + 1)

    def forward(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        """Predict.

        Args:
            mel: normalised, ``(batch, bins, frames)``.

        Returns:
            Logits of the classes ``(batch, 2 * frames + 1, classes)``, and of voicing
            ``(batch, 2 * frames + 1)``.
        """
        x = self.enter(mel).transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        x = self.upsample(x.transpose(1, 2)).transpose(1, 2)
        out: Tensor = self.head(self.norm(self.last(x)))
        return out[..., :-1], out[..., -1]


def pitch_place(hz: Tensor, classes: int) -> Tensor:
    """Return the place of frequencies among the classes, 0 to ``classes - 1``, fractional."""
    return torch.log2(hz / LOWEST_HZ) / OCTAVES * (classes - 1)


@functools.lru_cache(maxsize=4)
@torch.inference_mode(False)
def _fill_kernel(device: torch.device) -> Tensor:
    away = torch.arange(-FILL_REACH, FILL_REACH + 1, device=device).abs()
    kernel = FILL_SHARE * torch.exp(-away / (FILL_REACH / 6))
    smooth = torch.hann_window(2 * SMOOTH_REACH + 3, periodic=False, device=device)[1:-1]
    kernel[FILL_REACH - SMOOTH_REACH : FILL_REACH + SMOOTH_REACH + 1] = smooth
    return kernel.view(1, 1, -1)


def decode_pitch(classes: Tensor, voicing: Tensor) -> Pitch:
    """Turn logits into pitch: the mean around the likeliest class, smoothed, filled where unvoiced.

    Args:
        classes: logits ``(batch, frames, classes)``.
        voicing: logits ``(batch, frames)``.
    """
    count = classes.shape[-1]
    best = classes.argmax(-1, keepdim=True)
    place = torch.arange(count, device=classes.device)
    near = (place - best).abs() <= REACH
    weights = classes.masked_fill(~near, -math.inf).softmax(-1)
    octaves = (weights * place).sum(-1) / (count - 1) * OCTAVES
    confidence = torch.sigmoid(voicing)
    weight = confidence.square().clamp_min(LEAST_CONFIDENCE)
    kernel = _fill_kernel(classes.device)
    given = torch.cat([octaves * weight, weight])[:, None].double()
    spread = F.conv1d(given, kernel.double(), padding=FILL_REACH)
    total, norm = spread[:, 0].chunk(2)
    return Pitch(LOWEST_HZ * torch.exp2((total / norm).float()), confidence)
