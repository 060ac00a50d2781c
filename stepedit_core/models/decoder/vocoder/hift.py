"""HiFT vocoder: a harmonic source filtered by upsampling convolutions into an inverse STFT.

Li et al., "HiFTNet: A Fast High-Quality Neural Vocoder with Harmonic-plus-Noise Filter and
Inverse Short Time Fourier Transform", 2023. This is the vocoder of the public checkpoint.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from stepedit_core.models.decoder.prosody import Prosody
from stepedit_core.models.decoder.vocoder.folding import fold_weight_norm
from stepedit_core.models.decoder.vocoder.protocol import CACHED_FRAMES, SourceNoise, cross_fade
from stepedit_core.models.decoder.vocoder.source import ConvRNNF0Predictor, HarmonicSource

__all__ = ["HiFTGenerator", "HiFTStream"]

LARGEST_MAGNITUDE = 100.0
FINAL_SLOPE = 0.01


class Snake(nn.Module):
    """``x + sin^2(alpha * x) / alpha`` with one alpha per channel (Ziyin et al., 2020)."""

    def __init__(self, channels: int) -> None:
        """Make the parameter."""
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, channels, time)`` to the same shape."""
        alpha = self.alpha[:, None]
        return x + (1.0 / (alpha + 1e-9)) * torch.sin(x * alpha).square()


class ResBlock(nn.Module):
    """Residual pairs of a dilated and a plain convolution."""

    def __init__(self, channels: int, kernel: int, dilations: Sequence[int]) -> None:
        """Make one pair per dilation."""
        super().__init__()

        def conv(dilation: int) -> nn.Module:
            padding = (kernel - 1) * dilation // 2
            plain = nn.Conv1d(channels, channels, kernel, dilation=dilation, padding=padding)
            normed: nn.Module = weight_norm(plain)
            return normed

        self.convs1 = nn.ModuleList(conv(dilation) for dilation in dilations)
        self.convs2 = nn.ModuleList(conv(1) for _ in dilations)
        self.activations1 = nn.ModuleList(Snake(channels) for _ in dilations)
        self.activations2 = nn.ModuleList(Snake(channels) for _ in dilations)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, channels, time)`` to the same shape."""
        for first, second, before, between in zip(
            self.convs1, self.convs2, self.activations1, self.activations2, strict=True
        ):
            x = x + second(between(first(before(x))))
        return x


class HiFTGenerator(nn.Module):
    """The vocoder; names and arguments follow the checkpoint's configuration."""

    def __init__(
        self,
        f0_predictor: ConvRNNF0Predictor,
        in_channels: int = 80,
        base_channels: int = 512,
        nb_harmonics: int = 8,
        sampling_rate: int = 24000,
        nsf_alpha: float = 0.1,
        nsf_sigma: float = 0.003,
        nsf_voiced_threshold: float = 10,
        upsample_rates: Sequence[int] = (8, 5, 3),
        upsample_kernel_sizes: Sequence[int] = (16, 11, 7),
        istft_params: Mapping[str, int] | None = None,
        resblock_kernel_sizes: Sequence[int] = (3, 7, 11),
        resblock_dilation_sizes: Sequence[Sequence[int]] = ((1, 3, 5),) * 3,
        source_resblock_kernel_sizes: Sequence[int] = (7, 7, 11),
        source_resblock_dilation_sizes: Sequence[Sequence[int]] = ((1, 3, 5),) * 3,
        lrelu_slope: float = 0.1,
        audio_limit: float = 0.99,
    ) -> None:
        """Make the vocoder; arguments not told apart by name are in `HarmonicSource`."""
        super().__init__()
        transform = dict(istft_params or {"n_fft": 16, "hop_len": 4})
        self.n_fft, self.stft_hop = transform["n_fft"], transform["hop_len"]
        self.sample_rate = sampling_rate
        self.hop = math.prod(upsample_rates) * self.stft_hop
        self.slope, self.limit = lrelu_slope, audio_limit
        self.kernels = len(resblock_kernel_sizes)
        self.m_source = HarmonicSource(
            sampling_rate, self.hop, nb_harmonics, nsf_alpha, nsf_sigma, nsf_voiced_threshold
        )
        self.conv_pre = weight_norm(nn.Conv1d(in_channels, base_channels, 7, padding=3))
        widths = [base_channels >> (index + 1) for index in range(len(upsample_rates))]
        self.ups = nn.ModuleList(
            weight_norm(
                nn.ConvTranspose1d(width * 2, width, kernel, rate, padding=(kernel - rate) // 2)
            )
            for width, rate, kernel in zip(
                widths, upsample_rates, upsample_kernel_sizes, strict=True
            )
        )
        self.source_downs = nn.ModuleList(
            self._source_down(width, math.prod(upsample_rates[index + 1 :]))
            for index, width in enumerate(widths)
        )
        self.source_resblocks = nn.ModuleList(
            ResBlock(width, kernel, dilations)
            for width, kernel, dilations in zip(
                widths, source_resblock_kernel_sizes, source_resblock_dilation_sizes, strict=True
            )
        )
        self.resblocks = nn.ModuleList(
            ResBlock(width, kernel, dilations)
            for width in widths
            for kernel, dilations in zip(
                resblock_kernel_sizes, resblock_dilation_sizes, strict=True
            )
        )
        self.conv_post = weight_norm(nn.Conv1d(widths[-1], self.n_fft + 2, 7, padding=3))
        self.f0_predictor = f0_predictor

    def _source_down(self, width: int, rate: int) -> nn.Conv1d:
        """Make the convolution that brings the source's spectrum to a stage's rate."""
        if rate == 1:
            return nn.Conv1d(self.n_fft + 2, width, 1)
        return nn.Conv1d(self.n_fft + 2, width, rate * 2, rate, padding=rate // 2)

    def fold_weight_norm(self) -> None:
        """Multiply the weight norms out, for inference; cannot be undone."""
        fold_weight_norm(self)

    def source(self, mel: Tensor, noise: Tensor, unvoiced: Tensor | None = None) -> Tensor:
        """Make the source signal ``(batch, 1, hop * frames)`` of mel ``(batch, bins, frames)``."""
        f0 = self.f0_predictor(mel)
        if unvoiced is not None:
            f0 = f0.masked_fill(unvoiced, 0.0)
        return self.m_source(f0, noise)  # type: ignore[no-any-return]

    def draw(self, noise: Sequence[SourceNoise], frames: int) -> Tensor:
        """Draw the source noise of a batch, ``(batch, hop * frames, harmonics)``."""
        samples, harmonics = frames * self.hop, self.m_source.harmonics
        return torch.stack([one(samples, harmonics) for one in noise])

    def spectrum(self, mel: Tensor, source: Tensor) -> Tensor:
        """Run the filter up to the last convolution, ``(batch, n_fft + 2, time)``."""
        window = torch.hann_window(self.n_fft, device=source.device, dtype=source.dtype)
        transform = torch.stft(
            source.squeeze(1), self.n_fft, self.stft_hop, window=window, return_complex=True
        )
        excitation = torch.cat([transform.real, transform.imag], dim=1)
        x = self.conv_pre(mel)
        for index, up in enumerate(self.ups):
            x = up(F.leaky_relu(x, self.slope))
            if index == len(self.ups) - 1:
                x = F.pad(x, (1, 0), mode="reflect")
            x = x + self.source_resblocks[index](self.source_downs[index](excitation))
            blocks = self.resblocks[index * self.kernels : (index + 1) * self.kernels]
            x = functools.reduce(torch.add, (block(x) for block in blocks)) / self.kernels
        return self.conv_post(F.leaky_relu(x, FINAL_SLOPE))  # type: ignore[no-any-return]

    def forward(self, mel: Tensor, source: Tensor) -> Tensor:
        """Turn mel and its source signal into a waveform.

        Args:
            mel: ``(batch, bins, frames)``.
            source: ``(batch, 1, hop * frames)``.

        Returns:
            ``(batch, hop * frames)``, within the audio limit.
        """
        out = self.spectrum(mel, source).float()
        bins = self.n_fft // 2 + 1
        magnitude = torch.exp(out[:, :bins]).clamp(max=LARGEST_MAGNITUDE)
        phase = torch.sin(out[:, bins:])
        window = torch.hann_window(self.n_fft, device=out.device)
        wave = torch.istft(
            torch.complex(magnitude * torch.cos(phase), magnitude * torch.sin(phase)),
            self.n_fft,
            self.stft_hop,
            window=window,
        )
        return wave.clamp(-self.limit, self.limit)

    @torch.inference_mode()
    def synthesize(
        self,
        mel: Tensor,
        noise: Sequence[SourceNoise],
        unvoiced: Tensor | None = None,
        prosody: Sequence[Prosody | None] | None = None,
    ) -> Tensor:
        """Turn ``(batch, bins, frames)`` into float32 ``(batch, hop * frames)``."""
        drawn = self.draw(noise, mel.shape[2]).to(mel.device)
        wave: Tensor = self(mel, self.source(mel, drawn, unvoiced))
        return wave

    def stream(self, noise: SourceNoise) -> HiFTStream:
        """Open a streaming session."""
        return HiFTStream(self, noise)


class HiFTStream:
    """Chunk by chunk synthesis: eight frames of past, the same source there, cross-faded."""

    def __init__(self, vocoder: HiFTGenerator, noise: SourceNoise) -> None:
        """Begin with nothing cached."""
        self.vocoder, self.noise = vocoder, noise
        self.overlap = CACHED_FRAMES * vocoder.hop
        self.mel: Tensor | None = None
        self.source: Tensor | None = None
        self.tail: Tensor | None = None

    @torch.inference_mode()
    def push(self, mel: Tensor, last: bool = False, unvoiced: Tensor | None = None) -> Tensor:
        """Turn the next frames ``(bins, frames)`` into samples; all but the overlap come out."""
        fresh = mel.shape[1]
        mel = mel.unsqueeze(0) if self.mel is None else torch.cat([self.mel, mel.unsqueeze(0)], 2)
        drawn = self.vocoder.draw([self.noise], mel.shape[2]).to(mel.device)
        if unvoiced is not None:  # the source of earlier frames is taken over below
            unvoiced = F.pad(unvoiced[None], (mel.shape[2] - fresh, 0))
        source = self.vocoder.source(mel, drawn, unvoiced)
        if self.source is not None:
            source[:, :, : self.source.shape[2]] = self.source
        wave: Tensor = self.vocoder(mel, source)[0]
        if self.tail is not None:
            wave = cross_fade(wave, self.tail)
        if last:
            self.mel = self.source = self.tail = None
            return wave
        self.mel = mel[:, :, -CACHED_FRAMES:].clone()
        self.source = source[:, :, -self.overlap :].clone()
        self.tail = wave[-self.overlap :].clone()
        return wave[: -self.overlap]
