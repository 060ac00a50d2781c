"""Spectral energy distance: how far synthesis is from a recording, randomness allowed for.

Source: Gritsenko et al., "A Spectral Energy Distance for Parallel Speech Synthesis", 2020. Two
draws of each utterance are compared with the recording and with each other. The second term is
what makes the optimum the recording's distribution: without it, noise would be spoken as a buzz of
the median spectrum, which differs least from every draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from stepedit_core.models.decoder.vocoder import HarmonicNoiseVocoder
from stepedit_core.models.tokenizer.features import MelConfig, prompt_mel

__all__ = [
    "Spectra",
    "background_loss",
    "energy_distance",
    "log_mel",
    "spectra_distance",
    "spectra_of",
]

FLOOR = 3e-5
"""Magnitude, for white noise of that deviation, below which nothing is told apart (-90 dB)."""
PASSED = 0.46
"""Share of a source's rate below which its resampling left frequencies as they were."""
TINY_POWER = 1e-12


@dataclass(frozen=True)
class Spectra:
    """Magnitudes of waveforms at several resolutions, and their log mel.

    Attributes:
        magnitudes: each ``(batch, bins, frames)``.
        logs: their natural logs.
        mel: natural log, ``(batch, mels, frames)``.
    """

    magnitudes: Sequence[Tensor]
    logs: Sequence[Tensor]
    mel: Tensor


def log_mel(waves: Tensor, config: MelConfig) -> Tensor:
    """Return the decoder's mel of waveforms ``(batch, n)``, shape ``(batch, mels, n // hop)``."""
    return torch.cat([prompt_mel(w, config.sampling_rate, config) for w in waves]).transpose(1, 2)


def spectra_of(waves: Tensor, sizes: Sequence[int], config: MelConfig) -> Spectra:
    """Return the spectra of waveforms.

    Args:
        waves: ``(batch, n)``.
        sizes: samples of the transforms; each moves on by a half.
        config: of the mel.
    """
    magnitudes = []
    for size in sizes:
        window = torch.hann_window(size, device=waves.device)
        window = window / window.square().sum().sqrt()
        spectrum = torch.stft(waves, size, size // 2, window=window, return_complex=True)
        power = torch.view_as_real(spectrum).square().sum(-1)
        magnitudes.append((power + FLOOR**2).sqrt())
    logs = [magnitude.log() for magnitude in magnitudes]
    return Spectra(magnitudes, logs, log_mel(waves, config))


def _masks(spectra: Spectra, source_rates: Tensor, sample_rate: int) -> list[Tensor]:
    """Return masks of the bins with content, ``(batch, bins, 1)`` for every resolution."""
    top = PASSED * source_rates[:, None, None]
    masks = []
    for magnitude in spectra.magnitudes:
        bins = magnitude.shape[1]
        hz = torch.linspace(0, sample_rate / 2, bins, device=magnitude.device)[:, None]
        masks.append((hz <= torch.where(top >= PASSED * sample_rate, sample_rate, top)).float())
    return masks


def spectra_distance(
    one: Spectra, other: Spectra, masks: Sequence[Tensor], scales: Sequence[Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return three distances, each a mean over the batch: log, linear and mel magnitude.

    Args:
        one: spectra.
        other: spectra of the same shape.
        masks: which bins count, for every resolution.
        scales: unit of linear magnitudes for every resolution, ``(batch, 1, 1)``.
    """
    logs, lines = [], []
    for place, (mask, scale) in enumerate(zip(masks, scales, strict=True)):
        left, right = one.magnitudes[place], other.magnitudes[place]
        count = mask.sum() * left.shape[2]
        logs.append(((one.logs[place] - other.logs[place]).abs() * mask).sum() / count)
        lines.append(((left - right).abs() * (mask / scale)).sum() / count)
    mel = (one.mel - other.mel).abs().mean()
    return torch.stack(logs).mean(), torch.stack(lines).mean(), mel


def energy_distance(
    wanted: Spectra, first: Spectra, second: Spectra, source_rates: Tensor, sample_rate: int
) -> dict[str, Tensor]:
    """Return the energy distance of two draws from recordings.

    Args:
        wanted: of the recordings.
        first: of one draw.
        second: of another draw from the same filters.
        source_rates: Hz of the recordings' files, ``(batch,)``; above half of it nothing counts.
        sample_rate: of the waveforms, Hz.

    Returns:
        ``log``, ``linear`` and ``mel``: distance of each kind; and under the same names with
        ``_apart``, without the term between the draws.
    """
    masks = _masks(wanted, source_rates, sample_rate)
    scales = [m.mean((1, 2), keepdim=True).clamp_min(FLOOR) for m in wanted.magnitudes]
    near = spectra_distance(first, wanted, masks, scales)
    far = spectra_distance(second, wanted, masks, scales)
    between = spectra_distance(first, second, masks, scales)
    out = {}
    for name, one, two, apart in zip(("log", "linear", "mel"), near, far, between, strict=True):
        out[name] = 0.5 * (one + two - apart)
        out[f"{name}_apart"] = 0.5 * (one + two).detach()
    return out


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
