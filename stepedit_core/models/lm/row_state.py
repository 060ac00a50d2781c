"""What a generation keeps of each row of its batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stepedit_core.models.lm.sampling import Sampling, noise_keys

__all__ = ["RowState"]


@dataclass
class RowState:
    """Tensors whose first axis is the rows.

    Columns of ``keys`` and ``out`` are steps of the generation; a row that joined late has nothing
    in those before it.

    Attributes:
        items: int64 ``(rows,)``, the number of the item that each row is.
        recent: int64 ``(rows, window)``, the last ids, for the repetition rule.
        keys: int64 ``(rows, steps)``, noise keys; ``(rows, 1)`` where nothing is drawn.
        token: int64 ``(rows, 1)``, the id that is read next.
        out: int64 ``(rows, steps)``, the ids given so far; -1 is none.
        limits: int64 ``(rows,)``, the step at which a row is cut.
        done: bool ``(rows,)``.
        cut: bool ``(rows,)``, ended by its limit.
        begun: int64 ``(rows,)``, the step at which a row began.
    """

    items: Tensor
    recent: Tensor
    keys: Tensor
    token: Tensor
    out: Tensor
    limits: Tensor
    done: Tensor
    cut: Tensor
    begun: Tensor

    @classmethod
    @torch.inference_mode()
    def before_all(
        cls,
        rows: Sequence[list[int]],
        seeds: Sequence[int],
        allowed: Sequence[int],
        sampling: Sampling,
        device: torch.device,
    ) -> RowState:
        """Return the state before the first step.

        Args:
            rows: ids of the prompts.
            seeds: of each row.
            allowed: how many ids each row may have.
            sampling: the rules.
            device: where tensors are to be.
        """
        size, steps, window = len(rows), max(allowed), max(1, sampling.repetition_window)
        recent = [([-1] * window + row)[-window:] for row in rows]
        is_greedy = sampling.greedy
        keys = torch.zeros(size, 1, dtype=torch.int64) if is_greedy else noise_keys(seeds, steps)
        limits = torch.tensor(allowed, dtype=torch.int64, device=device)
        return cls(
            items=torch.arange(size, device=device),
            recent=torch.tensor(recent, dtype=torch.int64, device=device),
            keys=keys.to(device),
            token=torch.zeros(size, 1, dtype=torch.int64, device=device),
            out=torch.full((size, steps), -1, dtype=torch.int64, device=device),
            limits=limits,
            done=limits <= 0,
            cut=torch.zeros(size, dtype=torch.bool, device=device),
            begun=torch.zeros(size, dtype=torch.int64, device=device),
        )

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.done.shape[0]

    def count_done(self) -> int:
        """Return the number of rows that are done; asks the device."""
        if self.done.device.type == "cpu":  # at every step, and torch's call costs more
            return int(np.count_nonzero(self.done.numpy()))
        return int(self.done.sum())

    def select(self, rows: Tensor) -> RowState:
        """Return the state of some rows, int64 ``(kept,)``."""
        return RowState(*(getattr(self, field.name)[rows] for field in fields(self)))

    def join(self, other: RowState, late: int, first: int) -> RowState:
        """Return the state of both, the other's rows last.

        Args:
            other: rows that begin ``late`` steps after these.
            late: steps.
            first: number of the other's first item.
        """
        both = []
        for field in fields(self):
            mine, its = getattr(self, field.name), getattr(other, field.name)
            if field.name in ("keys", "out") and mine.shape[1] > 1:
                value = -1 if field.name == "out" else 0
                steps = max(mine.shape[1], late + its.shape[1])
                mine = F.pad(mine, (0, steps - mine.shape[1]), value=value)
                its = F.pad(its, (late, steps - late - its.shape[1]), value=value)
            both.append(torch.cat([mine, its + _moved(field.name, late, first)]))
        return RowState(*both)

    def without_first(self, steps: int) -> RowState:
        """Return the state without the first steps, which no row had a part in."""
        return replace(
            self,
            keys=self.keys[:, steps:] if self.keys.shape[1] > 1 else self.keys,
            out=self.out[:, steps:],
            limits=self.limits - steps,
            begun=self.begun - steps,
        )


def _moved(name: str, late: int, first: int) -> int:
    """Return what numbers of a joining state are raised by."""
    return {"items": first, "limits": late, "begun": late}.get(name, 0)
