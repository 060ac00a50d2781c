"""Keys and values of answers that share their prompts: each prompt's are kept and read once.

A step of many answers to one prompt is bound by memory: every answer has its own copy of the
prompt's keys and values to read. Here the queries of answers that share a prompt are stacked into
one matrix product with the one copy, and only what each has said itself is read row by row; one
softmax joins both parts (the idea of Hydragen, Juravsky et al. 2024). Sums are taken in another
order than in ``scaled_dot_product_attention``, so results are equal up to rounding.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from stepedit_core.models.lm.step1.alibi import BlockBias
from stepedit_core.models.lm.step1.cache import StaticKV

__all__ = ["SharedPrefixKV"]


class SharedPrefixKV:
    """Keys and values of rows that go on from shared prompts.

    Rows are laid out as ``(prompts, most rows of one)``; rows that a prompt lacks repeat its first.

    Attributes:
        used: slots that hold tokens, those of the prompts included.
    """

    def __init__(self, prefix: StaticKV, owners: Tensor, capacity: int) -> None:
        """Go on from what ``prefix`` holds.

        Args:
            prefix: of the prompts, one row each, all of the same padded length.
            owners: int64 ``(rows,)``, the prompt of each row.
            capacity: slots to make room for after the prompts.
        """
        self.length = prefix.used
        # Keys lie as the product with queries reads them: the prompt's slots side by side.
        self._keys = [
            keys[:, :, : self.length].transpose(2, 3).contiguous() for keys in prefix.keys
        ]
        self._values = [values[:, :, : self.length].contiguous() for values in prefix.values]
        self._lay_out(owners)
        first = self._values[0]
        self._own = StaticKV(
            len(self._values), len(owners), first.shape[1], capacity, first.shape[3],
            dtype=first.dtype, device=first.device,
        )  # fmt: skip
        self._biases: tuple[BlockBias, Tensor] | None = None

    @property
    def used(self) -> int:
        """Slots that hold tokens."""
        return self.length + self._own.used

    @used.setter
    def used(self, slots: int) -> None:
        """Set how many slots hold tokens, those of the prompt included."""
        self._own.used = slots - self.length

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Return the slot that the next token takes."""
        return self.used

    def reserve(self, tokens: int) -> bool:
        """Make room for ``tokens`` more; return whether the storage had to move."""
        return self._own.reserve(tokens)

    def _lay_out(self, owners: Tensor) -> None:
        """Work out where each row stands."""
        self.owners = owners
        counts = torch.bincount(owners, minlength=len(self._keys[0]))
        most = int(counts.max())
        self._shape = (len(counts), most)
        order = torch.argsort(owners, stable=True)
        number = torch.arange(len(owners), device=owners.device)
        within = number - (counts.cumsum(0) - counts)[owners[order]]
        place = torch.empty_like(owners)
        place[order] = owners[order] * most + within
        rows = order[(counts.cumsum(0) - counts).clamp(max=len(owners) - 1)]
        rows = rows.repeat_interleave(most)
        rows[place] = number
        is_plain = len(rows) == len(owners) and bool((rows == number).all())
        self._rows: Tensor | None = None if is_plain else rows
        self._place: Tensor | None = None if is_plain else place

    def _by_prompt(self, x: Tensor) -> Tensor:
        """Bring ``(rows, groups, n, size)`` to ``(prompts * groups, most * n, size)``."""
        x = x if self._rows is None else x[self._rows]
        _, groups, n, size = x.shape
        prompts, most = self._shape
        x = x.view(prompts, most, groups, n, size).transpose(1, 2)
        return x.reshape(prompts * groups, most * n, size)

    def _by_row(self, x: Tensor, groups: int) -> Tensor:
        """Bring ``(prompts * groups, most * n, size)`` back to ``(rows, groups, n, size)``."""
        prompts, most = self._shape
        x = x.view(prompts, groups, most, -1, x.shape[2]).transpose(1, 2).flatten(0, 1)
        return x if self._place is None else x[self._place]

    def _bias(self, bias: BlockBias, keys: int) -> Tensor:
        """Return ``(1 or rows, groups, queries, keys)``, made once for all layers."""
        if self._biases is None or self._biases[0] is not bias:
            whole = bias.whole(keys)
            if bias.which is not None and len(whole) > 1:
                whole = whole[bias.which]
            self._biases = (bias, whole)
        return self._biases[1]

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, bias: BlockBias, layer: int
    ) -> Tensor:
        """Keep new keys and values, and attend to all of them.

        Args:
            query: ``(rows, groups, per_group, n, size)``, scaled by ``size ** -0.5``.
            key: ``(rows, groups, n, size)``.
            value: likewise.
            bias: of the ``n`` queries.
            layer: number of the layer.

        Returns:
            As ``query``.
        """
        rows, groups, per_group, n, size = query.shape
        queries, known = per_group * n, self.length
        own_keys, own_values = self._own.update(key, value, layer)
        asked = query.reshape(rows, groups, queries, size)
        there = torch.bmm(self._by_prompt(asked), self._keys[layer].flatten(0, 1))
        here = torch.bmm(asked.flatten(0, 1), own_keys.flatten(0, 1).transpose(1, 2))
        scores = torch.cat(
            [self._by_row(there, groups), here.view(rows, groups, queries, -1)], dim=-1
        )
        scores += self._bias(bias, scores.shape[-1])
        weights = scores.softmax(-1)
        out = torch.bmm(self._by_prompt(weights[..., :known]), self._values[layer].flatten(0, 1))
        rest = torch.bmm(weights.flatten(0, 1)[..., known:], own_values.flatten(0, 1))
        joined = self._by_row(out, groups) + rest.view(rows, groups, queries, size)
        return joined.view(rows, groups, per_group, n, size)

    def select(self, rows: Tensor, used: int) -> SharedPrefixKV:
        """Return the keys and values of some rows, up to a slot; prompts are not copied.

        Args:
            rows: int64 ``(kept,)``, in order.
            used: slots to keep, at least those of the prompts.
        """
        taken = copy.copy(self)
        taken._own = self._own.select(rows, used - self.length)
        taken._take_owners(self.owners[rows])
        return taken

    def keep(self, rows: Tensor) -> None:
        """Go on with some rows alone, int64 ``(kept,)`` in ascending order."""
        self._own.keep(rows.tolist())
        self._take_owners(self.owners[rows])

    def _take_owners(self, owners: Tensor) -> None:
        """Leave out the prompts that no row goes on from."""
        prompts, owners = torch.unique(owners, return_inverse=True)
        if len(prompts) < len(self._keys[0]):
            self._keys = [keys[prompts] for keys in self._keys]
            self._values = [values[prompts] for values in self._values]
        self._biases = None
        self._lay_out(owners)
