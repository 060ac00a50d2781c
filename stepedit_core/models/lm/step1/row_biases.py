"""What the position biases of rows are made of, where batches are joined."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["RowBiases", "shifted"]

_SLOTS = 3
"""Columns of a record that are slots: the span's start and stop, and the answer's start."""


@dataclass(frozen=True)
class RowBiases:
    """Numbers of each different bias, and which one each row has.

    Attributes:
        which: int64 ``(rows,)``.
        records: float32 ``(biases, columns)`` of ``alignment_tensor``; None for models without.
        pads: int64 ``(biases,)``, slots of padding before the prompt.
        gaps: int64 ``(biases,)``, slots after the prompt that are not read: others' answers took
            them before the row joined.
    """

    which: Tensor
    records: Tensor | None
    pads: Tensor
    gaps: Tensor

    @classmethod
    def of(
        cls, which: Tensor, records: Tensor | None, valid: Tensor | None, gaps: Tensor | None
    ) -> RowBiases:
        """Take those that rows have.

        Args:
            which: the bias of each row.
            records: of all biases; one alone where biases are equal.
            valid: bool ``(biases, slots)`` of the prompts, False at padding; None: there is none.
            gaps: of all biases; None: there are none.
        """
        used, which = torch.unique(which, return_inverse=True)
        none = torch.zeros_like(used)
        return cls(
            which,
            None if records is None else records[used],
            none if valid is None else (~valid[used]).sum(dim=1),
            none if gaps is None else gaps[used],
        )

    def moved(self, slots: int, late: int) -> RowBiases:
        """Return them with so many more slots before each prompt, and after it."""
        records = shifted(self.records, slots)
        return replace(self, records=records, pads=self.pads + slots, gaps=self.gaps + late)

    def joined(self, other: RowBiases, order: Tensor) -> RowBiases:
        """Return those of both.

        Args:
            other: of the rows that join.
            order: int64 ``(rows,)``, the rows of both, numbered on through the other's.
        """
        records = None
        if self.records is not None and other.records is not None:
            width = max(self.records.shape[1], other.records.shape[1])
            both = (F.pad(one, (0, width - one.shape[1])) for one in (self.records, other.records))
            records = torch.cat(list(both))
        return RowBiases(
            torch.cat([self.which, other.which + len(self.pads)])[order],
            records,
            torch.cat([self.pads, other.pads]),
            torch.cat([self.gaps, other.gaps]),
        )


def shifted(records: Tensor | None, slots: int | Tensor) -> Tensor | None:
    """Return records of prompts that begin so many slots later, a number or ``(batch, 1)``."""
    if records is None:
        return None
    return torch.cat([records[:, :_SLOTS] + slots, records[:, _SLOTS:]], dim=1)
