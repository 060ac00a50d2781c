"""Excitation signals: a pulse train with all harmonics up to half the sample rate."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["phase_of", "pulse_train"]


def phase_of(hz: Tensor, hop: int, sample_rate: int, start: Tensor | float = 0.0) -> Tensor:
    """Sum frequencies up to a phase.

    Args:
        hz: frequency at every ``hop`` samples, ``(batch, points + 1)``; linear in between.
        hop: samples between points.
        sample_rate: Hz.
        start: phase before the first sample, cycles; a number, or ``(batch, 1)``.

    Returns:
        Phase in cycles, not wrapped, float64 ``(batch, hop * points)``, and for each sample the
        phase at its beginning.
    """
    place = torch.arange(hop, device=hz.device, dtype=torch.float64) / hop
    first, change = hz[:, :-1, None].double(), hz.double().diff(dim=1)[..., None]
    steps = ((first + change * place) / sample_rate).flatten(1)
    return F.pad(steps.cumsum(1)[:, :-1], (1, 0)) + start


def pulse_train(phase: Tensor, hz: Tensor, hop: int, sample_rate: int) -> Tensor:
    """Return a sum of cosines of equal amplitude at all harmonics below half the sample rate.

    The sum is the Dirichlet kernel in closed form. Its power is that of white noise of variance 1
    at every pitch, so one filter serves both.

    Args:
        phase: cycles, float64 ``(batch, hop * points)``.
        hz: fundamental at every ``hop`` samples, ``(batch, points + 1)``.
        hop: samples between points.
        sample_rate: Hz.

    Returns:
        float32, shape of ``phase``.
    """
    per_sample = hz[:, :-1].double().repeat_interleave(hop, dim=1)
    harmonics = torch.ceil(0.5 * sample_rate / per_sample) - 1
    half = math.pi * (phase - phase.round())
    below = torch.sin(half)
    is_peak = below.abs() < 1e-7
    ratio = torch.sin((2 * harmonics + 1) * half) / torch.where(is_peak, 1.0, below)
    kernel = torch.where(is_peak, harmonics, 0.5 * ratio - 0.5)
    return (kernel * torch.sqrt(4 * per_sample / sample_rate)).float()
