"""Augmentation for speaker and channel invariance: vocal tract length, noise and gain."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor

from stepedit_core.models.checkpoint.torchaudio_compat import kaldi_fbank
from stepedit_core.models.tokenizer.linguistic import Cmvn, Frontend, FrontendConfig
from stepedit_train.corruption import coloured_noise
from stepedit_train.settings import Settings

__all__ = [
    "AugmentSettings",
    "WarpedFrontend",
    "augment",
]

FloatArray = npt.NDArray[np.float32]


class AugmentSettings(Settings):
    """Augmentation of training signals, drawn anew for every signal at every step."""

    warp: float = Field(default=0.15, ge=0, lt=0.5)
    """Vocal tract length factors are drawn from 1 - warp to 1 + warp."""
    noise_share: float = Field(default=0.5, ge=0, le=1)
    """Part of the signals that get noise."""
    snr_db: tuple[float, float] = (5.0, 30.0)
    """Range of the signal to noise ratio, in dB."""
    gain_db: tuple[float, float] = (-12.0, 0.0)
    """Range of the gain, in dB."""


class WarpedFrontend(Frontend):
    """Front end whose mel filters are warped as another vocal tract length would warp speech.

    Source: vocal tract length perturbation, Jaitly and Hinton 2013; warp function of Kaldi.
    """

    def __init__(self, config: FrontendConfig, cmvn: Cmvn, factor: float = 1.0) -> None:
        """Keep the factor; 1 is the plain front end.

        Args:
            config: settings of the front end.
            cmvn: normalisation.
            factor: above 1 moves formants as a shorter tract does.
        """
        super().__init__(config, cmvn)
        self.factor = factor

    def fbank(self, samples: FloatArray, generator: torch.Generator | None = None) -> Tensor:
        """Return warped filterbank energies, float32, shape ``(frames, n_mels)``."""
        if self.factor == 1.0:
            return super().fbank(samples, generator)
        conf = self.config
        return kaldi_fbank(
            torch.from_numpy(samples)[None] * 32_768,
            num_mel_bins=conf.n_mels,
            sample_frequency=float(conf.sample_rate),
            frame_length=conf.frame_length_ms,
            frame_shift=conf.frame_shift_ms,
            window_type=conf.window,
            energy_floor=0.0,
            snip_edges=True,
            vtln_warp=self.factor,
        )


def augment(
    speech: FloatArray, rng: np.random.Generator, settings: AugmentSettings
) -> tuple[FloatArray, float]:
    """Return a changed signal and the warp factor for its filterbank.

    Args:
        speech: float32 at 16 kHz, shape ``(n,)``.
        rng: source of all choices.
        settings: ranges.
    """
    factor = float(rng.uniform(1 - settings.warp, 1 + settings.warp))
    gain = 10 ** (float(rng.uniform(*settings.gain_db)) / 20)
    if rng.uniform() < settings.noise_share and len(speech):
        level = float(speech.std()) * 10 ** (-float(rng.uniform(*settings.snr_db)) / 20)
        speech = speech + np.float32(level) * coloured_noise(rng, len(speech))
    return (speech * np.float32(gain)).astype(np.float32), factor
