"""Square-root ALiBi: the only position information of the Step1 language model.

The score of query ``i`` and key ``j <= i`` is lowered by ``slope[h] * sqrt(i - j)``. The
slopes are those of ALiBi (Press et al. 2022, "Train Short, Test Long"); the square root is
Step1's own. Rows are made when they are needed: one row per decode step, blocks of rows in
prefill, so no (heads, length, length) matrix outlives a forward pass.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor

from stepedit_core.models.lm.step1.alignment import AlignmentRule

__all__ = ["AlibiBias", "BiasWindow", "BlockBias", "StepBias", "alibi_slopes"]

# Elements of one bias block. 2**25 float32 values are 128 MiB: large enough that prompts of
# ordinary length take one block shared by all layers, small enough for a 16 GB card.
_BLOCK_ELEMENTS = 2**25


def alibi_slopes(heads: int) -> Tensor:
    """Return the ALiBi slope of every head, float32, shape ``(heads,)``.

    With ``n`` the largest power of two not above ``heads``, the first ``n`` slopes are
    ``2**(-8k/n)`` for k = 1..n; the rest are ``2**(-4m/n)`` for odd m.
    """
    n = 1 << (heads.bit_length() - 1)
    first = [2.0 ** (-8.0 * k / n) for k in range(1, n + 1)]
    extra = [2.0 ** (-4.0 * m / n) for m in range(1, 2 * (heads - n), 2)]
    return torch.tensor(first + extra, dtype=torch.float32)


@lru_cache(maxsize=16)
def _slopes_on(heads: int, device: torch.device) -> Tensor:
    # Kept outside the module: a non-persistent buffer would stay on `meta` after loading.
    return alibi_slopes(heads).to(device)


class BlockBias(Protocol):
    """What the attention asks of a bias.

    Attributes:
        start: slot of the first query.
        which: int64 ``(rows,)``, the bias of each row, where rows share biases; None: one for each
            row, or one for all.
    """

    start: int | Tensor
    which: Tensor | None

    def block_rows(self, keys: int) -> int:
        """Return how many query rows one block may hold for ``keys`` keys."""
        ...

    def whole(self, keys: int) -> Tensor:
        """Return the bias of all query rows."""
        ...

    def block(self, first: int, last: int, keys: int) -> Tensor:
        """Return the bias of some query rows over the first ``keys``."""
        ...


class AlibiBias:
    """Additive attention bias for a block of query rows, made on demand.

    Query heads that share a key/value group are folded into rows, so that keys and values
    are never repeated: the bias has shape ``(1 or batch, groups, per_group * rows, keys)``.
    """

    def __init__(
        self,
        heads: int,
        groups: int,
        *,
        start: int | Tensor,
        rows: int,
        dtype: torch.dtype,
        device: torch.device,
        key_valid: Tensor | None = None,
        rule: AlignmentRule | None = None,
        records: Tensor | None = None,
    ) -> None:
        """Describe the bias of ``rows`` queries whose first one stands at slot ``start``.

        Args:
            heads: query heads.
            groups: key/value heads.
            start: slot of the first query in the key sequence; a 0-d tensor in static graphs.
            rows: number of queries.
            dtype: type of the queries; the bias is computed in float32 and cast to it.
            device: where queries live.
            key_valid: bool, shape ``(batch, keys)``, False at padding. Shorter than the keys
                is allowed: later slots count as valid.
            rule: slopes and offsets of the time-aligned heads; None: there are none.
            records: float32 ``(batch, columns)`` of ``alignment_tensor``, given with ``rule``.
        """
        self._slopes = _slopes_on(heads, device).view(1, groups, heads // groups, 1, 1)
        self._heads = heads
        self.start = start
        self.rows = rows
        self._dtype = dtype
        self._device = device
        self._key_valid = key_valid
        self._rule, self._records = rule, records
        self._gaps: Tensor | None = None
        self._prompt = 0
        self._whole: Tensor | None = None
        self.which: Tensor | None = None

    def with_gaps(self, gaps: Tensor, prompt: int) -> AlibiBias:
        """Return this bias for keys that lie apart from where it has them.

        Args:
            gaps: int64 ``(batch,)``, slots that nobody reads. The bias has them before the prompt,
                the keys have them after it, so that distances are those of keys without them.
            prompt: slots of the prompts as the keys lie.
        """
        self._gaps, self._prompt = gaps, prompt
        return self

    def block_rows(self, keys: int) -> int:
        """Return how many query rows one block may hold for ``keys`` keys."""
        sized = self._records if self._key_valid is None else self._key_valid
        batch = 1 if sized is None else sized.shape[0]
        return max(1, _BLOCK_ELEMENTS // (batch * self._heads * keys))

    def whole(self, keys: int) -> Tensor:
        """Return the bias of all rows, computed once and shared by all layers."""
        if self._whole is None or self._whole.shape[-1] != keys:
            self._whole = self.block(0, self.rows, keys)
        return self._whole

    def block(self, first: int, last: int, keys: int) -> Tensor:
        """Return the bias of rows ``first`` to ``last`` (exclusive) over the first ``keys``."""
        row = torch.arange(first, last, device=self._device) + self.start
        distance = row[:, None] - torch.arange(keys, device=self._device)[None, :]
        bias = self._unhidden(row, distance).to(self._dtype)
        hidden = (distance < 0)[None, None, None]
        if self._key_valid is not None:
            hidden = hidden | ~self._padded_valid(keys)[:, None, None, None, :]
        # A finite minimum, not -inf: rows of pure padding must stay finite, as their keys and
        # values are multiplied by zero weights later.
        least = torch.finfo(self._dtype).min
        is_smaller = len(hidden) > len(bias)
        bias = bias.masked_fill(hidden, least) if is_smaller else bias.masked_fill_(hidden, least)
        batch, groups, per_group, rows, _ = bias.shape
        return self._lying(bias.reshape(batch, groups, per_group * rows, keys))

    def _unhidden(self, row: Tensor, distance: Tensor) -> Tensor:
        """Return the bias as if later keys were seen, float32, which may be written to.

        Args:
            row: ``(rows,)``, slots of the queries.
            distance: ``(rows, keys)``, from each key to the query.

        Returns:
            ``(1 or batch, groups, per_group, rows, keys)``.
        """
        bias = -self._slopes * distance.clamp(min=0).to(torch.float32).sqrt()
        if self._rule is None or self._records is None:
            return bias
        records, asking = self._records, 0
        if self._device.type == "cpu" and isinstance(self.start, int):
            # Prompts are long and answer nothing: what holds in them is the same for all.
            asking = int(records[:, 2].min()) - 1 - int(row[0])
            asking = min(max(asking, 0), len(row))
            if self._gaps is None and bool((records == records[:1]).all()):
                records = records[:1]
            self._rule.put_recent(bias.flatten(1, 2)[0, :, :asking], distance[:asking])
            if asking == len(row):
                return bias
        cost, holds = self._rule.cost(records, row[asking:], distance.shape[1])
        shape = (len(cost), *bias.shape[1:3], *cost.shape[2:])
        answered = torch.where(
            holds.reshape(*shape[:4], 1), -cost.reshape(shape), bias[..., asking:, :]
        )
        if not asking:
            return answered
        return torch.cat([bias[..., :asking, :].expand(len(cost), -1, -1, -1, -1), answered], 3)

    def _lying(self, bias: Tensor) -> Tensor:
        """Bring the columns of a bias to where the keys lie; see ``with_gaps``."""
        if self._gaps is None:
            return bias
        key, gap = torch.arange(bias.shape[-1], device=self._device), self._gaps[:, None]
        bias = bias.expand(len(gap), -1, -1, -1)
        of_gap = torch.where(key < self._prompt + gap, key - self._prompt, key)
        column = torch.where(key < self._prompt, key + gap, of_gap)[:, None, None]
        return bias.gather(-1, column.expand(-1, bias.shape[1], bias.shape[2], -1))

    def _padded_valid(self, keys: int) -> Tensor:
        valid = self._key_valid
        if valid is None:
            raise ValueError("no key mask was given")
        if valid.shape[1] >= keys:
            return valid[:, :keys]
        return torch.nn.functional.pad(valid, (0, keys - valid.shape[1]), value=True)


class StepBias:
    """The bias of one query, taken out of a window."""

    def __init__(self, bias: Tensor, start: int) -> None:
        """Keep ``bias``, ``(1 or batch, groups, per_group, start + 1)``, of the query's slot."""
        self._bias = bias
        self.start: int | Tensor = start
        self.which: Tensor | None = None

    def block_rows(self, keys: int) -> int:
        """Return that one block is enough."""
        return 1

    def whole(self, keys: int) -> Tensor:
        """Return the bias."""
        return self._bias

    def block(self, first: int, last: int, keys: int) -> Tensor:
        """Return the bias, of which there is one row."""
        return self._bias


class BiasWindow:
    """The biases of the coming decode steps, made in one go.

    A bias depends on slots alone, and not on what is generated; making the next ones together
    costs as many operations as making one.
    """

    def __init__(self, bias: AlibiBias, keys: int) -> None:
        """Make the biases of all rows of ``bias``, the last of which sees ``keys`` keys."""
        assert isinstance(bias.start, int)
        whole = bias.whole(keys)
        batch, groups, folded, _ = whole.shape
        self._block = whole.view(batch, groups, folded // bias.rows, bias.rows, keys)
        self._first = bias.start

    def at(self, slot: int) -> StepBias | None:
        """Return the bias of the query at a slot; None outside the window."""
        row = slot - self._first
        if not 0 <= row < self._block.shape[3]:
            return None
        return StepBias(self._block[:, :, :, row, : slot + 1], slot)
