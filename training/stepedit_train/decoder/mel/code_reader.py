"""Reads codes in mel spectrograms, so that a decoder is held to what its mels say.

The least absolute error of a mel counts a blurred consonant for little, and listeners lose the word
by it. So a small network learns from recordings which codes their mels have; the decoder's mels are
read by it, with its weights held still, and should have the recording's codes: also where the codes
that the decoder was given are wrong (a perceptual loss, Johnson et al. 2016, with feature
matching). It is trained beside the decoder and not exported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from stepedit_core.codes import LINGUISTIC_SIZE
from stepedit_core.models.decoder.convnext import ConvNeXtBlock, masked
from stepedit_core.models.decoder.reference.model import FACTOR, MEL_CENTRE, MEL_SCALE
from stepedit_train.tokenizers.semantic.model import LEVELS

__all__ = ["MelCodeReader", "Reading"]


@dataclass(frozen=True)
class Reading:
    """Losses of a step.

    Attributes:
        reader: cross entropy of the recordings' codes, for the reader's own weights.
        read: the same of the decoder's mels; no gradient reaches the reader.
        matching: distance of the reader's features of both; likewise.
    """

    reader: Tensor
    read: Tensor
    matching: Tensor


class MelCodeReader(nn.Module):
    """Mel frames to the codes of their rows.

    Args:
        width: channels.
        blocks: ConvNeXt blocks.
        bins: of the mels.
    """

    def __init__(self, width: int, blocks: int = 3, bins: int = 80) -> None:
        super().__init__()
        self.enter = nn.Conv1d(bins, width, 2 * FACTOR + 1, FACTOR, padding=FACTOR)
        self.blocks = nn.ModuleList(ConvNeXtBlock(width) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.linguistic = nn.Linear(width, LINGUISTIC_SIZE)
        self.semantic = nn.Linear(width, sum(LEVELS))

    def forward(self, mel: Tensor, mask: Tensor) -> _Read:
        """Return the features of mels and what is read in them.

        Args:
            mel: log mel, ``(batch, FACTOR * rows, bins)``.
            mask: which rows are no padding, ``(batch, rows, 1)``.
        """
        wide = mask.repeat_interleave(FACTOR, 1)
        x = masked((mel - MEL_CENTRE) / MEL_SCALE, wide).transpose(1, 2)
        x = masked(self.enter(x).transpose(1, 2), mask)
        features = []
        for block in self.blocks:
            x = block(x, mask)
            features.append(x)
        x = self.norm(x)
        return _Read([*features, x], self.linguistic(x), self.semantic(x))

    def read(self, recorded: Tensor, made: Tensor, rows: Tensor, mask: Tensor) -> Reading:
        """Return the losses of reader and decoder; shapes as of `forward`.

        Args:
            recorded: mels of recordings.
            made: mels of the decoder.
            rows: the recordings' token rows, int64 ``(batch, rows, 2)``.
            mask: which rows are no padding.
        """
        real = self(recorded, mask)
        still = {name: weight.detach() for name, weight in self.named_parameters()}
        told: _Read = functional_call(self, still, (made, mask))
        apart = [
            ((one - other.detach()).abs() * mask).sum() / (other.detach().abs() * mask).sum()
            for one, other in zip(told.features, real.features, strict=True)
        ]
        return Reading(real.error(rows, mask), told.error(rows, mask), torch.stack(apart).mean())


class _Read(NamedTuple):
    """What the reader finds in mels.

    Attributes:
        features: ``(batch, rows, width)`` of each layer.
        linguistic: scores of linguistic codes, ``(batch, rows, codes)``.
        semantic: scores of the digits of semantic codes, ``(batch, rows, levels of all)``.
    """

    features: list[Tensor]
    linguistic: Tensor
    semantic: Tensor

    def error(self, rows: Tensor, mask: Tensor) -> Tensor:
        """Return the mean cross entropy of rows' codes; pad codes are not asked."""
        inside = mask[..., 0] > 0
        linguistic, semantic = rows[..., 0], rows[..., 1] - (LINGUISTIC_SIZE + 1)
        asked = inside & (linguistic < LINGUISTIC_SIZE)
        said = F.cross_entropy(self.linguistic[asked], linguistic[asked])
        asked = inside & (semantic >= 0)
        code, errors = semantic[asked], []
        for level, scores in zip(
            LEVELS, torch.split(self.semantic[asked], list(LEVELS), -1), strict=True
        ):
            errors.append(F.cross_entropy(scores, code % level))
            code = code // level
        return said + torch.stack(errors).mean()
