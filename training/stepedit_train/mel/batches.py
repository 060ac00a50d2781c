"""Batches of the mel stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from stepedit_core.models.decoder.reference.model import FACTOR, MelBatch

__all__ = ["FloatArray", "MelTrainBatch", "Parts", "RowArray", "after_gap", "gap_of", "stack_parts"]

FloatArray = npt.NDArray[np.float32]
RowArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class MelTrainBatch(MelBatch):
    """Input, and what should come of it.

    Attributes:
        mel: wanted, float32, shape ``(batch, 2 * n, bins)``.
        step: of the training.
        plain: bool ``(batch,)``, items that are recordings and no edit of them; None: not known.
    """

    mel: Tensor = field(kw_only=True)
    step: int = 0
    plain: Tensor | None = None


@dataclass(frozen=True)
class Parts:
    """One example, not padded.

    Attributes:
        rows: target's token rows, ``(n, 2)``.
        mel: target's mel, ``(2 * n, bins)``.
        prompt: reference's token rows, ``(p, 2)``.
        prompt_mel: reference's mel, ``(2 * p, bins)``.
        voice: speaker vector.
        places: of the target's rows in the reference, ``(n,)``; NaN where not told.
        labels: of the target's rows, ``(n,)``; 0 is none.
    """

    rows: RowArray
    mel: FloatArray
    prompt: RowArray
    prompt_mel: FloatArray
    voice: FloatArray
    places: FloatArray
    labels: RowArray


def gap_of(rows: int, rng: np.random.Generator) -> RowArray:
    """Return which rows are left when whole groups, a fifth to four fifths of all, are gone."""
    groups = rows // 3
    if groups < 5:
        return np.arange(rows)
    size = int(groups * rng.uniform(0.2, 0.8))
    start = int(rng.integers(0, groups - size + 1))
    kept: RowArray = np.r_[0 : 3 * start, 3 * (start + size) : rows]
    return kept


def after_gap(
    rows: RowArray, mel: FloatArray, places: FloatArray, kept: RowArray
) -> tuple[RowArray, FloatArray, FloatArray]:
    """Return a reference of which only some rows are left, and the places that are left in it.

    Args:
        rows: of the reference, ``(p, 2)``.
        mel: of the reference, ``(2 * p, bins)``.
        places: of the target's rows in the reference, NaN where not known.
        kept: rows that are left, rising.
    """
    frames = (FACTOR * kept[:, None] + np.arange(FACTOR)).ravel()
    moved = np.full(len(rows), np.nan, dtype=np.float32)
    moved[kept] = np.arange(len(kept)) - kept
    near = np.clip(np.nan_to_num(np.round(places)), 0, len(rows) - 1).astype(np.int64)
    return rows[kept], mel[frames], places + moved[near]


def stack_parts(parts: Sequence[Parts], step: int = 0) -> MelTrainBatch:
    """Pad examples to the batch of a step."""

    def padded(arrays: Sequence[npt.NDArray[np.generic]], value: float = 0.0) -> Tensor:
        tensors = [torch.from_numpy(array) for array in arrays]
        return pad_sequence(tensors, batch_first=True, padding_value=value)

    return MelTrainBatch(
        padded([one.rows for one in parts]),
        torch.tensor([len(one.rows) for one in parts]),
        padded([one.prompt for one in parts]),
        torch.tensor([len(one.prompt) for one in parts]),
        padded([one.prompt_mel for one in parts]),
        torch.from_numpy(np.stack([one.voice for one in parts])),
        padded([one.places for one in parts], np.nan),
        padded([one.labels for one in parts]),
        step,
        mel=padded([one.mel for one in parts]),
    )
