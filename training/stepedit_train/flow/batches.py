"""Batches of the flow stage: reference and target as one sequence, and what is drawn for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from stepedit_core.models.decoder.flow.matching import cosine_times
from stepedit_train.mel.batches import Parts

__all__ = ["FlowBatch", "draw_batch"]


@dataclass(frozen=True)
class FlowBatch:
    """Examples laid out as `CausalMaskedDiffWithXvec.generate` does it, padded on the right.

    Attributes:
        rows: token rows of reference and target, int64 ``(batch, rows, 2)``.
        lengths: rows of each, int64 ``(batch,)``.
        prompt_frames: mel frames of each reference, int64 ``(batch,)``.
        mel: of reference and target, natural log, float32 ``(batch, bins, 2 * rows)``.
        voices: speaker vectors, float32 ``(batch, size)``.
        noise: standard normal, float32, shape of ``mel``.
        times: of the solver, 0 to 1, float32 ``(batch,)``.
        kept: whether an example has its conditions, bool ``(batch,)``.
    """

    rows: Tensor
    lengths: Tensor
    prompt_frames: Tensor
    mel: Tensor
    voices: Tensor
    noise: Tensor
    times: Tensor
    kept: Tensor


def draw_batch(parts: Sequence[Parts], generator: torch.Generator, drop: float) -> FlowBatch:
    """Lay examples out and draw the rest.

    Times are as dense as the solver's steps: uniform, then through its cosine.

    Args:
        parts: examples.
        generator: on the CPU, so that every device sees the same.
        drop: share of the examples that go without conditions.
    """
    rows = [torch.from_numpy(np.concatenate([one.prompt, one.rows])) for one in parts]
    mels = [torch.from_numpy(np.concatenate([one.prompt_mel, one.mel])) for one in parts]
    mel = pad_sequence(mels, batch_first=True).transpose(1, 2)
    times = cosine_times(torch.rand(len(parts), generator=generator))
    kept = torch.rand(len(parts), generator=generator) >= drop
    return FlowBatch(
        pad_sequence(rows, batch_first=True),
        torch.tensor([len(one) for one in rows]),
        torch.tensor([len(one.prompt_mel) for one in parts]),
        mel,
        torch.from_numpy(np.stack([one.voice for one in parts])),
        torch.randn(mel.shape, generator=generator),
        times,
        kept,
    )
