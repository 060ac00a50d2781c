"""Read a prompt once for all answers to it, gradients included.

Keys and values of a prompt depend on nothing that follows it. The answers of a group read them as
if they had read the prompt themselves, and their gradients add up in it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from stepedit_train.rl.layout import AnswerRow

__all__ = ["PromptKeys", "shared_length"]


class PromptKeys:
    """Keys and values of a prompt that is read in one row, for many rows after it.

    It takes the place of a cache of transformers, without a copy for each row in between.
    """

    def __init__(self) -> None:
        self._kept: list[tuple[Tensor, Tensor]] = []
        self._is_read = False

    def finish(self) -> None:
        """Say that the prompt is read: what comes now are answers, which are not kept."""
        self._is_read = True

    def get_seq_length(self) -> int:
        """Return the number of slots before what is read now."""
        return self._kept[0][0].shape[2] if self._is_read else 0

    def update(self, key: Tensor, value: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """Return the keys and values to attend to, ``(rows, groups, slots, head_dim)``.

        Args:
            key: of what is read now.
            value: the same.
            layer: its number; they come in order.
        """
        if not self._is_read:
            self._kept.append((key, value))
            return key, value
        before = (one.expand(len(key), -1, -1, -1) for one in self._kept[layer])
        joined = [torch.cat(pair, dim=2) for pair in zip(before, (key, value), strict=True)]
        return joined[0], joined[1]


def shared_length(rows: Sequence[AnswerRow]) -> int:
    """Return how many first ids all rows have in common and need be read once; 0 for none.

    The last id of a prompt is read with its answer, whose first decision it makes.
    """
    first = rows[0]
    if len(rows) < 2 or len(first.prompt) < 2:
        return 0
    same = all(
        one.prompt == first.prompt
        and one.against == first.against
        and one.alignment == first.alignment
        for one in rows[1:]
    )
    return len(first.prompt) - 1 if same else 0
