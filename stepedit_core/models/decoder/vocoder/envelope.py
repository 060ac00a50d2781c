"""Spectral envelopes on the bins of a transform, from mel bands and from coarse bands."""

from __future__ import annotations

import functools
import math

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from stepedit_core.models.tokenizer.features import MelConfig
from stepedit_core.models.tokenizer.mel_scale import mel_filters, mel_frequencies

__all__ = ["band_places", "envelope_of_mel", "minimum_phase", "smoothed_mel", "to_bins"]

FALL_ABOVE = 1.0
"""Nepers that the envelope is taken to fall from the last mel band to half the sample rate."""
LEAST_POWER = 1e-12
"""Least power of a band that a logarithm is taken of."""


def _interpolation(places: npt.NDArray[np.float64], n_fft: int, sample_rate: int) -> Tensor:
    """Return ``(bins, places)``: linear interpolation, held at the ends."""
    hz = np.linspace(0, sample_rate / 2, n_fft // 2 + 1)
    rows = [np.interp(hz, places, unit) for unit in np.eye(len(places))]
    return torch.from_numpy(np.stack(rows, axis=1)).float()


def band_places(bands: int, sample_rate: int) -> npt.NDArray[np.float64]:
    """Return the frequencies of coarse bands, Hz, evenly on the mel scale."""
    return mel_frequencies(bands, 0.0, sample_rate / 2)


# What is cached must not be an inference tensor: training may ask for it later.
@functools.lru_cache(maxsize=8)
@torch.inference_mode(False)
def to_bins(bands: int, n_fft: int, sample_rate: int, device: torch.device) -> Tensor:
    """Return the matrix ``(bins, bands)`` that spreads coarse bands over a transform's bins."""
    return _interpolation(band_places(bands, sample_rate), n_fft, sample_rate).to(device)


@functools.lru_cache(maxsize=8)
@torch.inference_mode(False)
def _mel_to_bins(config: MelConfig, n_fft: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return matrix ``(bins, mels)`` and offset ``(bins, 1)`` from log mel to log envelope."""
    rate, top = config.sampling_rate, config.fmax or config.sampling_rate / 2
    edges = mel_frequencies(config.num_mels + 2, config.fmin, top)
    filters = mel_filters(rate, config.n_fft, config.num_mels, config.fmin, config.fmax)
    # Mean magnitude of white noise of variance 1 under a Hann window, and what a band makes of it.
    mean = math.sqrt(3 / 8 * config.win_size) * math.sqrt(math.pi) / 2
    gain = np.log(np.maximum(filters.sum(1), 1e-6) * mean)
    matrix = _interpolation(edges[1:-1], n_fft, rate)
    hz = np.linspace(0, rate / 2, n_fft // 2 + 1)
    fall = FALL_ABOVE * np.clip((hz - edges[-2]) / (rate / 2 - edges[-2]), 0, 1)
    offset = -(matrix.numpy() @ gain) - fall
    return matrix.to(device), torch.from_numpy(offset).float()[:, None].to(device)


def envelope_of_mel(mel: Tensor, config: MelConfig, n_fft: int) -> Tensor:
    """Return the log gain that gives white noise of variance 1 the spectrum of a mel.

    Args:
        mel: natural log, ``(batch, mels, frames)``.
        config: of the mel.
        n_fft: samples of the transform that is to be filtered.

    Returns:
        ``(batch, bins, 2 * frames + 1)``: at the mel frames' centres and half-way in between.
    """
    matrix, offset = _mel_to_bins(config, n_fft, mel.device)
    wide = matrix @ mel + offset
    padded = F.pad(wide, (1, 1), mode="replicate")
    between = 0.5 * (padded[..., :-1] + padded[..., 1:])
    out = wide.new_empty(*wide.shape[:2], 2 * mel.shape[2] + 1)
    out[..., 0::2], out[..., 1::2] = between, wide
    return out


@functools.lru_cache(maxsize=8)
@torch.inference_mode(False)
def _smoothing(config: MelConfig, width: float, device: torch.device) -> Tensor:
    """Return the matrix ``(mels, mels)`` of triangular means over bands, by their places in Hz."""
    top = config.fmax or config.sampling_rate / 2
    places = mel_frequencies(config.num_mels + 2, config.fmin, top)[1:-1]
    weights = np.clip(1 - np.abs(places[:, None] - places) / width, 0, None)
    return torch.from_numpy(weights / weights.sum(1, keepdims=True)).float().to(device)


def smoothed_mel(mel: Tensor, config: MelConfig, width: float) -> Tensor:
    """Return a mel whose power is averaged over neighbouring bands: an envelope without harmonics.

    Args:
        mel: natural log of magnitudes, ``(batch, mels, frames)``.
        config: of the mel.
        width: Hz to either side at which a band no longer counts; more than the F0 that is to
            vanish. Bands that lie farther apart stay as they are.
    """
    matrix = _smoothing(config, width, mel.device)
    return 0.5 * (matrix @ (2 * mel).exp()).clamp_min(LEAST_POWER).log()


def minimum_phase(log_magnitude: Tensor) -> Tensor:
    """Return the phase of the minimum-phase filter with a magnitude, radians.

    Source: Oppenheim and Schafer, "Discrete-Time Signal Processing", the folded cepstrum.

    Args:
        log_magnitude: natural log, ``(batch, bins, frames)``.
    """
    size = 2 * (log_magnitude.shape[1] - 1)
    cepstrum = torch.fft.irfft(log_magnitude, size, dim=1)
    fold = torch.zeros(size, 1, device=cepstrum.device)
    fold[0] = fold[size // 2] = 1.0
    fold[1 : size // 2] = 2.0
    phase: Tensor = torch.fft.rfft(cepstrum * fold, dim=1).imag
    return phase
