"""A small network that hears phones in dual-codebook codes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stepedit_core.codes import (
    LINGUISTIC_PER_GROUP,
    LINGUISTIC_SIZE,
    SEMANTIC_PER_GROUP,
    SEMANTIC_SIZE,
)
from stepedit_core.models.decoder.convnext import ConvNeXtBlock, masked, time_mask
from stepedit_core.models.text.pronunciations import PHONES

__all__ = ["BLANK", "FRAMES_PER_GROUP", "PhoneNetwork", "phones_loss"]

BLANK = len(PHONES)
"""Class of frames in which no phone is named, as in connectionist temporal classification."""
FRAMES_PER_GROUP = 6
"""Frames of 20 ms in a group of codes: fast speech has more than one phone in 40 ms."""
_HALVES = FRAMES_PER_GROUP // SEMANTIC_PER_GROUP
_PLACES = tuple(half * LINGUISTIC_PER_GROUP // FRAMES_PER_GROUP for half in range(FRAMES_PER_GROUP))
"""The linguistic code of a group that covers each 20 ms."""


class PhoneNetwork(nn.Module):
    """ConvNeXt blocks over both streams of codes, at 25 Hz, with two frames of phones for each.

    Source: connectionist temporal classification, Graves et al. 2006, which it is trained by.
    """

    def __init__(self, width: int = 128, blocks: int = 6, kernel: int = 7) -> None:
        """Make the layers.

        Args:
            width: channels.
            blocks: how many.
            kernel: taps of their convolutions; odd.
        """
        super().__init__()
        self.linguistic = nn.Embedding(LINGUISTIC_SIZE, width)
        self.semantic = nn.Embedding(SEMANTIC_SIZE, width)
        self.joined = nn.Linear((1 + _HALVES) * width, width)
        self.blocks = nn.ModuleList(ConvNeXtBlock(width, kernel) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, _HALVES * (BLANK + 1))

    @classmethod
    def shaped_as(cls, weights: dict[str, Tensor]) -> PhoneNetwork:
        """Return a network of the sizes that weights have.

        Raises:
            KeyError: if it has other parts.
        """
        count = len({name.split(".")[1] for name in weights if name.startswith("blocks.")})
        kernel = weights["blocks.0.conv.weight"].shape[-1]
        return cls(weights["linguistic.weight"].shape[1], count, kernel)

    @property
    def reach(self) -> int:
        """Frames of 20 ms before the end of codes that further codes may still change."""
        return _HALVES * sum(block.reach for block in self.blocks)  # type: ignore[misc]

    def forward(self, linguistic: Tensor, semantic: Tensor, groups: Tensor) -> Tensor:
        """Return log probabilities of phones and blank, ``(batch, 6 * groups, 40)``.

        Args:
            linguistic: int64 ``(batch, 2 * groups)``, anything at padding.
            semantic: int64 ``(batch, 3 * groups)``, likewise.
            groups: int64 ``(batch,)``, real groups of each item.
        """
        batch, frames = semantic.shape
        mask = time_mask(SEMANTIC_PER_GROUP * groups, frames)
        places = torch.tensor(_PLACES, device=linguistic.device)
        by_group = linguistic.view(batch, -1, LINGUISTIC_PER_GROUP)[:, :, places]
        halves = self.linguistic(by_group.reshape(batch, frames, _HALVES)).flatten(2)
        x = self.joined(torch.cat([halves, self.semantic(semantic)], dim=-1))
        x = masked(x, mask)
        for block in self.blocks:
            x = block(x, mask)
        logits = self.head(self.norm(x)).view(batch, frames * _HALVES, BLANK + 1)
        heard: Tensor = logits.log_softmax(-1)
        return heard


def phones_loss(heard: Tensor, groups: Tensor, phones: Tensor, counts: Tensor) -> Tensor:
    """Return the summed negative log probability of phones (Graves et al. 2006, eq. 8), a scalar.

    Args:
        heard: as `PhoneNetwork` gives it, ``(batch, 6 * most groups, 40)``, or with more classes.
        groups: int64 ``(batch,)``, real groups of each item.
        phones: int64, of all items end to end.
        counts: int64 ``(batch,)``, phones of each item.

    Infinite where there is no room for the phones.
    """
    return F.ctc_loss(
        heard.transpose(0, 1),
        phones,
        FRAMES_PER_GROUP * groups,
        counts,
        blank=BLANK,
        reduction="sum",
    )
