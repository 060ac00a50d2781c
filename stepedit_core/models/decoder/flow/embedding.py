"""Token rows: from mixed token indices to time steps, and their shared embedding."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stepedit_core.codes import GROUP_SIZE, LINGUISTIC_PER_GROUP, LINGUISTIC_SIZE, SEMANTIC_SIZE
from stepedit_core.errors import EngineError
from stepedit_core.models.tokenizer.features import MEL_FLOOR

__all__ = ["PAD_ROW", "DualCodebookEmbedding", "align_mel", "pad_mel", "token_rows"]

PAD_ROW = LINGUISTIC_SIZE
"""Row of the embedding that stands for "no linguistic code at this time step"."""

_TAIL = (0, 0, 0, 1024, 1024, 1024)
_INDICES = LINGUISTIC_SIZE + SEMANTIC_SIZE


def token_rows(tokens: Sequence[int] | npt.NDArray[np.int64]) -> Tensor:
    """Lay a mixed token stream out in time: one row pair per 40 ms step.

    A group ``(a, b, c, d, e)`` becomes the steps ``(a, c+1), (b, d+1), (1024, e+1)``: semantic
    indices already carry their offset of 1024 and make room for the pad row. An incomplete last
    group is filled the way the public decoder fills it (from the end of
    ``[0, 0, 0, 1024, 1024, 1024]``); the 2:3 phase is not checked.

    Args:
        tokens: token indices 0..5119, the ``N`` of ``<audio_N>``.

    Returns:
        int64, shape ``(3 * groups, 2)``.

    Raises:
        EngineError: if an index is outside 0..5119.
    """
    flat = np.array(tokens, dtype=np.int64).reshape(-1)
    if flat.size and (flat.min() < 0 or flat.max() >= _INDICES):
        bad = int(flat[(flat < 0) | (flat >= _INDICES)][0])
        raise EngineError(
            f"decoder: audio token {bad} is outside 0..{_INDICES - 1}; pass the N of <audio_N>"
        )
    missing = -len(flat) % GROUP_SIZE
    groups = np.append(flat, _TAIL[len(_TAIL) - missing :]).reshape(-1, GROUP_SIZE)
    pad = np.full((len(groups), 1), PAD_ROW)
    linguistic = np.concatenate([groups[:, :LINGUISTIC_PER_GROUP], pad], axis=1)
    semantic = groups[:, LINGUISTIC_PER_GROUP:] + 1
    return torch.from_numpy(np.stack([linguistic.reshape(-1), semantic.reshape(-1)], axis=1)).long()


def align_mel(mel: Tensor, frames: int) -> Tensor:
    """Resize a mel spectrogram in time to a number of frames, by nearest neighbour.

    Args:
        mel: float, shape ``(t, bins)``.
        frames: wanted length.

    Returns:
        Same dtype, shape ``(frames, bins)``.
    """
    if frames == 0 or len(mel) == 0:
        return mel.new_zeros(frames, mel.shape[1])
    return F.interpolate(mel.t().unsqueeze(0), size=frames, mode="nearest").squeeze(0).t()


def pad_mel(mel: Tensor, frames: int) -> Tensor:
    """Cut a mel spectrogram, or lengthen it by silence, to a number of frames.

    For decoders that look the reference up: resizing would move its sounds off their tokens.

    Args:
        mel: natural-log values, float, shape ``(t, bins)``.
        frames: wanted length.

    Returns:
        Same dtype, shape ``(frames, bins)``.
    """
    missing = max(0, frames - len(mel))
    return F.pad(mel[:frames], (0, 0, 0, missing), value=math.log(MEL_FLOOR))


class DualCodebookEmbedding(nn.Module):
    """One embedding table for both codebooks; the two rows of a step are concatenated."""

    def __init__(self, vocab_size: int, input_size: int) -> None:
        """Make the table.

        Args:
            vocab_size: rows: 1024 linguistic, 1 pad, 4096 semantic.
            input_size: width of a step, twice the width of a row.

        Raises:
            ValueError: if ``input_size`` is odd.
        """
        super().__init__()
        if input_size % 2:
            raise ValueError(f"input_size must be even, not {input_size}")
        self.embedding = nn.Embedding(vocab_size, input_size // 2)

    def forward(self, rows: Tensor) -> Tensor:
        """Embed steps: int64 ``(batch, time, 2)`` to float ``(batch, time, input_size)``."""
        return self.embedding(rows).flatten(2)  # type: ignore[no-any-return]
