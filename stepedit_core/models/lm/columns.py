"""Which columns of the logits a step needs: those of one codebook, and the end of turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stepedit_core.codes import GROUP_SIZE, LINGUISTIC_PER_GROUP, LINGUISTIC_SIZE
from stepedit_core.models.lm.constraints import CODE_COUNT, Free, Plan
from stepedit_core.models.lm.step1.heads import (
    Head,
    PartHeads,
    audio_head,
    columns_of,
    full_head,
)
from stepedit_core.models.lm.step1.network import CausalLM

__all__ = ["Columns", "Part"]


@dataclass(frozen=True)
class Part:
    """Columns of one step.

    Attributes:
        first: audio token of the first column.
        count: audio tokens.
        with_end: the end of turn follows as the last column.
        tokens: int64 ``(columns,)``, the token of each; ``CODE_COUNT`` is the end of turn.
    """

    first: int
    count: int
    with_end: bool
    tokens: Tensor


class Columns:
    """The columns of each step, and the heads that give them.

    Constrained items speak in whole groups, one token a step and from the first step on, so all of
    a batch stand at the same place of a group.
    """

    def __init__(
        self, audio_base: int, eot: int, model: CausalLM, plans: Sequence[Plan] | None
    ) -> None:
        """Prepare for a batch.

        Args:
            audio_base: id of the first audio token.
            eot: id of the end of turn.
            model: whose head it is.
            plans: of the items; None: any id may come.
        """
        self._parts: list[Part] = []
        if plans is None:
            self.whole: Head = full_head(model)
            return
        self.whole = audio_head(model, audio_base, CODE_COUNT, eot)
        heads = PartHeads(model, audio_base, CODE_COUNT, eot)
        device = model.lm_head.weight.device
        frees = [s for item in plans for s in item.body if isinstance(s, Free)]
        anywhere = any(not free.end_at_boundary for free in frees)
        for place in range(GROUP_SIZE):
            is_semantic = place >= LINGUISTIC_PER_GROUP
            first, stop = (LINGUISTIC_SIZE, CODE_COUNT) if is_semantic else (0, LINGUISTIC_SIZE)
            with_end = place == 0 or anywhere
            tokens = torch.arange(first, stop, device=device)
            if with_end:
                tokens = torch.cat([tokens, tokens.new_tensor([CODE_COUNT])])
            self._parts.append(Part(first, stop - first, with_end, tokens))
        self._heads = [heads.of(p.first, p.first + p.count, p.with_end) for p in self._parts]

    def equal(self, other: Columns) -> bool:
        """Tell whether another batch needs the same columns at each place of a group."""
        mine, its = ([part.with_end for part in one._parts] for one in (self, other))
        return mine == its

    def at(self, step: int) -> Part:
        """Return the columns of a step."""
        return self._parts[step % GROUP_SIZE]

    def head(self, step: int) -> Head:
        """Return the head of a step."""
        return self._heads[step % GROUP_SIZE] if self._parts else self.whole

    def of_whole(self, logits: Tensor, step: int) -> Tensor:
        """Return a step's columns of what the whole head gives."""
        if not self._parts:
            return logits
        part = self.at(step)
        return columns_of(logits, part.first, part.first + part.count, part.with_end)
