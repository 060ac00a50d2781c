"""Where rows that share prompts stand, so that one product serves those of a prompt."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

__all__ = ["Places"]

_LEAST_OWN = 100
"""Slots that rows are taken to have of their own, at least, when places are chosen."""


@dataclass(frozen=True)
class Places:
    """Rows laid out as ``(blocks, most rows of one)``; each block goes on from one prompt.

    A prompt of more rows than ``most`` has several blocks. Places that no row takes repeat one.

    Attributes:
        blocks: how many there are.
        most: places of a block.
        prompts: int64 ``(blocks,)``, the prompt of each block; None: one after another.
        rows: int64 ``(blocks * most,)``, the row in each place; None: one after another.
        place: int64 ``(rows,)``, where each row stands; None likewise.
    """

    blocks: int
    most: int
    prompts: Tensor | None
    rows: Tensor | None
    place: Tensor | None

    @classmethod
    def of(cls, owners: Tensor, length: int, own: int) -> Places:
        """Choose places so that little is read.

        Args:
            owners: int64 ``(rows,)``, the prompt of each row.
            length: slots of the prompts.
            own: slots that rows have of their own.
        """
        counts = torch.bincount(owners)
        most = _fewest_reads(counts, length, max(own, _LEAST_OWN))
        of_prompt = -(-counts // most)
        blocks = int(of_prompt.sum())
        prompts = torch.arange(len(counts), device=owners.device).repeat_interleave(of_prompt)
        order = torch.argsort(owners, stable=True)
        number = torch.arange(len(owners), device=owners.device)
        within = number - (counts.cumsum(0) - counts)[owners[order]]
        place = torch.empty_like(owners)
        place[order] = (of_prompt.cumsum(0) - of_prompt)[owners[order]] * most + within
        first = order[(counts.cumsum(0) - counts).clamp(max=len(owners) - 1)]
        rows = first[prompts].repeat_interleave(most)
        rows[place] = number
        is_one_each = blocks == len(counts) and int(counts.min()) > 0
        is_plain = len(rows) == len(owners) and bool((rows == number).all())
        return cls(
            blocks,
            most,
            None if is_one_each else prompts,
            None if is_plain else rows,
            None if is_plain else place,
        )

    def renumbered(self, kept: Tensor) -> Places:
        """Return the same places where only some prompts are left, int64 ``(kept,)``, ascending."""
        if self.prompts is None:
            return self
        prompts = torch.searchsorted(kept, self.prompts)
        is_one_each = len(prompts) == len(kept)
        return replace(self, prompts=None if is_one_each else prompts)

    def by_prompt(self, x: Tensor) -> Tensor:
        """Bring ``(prompts, ...)`` to ``(blocks, ...)``."""
        return x if self.prompts is None else x[self.prompts]

    def take(self, x: Tensor) -> Tensor:
        """Bring ``(rows, groups, n, size)`` to ``(blocks, groups, most, n, size)``."""
        x = x if self.rows is None else x[self.rows]
        return x.view(self.blocks, self.most, *x.shape[1:]).transpose(1, 2)

    def give(self, x: Tensor) -> Tensor:
        """Bring ``(blocks, groups, most, n, size)`` back to ``(rows, groups, n, size)``."""
        x = x.transpose(1, 2).flatten(0, 1)
        return x if self.place is None else x[self.place]


def _fewest_reads(counts: Tensor, length: int, own: int) -> int:
    """Return how many places a block should have.

    Every block reads its prompt, and every place its own slots, taken or not.
    """
    each: list[int] = counts.tolist()

    def slots(most: int) -> int:
        return sum(-(-count // most) for count in each) * (length + most * own)

    return min(range(1, max(each) + 1), key=slots)
