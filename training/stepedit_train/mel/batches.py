"""Batches of the mel stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from stepedit_core.models.flow.referenced import FACTOR, MelBatch

__all__ = ["MelTrainBatch", "Parts", "stack_parts", "with_gap"]


@dataclass(frozen=True)
class MelTrainBatch(MelBatch):
    """Input, and what should come of it.

    Attributes:
        mel: wanted, float32, shape ``(batch, 2 * n, bins)``.
        step: of the training.
    """

    mel: Tensor
    step: int = 0


@dataclass(frozen=True)
class Parts:
    """One example, not padded.

    Attributes:
        rows: target's token rows, ``(n, 2)``.
        mel: target's mel, ``(2 * n, bins)``.
        prompt: reference's token rows, ``(p, 2)``.
        prompt_mel: reference's mel, ``(2 * p, bins)``.
        voice: speaker vector.
    """

    rows: npt.NDArray[np.int64]
    mel: npt.NDArray[np.float32]
    prompt: npt.NDArray[np.int64]
    prompt_mel: npt.NDArray[np.float32]
    voice: npt.NDArray[np.float32]


def with_gap(
    rows: npt.NDArray[np.int64], mel: npt.NDArray[np.float32], rng: np.random.Generator
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Take a stretch of whole groups away, from a fifth to four fifths of all."""
    groups = len(rows) // 3
    if groups < 5:
        return rows, mel
    size = int(groups * rng.uniform(0.2, 0.8))
    start = int(rng.integers(0, groups - size + 1))
    kept = np.r_[0 : 3 * start, 3 * (start + size) : len(rows)]
    frames = (FACTOR * kept[:, None] + np.arange(FACTOR)).ravel()
    return rows[kept], mel[frames]


def stack_parts(parts: Sequence[Parts], step: int = 0) -> MelTrainBatch:
    """Pad examples to the batch of a step."""

    def padded(arrays: Sequence[npt.NDArray[np.generic]]) -> Tensor:
        return pad_sequence([torch.from_numpy(array) for array in arrays], batch_first=True)

    return MelTrainBatch(
        padded([one.rows for one in parts]),
        torch.tensor([len(one.rows) for one in parts]),
        padded([one.prompt for one in parts]),
        torch.tensor([len(one.prompt) for one in parts]),
        padded([one.prompt_mel for one in parts]),
        torch.from_numpy(np.stack([one.voice for one in parts])),
        padded([one.mel for one in parts]),
        step,
    )
