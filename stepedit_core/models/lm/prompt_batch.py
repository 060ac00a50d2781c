"""Lay prompts out as one batch: each once, padded on the left."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from stepedit_core.models.lm.step1.alignment import Alignment, alignment_tensor
from stepedit_core.models.lm.step1.decoding import PromptBatch

__all__ = ["batch_of_prompts"]


def batch_of_prompts(
    rows: Sequence[Sequence[int]],
    alignments: Sequence[Alignment | None] | None,
    pad: int,
    device: torch.device,
) -> PromptBatch:
    """Return each prompt once, and which one each row has.

    Args:
        rows: ids of each row.
        alignments: of the rows, in turn where there are fewer; None: the model has no rule.
        pad: id of padding.
        device: where tensors are to be.
    """
    known: dict[tuple[tuple[int, ...], Alignment | None], int] = {}
    owners = [
        known.setdefault((tuple(row), None if alignments is None
                          else alignments[place % len(alignments)]), len(known))
        for place, row in enumerate(rows)
    ]  # fmt: skip
    longest = max(map(len, rows))
    padding = [longest - len(row) for row, _ in known]
    ids = torch.tensor([[pad] * n + [*row] for n, (row, _) in zip(padding, known, strict=True)])
    records = valid = owner = None
    if alignments is not None:
        records = alignment_tensor([one for _, one in known], padding).to(device)
    if any(padding):
        valid = torch.arange(longest)[None] >= torch.tensor(padding)[:, None]
        valid = valid.to(device)
    if len(known) < len(rows):
        owner = torch.tensor(owners, device=device)
    return PromptBatch(ids.to(device), valid, records, owner)
