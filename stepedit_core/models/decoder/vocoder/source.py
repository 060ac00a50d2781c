"""Harmonic-plus-noise source signal of HiFT: sines of the fundamental and its harmonics.

Wang et al., "Neural source-filter-based waveform models", 2019; the phase is summed up at the
frame rate and interpolated, as in the variant for 24 kHz.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

__all__ = ["ConvRNNF0Predictor", "HarmonicSource"]


class ConvRNNF0Predictor(nn.Module):
    """Fundamental frequency from a mel spectrogram, by convolutions."""

    def __init__(self, num_class: int = 1, in_channels: int = 80, cond_channels: int = 512) -> None:
        """Make five convolutions and the output layer; convolutions sit at even places."""
        super().__init__()
        layers: list[nn.Module] = []
        for index in range(5):
            width = in_channels if index == 0 else cond_channels
            layers += [weight_norm(nn.Conv1d(width, cond_channels, 3, padding=1)), nn.ELU()]
        self.condnet = nn.Sequential(*layers)
        self.classifier = nn.Linear(cond_channels, num_class)

    def forward(self, mel: Tensor) -> Tensor:
        """Map ``(batch, bins, frames)`` to F0 in Hz, ``(batch, frames)``."""
        hidden = self.condnet(mel).transpose(1, 2)
        return self.classifier(hidden).squeeze(-1).abs()  # type: ignore[no-any-return]


class HarmonicSource(nn.Module):
    """Merge the sines of all harmonics and noise into one excitation signal.

    The public code also draws a random initial phase per harmonic, and adds it to a sample that
    its interpolation to the frame rate never reads. It has no effect and is not drawn here.
    """

    def __init__(
        self,
        sample_rate: int,
        hop: int,
        harmonics: int,
        amplitude: float,
        noise_std: float,
        voiced_threshold: float,
    ) -> None:
        """Make the source.

        Args:
            sample_rate: Hz.
            hop: samples per mel frame.
            harmonics: overtones above the fundamental.
            amplitude: of each sine.
            noise_std: noise in voiced frames; unvoiced ones get a third of the amplitude.
            voiced_threshold: F0 above which a frame is voiced, Hz.
        """
        super().__init__()
        self.sample_rate, self.hop, self.harmonics = sample_rate, hop, harmonics + 1
        self.amplitude, self.noise_std = amplitude, noise_std
        self.voiced_threshold = voiced_threshold
        self.l_linear = nn.Linear(harmonics + 1, 1)

    def sines(self, f0: Tensor) -> Tensor:
        """Return the sines of all harmonics.

        F0 is constant within a frame, so the frame-rate phase increments can be taken from it
        directly. The sum over time is kept in float32 like the public code's.

        Args:
            f0: Hz, ``(batch, frames)``.

        Returns:
            ``(batch, hop * frames, harmonics + 1)``.
        """
        order = torch.arange(1, self.harmonics + 1, device=f0.device, dtype=f0.dtype)
        cycles = (f0.unsqueeze(2) * order / self.sample_rate) % 1
        phase = torch.cumsum(cycles, dim=1) * 2 * torch.pi
        phase = F.interpolate(
            phase.transpose(1, 2) * self.hop, scale_factor=float(self.hop), mode="linear"
        )
        return torch.sin(phase.transpose(1, 2)) * self.amplitude

    def forward(self, f0: Tensor, noise: Tensor) -> Tensor:
        """Make the source signal.

        Args:
            f0: Hz, ``(batch, frames)``.
            noise: standard normal, ``(batch, hop * frames, harmonics + 1)``.

        Returns:
            ``(batch, 1, hop * frames)``, within -1..1.
        """
        frame_voiced = (f0 > self.voiced_threshold).to(f0.dtype)
        voiced = frame_voiced.repeat_interleave(self.hop, dim=1).unsqueeze(2)
        level = voiced * self.noise_std + (1 - voiced) * self.amplitude / 3
        waves = self.sines(f0) * voiced + level * noise.to(f0)
        return torch.tanh(self.l_linear(waves)).transpose(1, 2)
