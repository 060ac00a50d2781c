"""Keys and values of answers that share their prompts: each prompt's are kept and read once.

A step of many answers to one prompt is bound by memory: every answer has its own copy of the
prompt's keys and values to read. Here the queries of answers that share a prompt are stacked into
one matrix product with the one copy, and only what each has said itself is read row by row; one
softmax joins both parts (the idea of Hydragen, Juravsky et al. 2024). Sums are taken in another
order than in ``scaled_dot_product_attention``, so results are equal up to rounding.
"""

from __future__ import annotations

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
        self._keys = [keys[:, :, : self.length].contiguous() for keys in prefix.keys]
        self._values = [values[:, :, : self.length].contiguous() for values in prefix.values]
        self._lay_out(owners)
        _, groups, _, size = self._keys[0].shape
        first = self._keys[0]
        self._own = StaticKV(
            len(self._keys), self._shape[0] * groups * self._shape[1], 1, capacity, size,
            dtype=first.dtype, device=first.device,
        )  # fmt: skip
        self._split: tuple[BlockBias, Tensor, Tensor] | None = None
        self._which: tuple[Tensor, Tensor] | None = None

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

    def _arranged(self, x: Tensor) -> Tensor:
        """Bring ``(rows, groups, n, size)`` to ``(prompts * groups * most, n, size)``."""
        x = x if self._rows is None else x[self._rows]
        _, groups, n, size = x.shape
        return x.view(*self._shape, groups, n, size).transpose(1, 2).reshape(-1, n, size)

    def _by_row(self, x: Tensor, groups: int) -> Tensor:
        """Bring ``(prompts * groups * most, n, size)`` back to ``(rows, groups, n, size)``."""
        prompts, most = self._shape
        x = x.view(prompts, groups, most, *x.shape[1:]).transpose(1, 2).flatten(0, 1)
        return x if self._place is None else x[self._place]

    def _bias(self, bias: BlockBias, groups: int, keys: int) -> tuple[Tensor, Tensor]:
        """Return the bias towards the prompts' keys and the rows' own, shared by all layers."""
        if self._split is not None and self._split[0] is bias:
            return self._split[1:]
        whole = bias.whole(keys)
        prompts, most = self._shape
        queries = whole.shape[2]
        if bias.which is None:  # one for all
            whole = whole[:, :, None]
        else:
            which = self._table(bias.which)
            whole = whole[which.flatten()].view(prompts, -1, groups, queries, keys).transpose(1, 2)
        whole = whole.expand(prompts, groups, most, queries, keys)
        known = whole[..., : self.length].reshape(prompts * groups, most * queries, self.length)
        self._split = (bias, known, whole[..., self.length :])
        return self._split[1:]

    def _table(self, which: Tensor) -> Tensor:
        """Return the biases' rows as ``(prompts, rows of one)``, or ``(prompts, 1)`` if equal."""
        if self._which is None or self._which[0] is not which:
            table = which if self._rows is None else which[self._rows]
            table = table.view(self._shape)
            is_equal = bool((table == table[:, :1]).all())
            self._which = (which, table[:, :1] if is_equal else table)
        return self._which[1]

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, bias: BlockBias, layer: int
    ) -> Tensor:
        """Keep new keys and values, and attend to all of them.

        Args:
            query: ``(rows, groups, per_group, n, size)``.
            key: ``(rows, groups, n, size)``.
            value: likewise.
            bias: of the ``n`` queries.
            layer: number of the layer.

        Returns:
            As ``query``.
        """
        _, groups, per_group, n, size = query.shape
        prompts, most = self._shape
        queries = per_group * n
        own_keys, own_values = self._own.update(
            self._arranged(key)[:, None], self._arranged(value)[:, None], layer
        )
        own_keys, own_values = own_keys[:, 0], own_values[:, 0]
        known, own = self._bias(bias, groups, self.length + own_keys.shape[1])
        asked = self._arranged(query.reshape(-1, groups, queries, size)) * size**-0.5
        stacked = asked.view(prompts * groups, most * queries, size)
        there = torch.baddbmm(known, stacked, self._keys[layer].flatten(0, 1).transpose(1, 2))
        here = torch.bmm(asked, own_keys.transpose(1, 2))
        scores = torch.cat(
            [
                there.view(prompts, groups, most, queries, -1),
                here.view(prompts, groups, most, queries, -1) + own,
            ],
            dim=-1,
        )
        weights = scores.softmax(-1).view(prompts * groups, most * queries, -1)
        out = torch.bmm(weights[..., : self.length], self._values[layer].flatten(0, 1))
        rest = weights[..., self.length :].view(prompts * groups, most, queries, -1).flatten(0, 1)
        out = out.view(-1, queries, size) + torch.bmm(rest, own_values)
        return self._by_row(out, groups).view(-1, groups, per_group, n, size)

    def select(self, rows: Tensor, used: int) -> SharedPrefixKV:
        """Return the keys and values of some rows, up to a slot; prompts are not copied.

        Args:
            rows: int64 ``(kept,)``, in order.
            used: slots to keep, at least those of the prompts.
        """
        taken = SharedPrefixKV.__new__(SharedPrefixKV)
        taken.length, taken._split, taken._which = self.length, None, None
        owners = self.owners[rows]
        prompts, owners = torch.unique(owners, return_inverse=True)
        is_whole = len(prompts) == self._shape[0]
        taken._keys = self._keys if is_whole else [keys[prompts] for keys in self._keys]
        taken._values = self._values if is_whole else [values[prompts] for values in self._values]
        taken._lay_out(owners)
        groups = self._keys[0].shape[1]
        own = self._own

        def moved(store: Tensor) -> Tensor:
            return taken._arranged(self._by_row(store[:, 0], groups)[rows])[:, None]

        taken._own = own.taken(moved, used - self.length)
        return taken
