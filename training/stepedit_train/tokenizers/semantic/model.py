"""Encoder of the semantic tokenizer, and the decoder that teaches it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from stepedit_core.codes import SEMANTIC_SIZE
from stepedit_core.models.decoder.convnext import ConvNeXtBlock
from stepedit_train.settings import Settings

__all__ = [
    "MEL_PER_CODE",
    "FiniteScalarQuantiser",
    "Predicted",
    "SemanticEncoder",
    "SemanticSizes",
    "TaughtSemantic",
]

LEVELS = (8, 8, 8, 8)
MEL_PER_CODE = 4
"""10 ms mel frames in one code of 40 ms."""
PHONES_PER_CODE = 2

MARGIN = 1e-3


class SemanticSizes(Settings):
    """Sizes of encoder and teaching decoder."""

    bins: int = Field(default=128, ge=16)
    """Mel bands."""
    width: int = Field(default=192, ge=8)
    """Channels."""
    blocks: int = Field(default=4, ge=1)
    """Blocks of the encoder."""
    decoder_blocks: int = Field(default=2, ge=1)
    """Blocks of the teaching decoder."""
    kernel: int = Field(default=7, ge=3)
    """Taps of a block's convolution; odd."""


class Block(ConvNeXtBlock):
    """A ConvNeXt block with channels first, ``(b, width, t)``, as convolutions read them."""

    def forward(
        self, x: Tensor, mask: Tensor | None = None, condition: Tensor | None = None
    ) -> Tensor:
        """Map shape ``(b, width, t)`` to the same; arguments as of the base, frames first."""
        return super().forward(x.transpose(1, 2), mask, condition).transpose(1, 2)


class SemanticEncoder(nn.Module):
    """Log-mel spectrogram to 25 codes per second.

    Args:
        sizes: of the network.
    """

    def __init__(self, sizes: SemanticSizes) -> None:
        super().__init__()
        width = sizes.width
        self.stem = nn.ModuleList(
            [
                nn.Conv1d(sizes.bins, width, 3, padding=1),
                nn.Conv1d(width, width, 3, stride=2, padding=1),
                nn.Conv1d(width, width, 3, stride=2, padding=1),
            ]
        )
        self.blocks = nn.ModuleList(Block(width, sizes.kernel) for _ in range(sizes.blocks))
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, len(LEVELS))
        # Without it the early steps push every frame into one code: what is common to all
        # frames is learned first, and saturates the rounding.
        self.centre = nn.BatchNorm1d(len(LEVELS), affine=False)
        self.quantiser = FiniteScalarQuantiser(LEVELS)
        for conv in self.stem:
            # With torch's default, biases outweigh the signal after three layers, and every frame
            # begins with the same code.
            assert isinstance(conv, nn.Conv1d) and conv.bias is not None
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            nn.init.zeros_(conv.bias)

    def hidden(self, mel: Tensor) -> Tensor:
        """Return values before quantisation, ``(b, t / 4, 4)``, of mels ``(b, bins, t)``."""
        x = mel
        for conv in self.stem:
            x = F.gelu(conv(x))
        for block in self.blocks:
            x = block(x)
        projected = self.project(self.norm(x.transpose(1, 2)))
        out: Tensor = self.centre(projected.transpose(1, 2)).transpose(1, 2)
        return out

    def forward(self, mel: Tensor, lengths: Tensor) -> Tensor:
        """Return codes, int64, shape ``(b, ceil(t / 4))``: the exported graph.

        Args:
            mel: float32, shape ``(b, bins, t)``.
            lengths: int32, shape ``(b,)``: frames of each; later ones count as silence.
        """
        inside = torch.arange(mel.shape[2], device=mel.device) < lengths[:, None]
        return self.quantiser.codes(self.hidden(mel * inside[:, None]))


@dataclass(frozen=True)
class Predicted:
    """Predictions of the auxiliary decoder for every code.

    Attributes:
        mel: shape ``(b, n, 4 * bins)``.
        phones: logits, shape ``(b, n, 2, phones)``.
        pitch: octaves above 160 Hz, shape ``(b, n)``.
        voiced: logits, shape ``(b, n, 4)``.
        level: shape ``(b, n, 4)``, in units of 20 dB.
    """

    mel: Tensor
    phones: Tensor
    pitch: Tensor
    voiced: Tensor
    level: Tensor


class TaughtSemantic(nn.Module):
    """Encoder, and a decoder that must tell sound, phones and prosody from the codes alone.

    The decoder is given each recording's mean and deviation per mel band, so that codes need not
    spend themselves on voice and channel.

    Args:
        sizes: of both.
        phones: classes of the phone labels.
    """

    def __init__(self, sizes: SemanticSizes, phones: int) -> None:
        super().__init__()
        self.sizes = sizes
        self.phones = phones
        self.encoder = SemanticEncoder(sizes)
        assert self.encoder.quantiser.size == SEMANTIC_SIZE
        width = sizes.width
        self.enter = nn.Linear(len(LEVELS), width)
        self.voice = nn.Linear(2 * sizes.bins, width)
        self.blocks = nn.ModuleList(Block(width, sizes.kernel) for _ in range(sizes.decoder_blocks))
        self.norm = nn.LayerNorm(width)
        self._parts = (MEL_PER_CODE * sizes.bins, PHONES_PER_CODE * phones, 1, 4, 4)
        self.heads = nn.Linear(width, sum(self._parts))

    def forward(self, mel: Tensor) -> Predicted:
        """Encode, quantise and decode mels, shape ``(b, bins, t)`` with ``t`` a multiple of 4."""
        quantised = self.encoder.quantiser(self.encoder.hidden(mel))
        voice = torch.cat([mel.mean(2), mel.std(2)], dim=1)
        x = (self.enter(quantised) + self.voice(voice)[:, None]).transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        out = self.heads(self.norm(x.transpose(1, 2)))
        sound, phones, pitch, voiced, level = out.split(self._parts, dim=-1)
        phones = phones.reshape(*phones.shape[:2], PHONES_PER_CODE, self.phones)
        return Predicted(sound, phones, pitch[..., 0], voiced, level)


class FiniteScalarQuantiser(nn.Module):
    """Round every number of a vector to one of its levels, with straight-through gradients.

    Args:
        levels: levels of each number; the codes are their product.
    """

    steps: Tensor
    reach: Tensor
    offset: Tensor
    shift: Tensor
    zero: Tensor

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__()
        counts = torch.tensor(levels, dtype=torch.float32)
        reach = (counts - 1) * (1 + MARGIN) / 2
        offset = torch.where(counts % 2 == 0, 0.5, 0.0)
        steps = [math.prod(levels[:place]) for place in range(len(levels))]
        self.size = math.prod(levels)
        self.register_buffer("reach", reach, persistent=False)
        self.register_buffer("offset", offset, persistent=False)
        self.register_buffer("shift", torch.atanh(offset / reach), persistent=False)
        self.register_buffer("zero", torch.floor(counts / 2), persistent=False)
        self.register_buffer("steps", torch.tensor(steps), persistent=False)

    def _rounded(self, x: Tensor) -> Tensor:
        bounded = torch.tanh(x + self.shift) * self.reach - self.offset
        return bounded + (bounded.round() - bounded).detach()

    def forward(self, x: Tensor) -> Tensor:
        """Return the quantised vectors, about -1 to 1, of the same shape ``(..., n)``."""
        return self._rounded(x) / self.zero

    def codes(self, x: Tensor) -> Tensor:
        """Return the codes, int64, shape ``(...)``."""
        places = (self._rounded(x) + self.zero).round().long()
        return (places * self.steps).sum(-1)
