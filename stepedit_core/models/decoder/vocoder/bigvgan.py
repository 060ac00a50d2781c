"""BigVGAN vocoder: upsampling convolutions with anti-aliased periodic activations.

Lee et al., "BigVGAN: A Universal Neural Vocoder with Large-Scale Training", 2023; the filters
follow Karras et al., "Alias-Free Generative Adversarial Networks", 2021.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from stepedit_core.models.decoder.prosody import Prosody
from stepedit_core.models.decoder.vocoder.folding import fold_weight_norm
from stepedit_core.models.decoder.vocoder.protocol import CACHED_FRAMES, SourceNoise, cross_fade

__all__ = ["BigVGAN", "BigVGANStream"]

CONTEXT = 3
"""Frames that the first convolution takes away on each side; the ends are reflected instead."""


class Snake(nn.Module):
    """``x + sin^2(alpha * x) / beta`` with one alpha and beta per channel.

    The plain variant uses alpha for both; on the log scale the exponentials are used.
    """

    def __init__(self, channels: int, log_scale: bool, beta: bool) -> None:
        """Make the parameters, at the value 1."""
        super().__init__()
        self.log_scale = log_scale
        self.alpha = nn.Parameter(torch.full((channels,), 0.0 if log_scale else 1.0))
        if beta:
            self.beta = nn.Parameter(self.alpha.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, channels, time)`` to the same shape."""
        alpha, beta = self.alpha[:, None], getattr(self, "beta", self.alpha)[:, None]
        if self.log_scale:
            alpha, beta = torch.exp(alpha), torch.exp(beta)
        return x + (1.0 / (beta + 1e-9)) * torch.sin(x * alpha).square()


def kaiser_sinc_filter(cutoff: float, half_width: float, taps: int) -> Tensor:
    """Design a low-pass filter.

    Args:
        cutoff: as a fraction of the sample rate.
        half_width: half of the transition band, same unit.
        taps: length, even.

    Returns:
        float32 ``(1, 1, taps)`` with unit sum.
    """
    attenuation = 2.285 * (taps // 2 - 1) * math.pi * 4 * half_width + 7.95
    if attenuation > 50.0:
        beta = 0.1102 * (attenuation - 8.7)
    elif attenuation >= 21.0:
        beta = 0.5842 * (attenuation - 21) ** 0.4 + 0.07886 * (attenuation - 21.0)
    else:
        beta = 0.0
    window = torch.kaiser_window(taps, periodic=False, beta=beta)
    time = torch.arange(-(taps // 2), taps // 2, dtype=torch.float32) + 0.5
    shaped = 2 * cutoff * window * torch.sinc(2 * cutoff * time)
    return (shaped / shaped.sum()).view(1, 1, taps)


class Upsampler(nn.Module):
    """Double the rate through a low-pass filter."""

    filter: Tensor

    def __init__(self, ratio: int, taps: int) -> None:
        """Design the filter; it is stored in checkpoints."""
        super().__init__()
        self.ratio = ratio
        self.pad = taps // ratio - 1
        self.left = self.pad * ratio + (taps - ratio) // 2
        self.right = self.pad * ratio + (taps - ratio + 1) // 2
        self.register_buffer("filter", kaiser_sinc_filter(0.5 / ratio, 0.6 / ratio, taps))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, channels, time)`` to ``(batch, channels, ratio * time)``."""
        channels = x.shape[1]
        x = F.pad(x, (self.pad, self.pad), mode="replicate")
        kernel = self.filter.expand(channels, -1, -1)
        x = self.ratio * F.conv_transpose1d(x, kernel, stride=self.ratio, groups=channels)
        return x[..., self.left : -self.right]


class LowPass(nn.Module):
    """Low-pass filter with a stride."""

    filter: Tensor

    def __init__(self, ratio: int, taps: int) -> None:
        """Design the filter; it is stored in checkpoints."""
        super().__init__()
        self.ratio = ratio
        self.pads = (taps // 2 - int(taps % 2 == 0), taps // 2)
        self.register_buffer("filter", kaiser_sinc_filter(0.5 / ratio, 0.6 / ratio, taps))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, channels, time)`` to ``(batch, channels, time / ratio)``."""
        channels = x.shape[1]
        x = F.pad(x, self.pads, mode="replicate")
        kernel = self.filter.expand(channels, -1, -1)
        return F.conv1d(x, kernel, stride=self.ratio, groups=channels)


class Downsampler(nn.Module):
    """Halve the rate; keeps the filter under the checkpoint's name."""

    def __init__(self, ratio: int, taps: int) -> None:
        """Make the filter."""
        super().__init__()
        self.lowpass = LowPass(ratio, taps)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, channels, time)`` to ``(batch, channels, time / ratio)``."""
        return self.lowpass(x)  # type: ignore[no-any-return]


class AntiAliased(nn.Module):
    """An activation at twice the rate, between two low-pass filters."""

    def __init__(self, activation: nn.Module, ratio: int = 2, taps: int = 12) -> None:
        """Wrap the activation."""
        super().__init__()
        self.act = activation
        self.upsample = Upsampler(ratio, taps)
        self.downsample = Downsampler(ratio, taps)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, channels, time)`` to the same shape."""
        return self.downsample(self.act(self.upsample(x)))  # type: ignore[no-any-return]


class AMPBlock1(nn.Module):
    """Residual pairs of a dilated and a plain convolution with anti-aliased activations."""

    def __init__(
        self, channels: int, kernel: int, dilations: Sequence[int], log_scale: bool, beta: bool
    ) -> None:
        """Make one pair per dilation."""
        super().__init__()

        def conv(dilation: int) -> nn.Module:
            padding = (kernel - 1) * dilation // 2
            plain = nn.Conv1d(channels, channels, kernel, dilation=dilation, padding=padding)
            normed: nn.Module = weight_norm(plain)
            return normed

        self.convs1 = nn.ModuleList(conv(dilation) for dilation in dilations)
        self.convs2 = nn.ModuleList(conv(1) for _ in dilations)
        self.activations = nn.ModuleList(
            AntiAliased(Snake(channels, log_scale, beta)) for _ in range(2 * len(dilations))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, channels, time)`` to the same shape."""
        for index, (first, second) in enumerate(zip(self.convs1, self.convs2, strict=True)):
            before, between = self.activations[2 * index], self.activations[2 * index + 1]
            x = x + second(between(first(before(x))))
        return x


class BigVGAN(nn.Module):
    """The vocoder; names and arguments follow the checkpoint's configuration."""

    def __init__(
        self,
        num_mels: int = 80,
        upsample_initial_channel: int = 512,
        upsample_rates: Sequence[int] = (5, 4, 3, 2, 2, 2),
        upsample_kernel_sizes: Sequence[int] = (11, 8, 7, 4, 4, 4),
        resblock: str = "1",
        resblock_kernel_sizes: Sequence[int] = (3, 7, 11),
        resblock_dilation_sizes: Sequence[Sequence[int]] = ((1, 3, 5),) * 3,
        activation: str = "snakebeta",
        snake_logscale: bool = True,
        use_bias_at_final: bool = False,
        use_tanh_at_final: bool = False,
        sampling_rate: int = 24000,
    ) -> None:
        """Make the vocoder.

        Raises:
            ValueError: if another residual block or activation is asked for.
        """
        super().__init__()
        if str(resblock) != "1":
            raise ValueError(f"resblock {resblock!r} is not supported, only '1'")
        if activation not in ("snake", "snakebeta"):
            raise ValueError(f"activation {activation!r} is not snake or snakebeta")
        snake = (snake_logscale, activation == "snakebeta")
        self.sample_rate = sampling_rate
        self.hop = math.prod(upsample_rates)
        self.kernels = len(resblock_kernel_sizes)
        self.tanh = use_tanh_at_final
        self.conv_pre = weight_norm(nn.Conv1d(num_mels, upsample_initial_channel, 2 * CONTEXT + 1))
        widths = [upsample_initial_channel >> (index + 1) for index in range(len(upsample_rates))]
        self.ups = nn.ModuleList(
            nn.ModuleList(
                [
                    weight_norm(
                        nn.ConvTranspose1d(
                            width * 2, width, kernel, rate, padding=(kernel - rate) // 2
                        )
                    )
                ]
            )
            for width, rate, kernel in zip(
                widths, upsample_rates, upsample_kernel_sizes, strict=True
            )
        )
        self.resblocks = nn.ModuleList(
            AMPBlock1(width, kernel, dilations, *snake)
            for width in widths
            for kernel, dilations in zip(
                resblock_kernel_sizes, resblock_dilation_sizes, strict=True
            )
        )
        self.activation_post = AntiAliased(Snake(widths[-1], *snake))
        self.conv_post = weight_norm(nn.Conv1d(widths[-1], 1, 7, padding=3, bias=use_bias_at_final))

    def fold_weight_norm(self) -> None:
        """Multiply the weight norms out, for inference; cannot be undone."""
        fold_weight_norm(self)

    def forward(self, mel: Tensor) -> Tensor:
        """Turn mel with its context into a waveform.

        Args:
            mel: ``(batch, bins, frames + 6)``: three more frames on each side than come out.

        Returns:
            ``(batch, hop * frames)``, within -1..1.
        """
        x = self.conv_pre(mel)
        for index, up in enumerate(self.ups):
            x = up[0](x)  # type: ignore[index]
            blocks = self.resblocks[index * self.kernels : (index + 1) * self.kernels]
            x = functools.reduce(torch.add, (block(x) for block in blocks)) / self.kernels
        x = self.conv_post(self.activation_post(x)).squeeze(1)
        return torch.tanh(x) if self.tanh else x.clamp(-1.0, 1.0)

    @torch.inference_mode()
    def synthesize(
        self,
        mel: Tensor,
        noise: Sequence[SourceNoise],
        unvoiced: Tensor | None = None,
        prosody: Sequence[Prosody | None] | None = None,
    ) -> Tensor:
        """Turn ``(batch, bins, frames)`` into float32 ``(batch, hop * frames)``.

        Nothing is drawn from ``noise``, and ``unvoiced`` has no effect: there is no excitation.
        """
        return self(F.pad(mel, (CONTEXT, CONTEXT), mode="reflect")).float()  # type: ignore[no-any-return]

    def stream(self, noise: SourceNoise) -> BigVGANStream:
        """Open a streaming session; nothing is drawn from ``noise``."""
        return BigVGANStream(self)


class BigVGANStream:
    """Chunk by chunk synthesis: eight frames of past, two of them heard twice and cross-faded."""

    def __init__(self, vocoder: BigVGAN) -> None:
        """Begin with nothing cached."""
        self.vocoder = vocoder
        self.overlap = (CACHED_FRAMES - 2 * CONTEXT) * vocoder.hop
        self.mel: Tensor | None = None
        self.tail: Tensor | None = None

    @torch.inference_mode()
    def push(self, mel: Tensor, last: bool = False, unvoiced: Tensor | None = None) -> Tensor:
        """Turn the next frames ``(bins, frames)`` into samples; all but the overlap come out."""
        mel = mel.unsqueeze(0)
        if self.mel is None:
            mel = F.pad(mel, (CONTEXT, 0), mode="reflect")
        else:
            mel = torch.cat([self.mel, mel], dim=2)
        if last:
            mel = F.pad(mel, (0, CONTEXT), mode="reflect")
        wave = self.vocoder(mel)[0]
        if self.tail is not None:
            wave = cross_fade(wave, self.tail)
        if last:
            self.mel = self.tail = None
            return wave.float()  # type: ignore[no-any-return]
        self.mel = mel[:, :, -CACHED_FRAMES:].clone()
        self.tail = wave[-self.overlap :].clone()
        return wave[: -self.overlap].float()  # type: ignore[no-any-return]
