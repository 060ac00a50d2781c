"""What looks a voice up in its reference: how codes are read, and attention without positions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stepedit_core.codes import LINGUISTIC_SIZE

__all__ = ["ReferenceAttention", "Remembered", "RowEmbedding"]


class RowEmbedding(nn.Module):
    """Token rows to vectors; a semantic code of a scalar quantiser is read as its numbers."""

    def __init__(self, width: int, levels: Sequence[int]) -> None:
        """Make the tables.

        Args:
            width: of the vectors.
            levels: levels of the quantiser's numbers, lowest place first, as in FSQ (Mentzer et
                al. 2023); their product is the size of the semantic codebook.
        """
        super().__init__()
        self.levels = tuple(levels)
        self.linguistic = nn.Embedding(LINGUISTIC_SIZE + 1, width)
        self.places = nn.ModuleList(nn.Embedding(count, width) for count in levels)
        self.numbers = nn.Linear(len(levels), width)

    def forward(self, rows: Tensor) -> Tensor:
        """Embed int64 ``(batch, n, 2)`` to ``(batch, n, width)``."""
        x: Tensor = self.linguistic(rows[..., 0])
        # Rows count semantic codes from LINGUISTIC_SIZE + 1; padding (0) is masked later.
        rest = (rows[..., 1] - LINGUISTIC_SIZE - 1).clamp(min=0)
        numbers = []
        for count, table in zip(self.levels, self.places, strict=True):
            digit, rest = rest % count, rest // count
            x = x + table(digit)
            numbers.append(digit.to(x.dtype) * (2 / (count - 1)) - 1)
        out: Tensor = x + self.numbers(torch.stack(numbers, dim=-1))
        return out


@dataclass(frozen=True)
class Remembered:
    """What an attention keeps of a reference.

    Attributes:
        keys: unit vectors, ``(batch, heads, r, size)``.
        offered: the keys, and that of finding nothing, ``(batch, heads, r + 1, size)``.
        values: of what is offered, ``(batch, heads, r + 1, values / heads)``.
        allowed: what is no padding, bool ``(batch, 1, 1, r + 1)``; None: all.
    """

    keys: Tensor
    offered: Tensor
    values: Tensor
    allowed: Tensor | None


class ReferenceAttention(nn.Module):
    """Attention from target frames to reference frames, without positions.

    A learned frame that is always there is what a query takes that finds nothing.
    """

    def __init__(self, width: int, heads: int, values: int) -> None:
        """Make the projections.

        Args:
            width: of queries and keys.
            heads: number of heads.
            values: width of the values, split over the heads.
        """
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        # Not zeros: normalising them has no finite gradient.
        self.nothing = nn.Parameter(torch.randn(1, heads, 1, width // heads))
        self.sharpness = nn.Parameter(torch.full((1, heads, 1, 1), 10.0))
        self.nothing_value = nn.Parameter(torch.zeros(1, heads, 1, values // heads))

    def _split(self, x: Tensor) -> Tensor:
        batch, frames, width = x.shape
        return x.reshape(batch, frames, self.heads, width // self.heads).transpose(1, 2)

    def remember(self, keys: Tensor, values: Tensor, mask: Tensor | None) -> Remembered:
        """Return what is kept of a reference.

        Args:
            keys: ``(batch, r, width)``.
            values: ``(batch, r, values)``.
            mask: of the reference, `time_mask`; None where nothing is padded.
        """
        batch = len(keys)
        # Cosine similarity: what counts is what is said, not how loudly the features say it.
        k = F.normalize(self._split(self.key(keys)), dim=-1)
        nothing = F.normalize(self.nothing, dim=-1).expand(batch, -1, -1, -1)
        worth = self.nothing_value.expand(batch, -1, -1, -1)
        allowed = None
        if mask is not None:
            allowed = F.pad(mask[:, None, None, :, 0] > 0, (0, 1), value=True)
        return Remembered(
            k, torch.cat([k, nothing], dim=2), torch.cat([self._split(values), worth], 2), allowed
        )

    def _queries(self, x: Tensor) -> Tensor:
        return F.normalize(self._split(self.query(x)), dim=-1)

    def likeness(self, x: Tensor, known: Remembered) -> Tensor:
        """Return how alike frames and keys are, the heads' mean cosine, ``(batch, frames, r)``."""
        return (self._queries(x) @ known.keys.transpose(-1, -2)).mean(1)

    def forward(self, x: Tensor, known: Remembered, bias: Tensor | None = None) -> Tensor:
        """Return what each target frame finds, ``(batch, frames, values)``.

        Args:
            x: ``(batch, frames, width)``.
            known: the reference.
            bias: added to the scores, ``(batch, heads, frames, r)``; None: nothing.
        """
        q = self._queries(x) * self.sharpness
        allowed = known.allowed
        if bias is not None:
            bias = F.pad(bias, (0, 1))  # finding nothing is no further away than before
            allowed = bias if allowed is None else bias.masked_fill(~allowed, -torch.inf)
        found = F.scaled_dot_product_attention(
            q, known.offered, known.values, attn_mask=allowed, scale=1.0
        )
        return found.transpose(1, 2).flatten(2)
