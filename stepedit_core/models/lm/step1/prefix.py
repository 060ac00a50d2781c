"""Keys and values of answers that share their prompts: each prompt's are kept and read once.

A step of many answers to one prompt is bound by memory: every answer has its own copy of the
prompt's keys and values to read. Here the queries of answers that share a prompt are stacked into
one matrix product with the one copy, and only what each has said itself is read row by row; one
softmax joins both parts (the idea of Hydragen, Juravsky et al. 2024). Sums are taken in another
order than in ``scaled_dot_product_attention``, so results are equal up to rounding.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from stepedit_core.models.lm.step1.alibi import BlockBias
from stepedit_core.models.lm.step1.cache import StaticKV
from stepedit_core.models.lm.step1.own_keys import OwnKV
from stepedit_core.models.lm.step1.places import Places

__all__ = ["SharedPrefixKV"]

_FIRST_ROOM = 32
"""Slots after the prompts that are made room for at first; more are when answers go on."""
_NOTHING = 1e-30
"""Weights of attention below this are made 0, which changes no sum of float32 numbers near 1.
Steep position biases give weights below 1e-38, which processors multiply a hundred times slower."""


class SharedPrefixKV:
    """Keys and values of rows that go on from shared prompts.

    Rows stand in places, see ``Places``; keys and values are laid out by them, so that every
    product reads its operands as they lie.

    Attributes:
        used: slots that hold tokens, those of the prompts included.
        attached: what steps by a graph have prepared for where keys and values lie now; None when
            these have moved.
    """

    attached: Any = None

    def __init__(self, prefix: StaticKV, owners: Tensor, capacity: int) -> None:
        """Go on from what ``prefix`` holds.

        Args:
            prefix: of the prompts, one row each, all of the same padded length.
            owners: int64 ``(rows,)``, the prompt of each row.
            capacity: slots to make room for after the prompts; more are made when needed.
        """
        self.length = prefix.used
        # Keys lie as the product with queries reads them: the prompt's slots side by side.
        self._keys = [
            keys[:, :, : self.length].transpose(2, 3).contiguous() for keys in prefix.keys
        ]
        self._values = [values[:, :, : self.length].contiguous() for values in prefix.values]
        self._stand(owners, Places.of(owners, self.length, 0))
        first = self._values[0]
        self._own = OwnKV(
            len(self._values), self._places, first.shape[1], min(capacity, _FIRST_ROOM), first
        )

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
        has_moved = self._own.reserve(tokens)
        if has_moved:
            self.attached = None
        return has_moved

    def _stand(self, owners: Tensor, places: Places) -> None:
        """Take places, and leave out the prompts that no row goes on from."""
        prompts, self.owners = torch.unique(owners, return_inverse=True)
        if len(prompts) < len(self._keys[0]):
            self._keys = [keys[prompts] for keys in self._keys]
            self._values = [values[prompts] for values in self._values]
            places = places.renumbered(prompts)
        self._places = places
        # A prompt of many more rows than others stands several times.
        self._read_keys = [places.by_prompt(keys).flatten(0, 1) for keys in self._keys]
        self._read_values = [places.by_prompt(values).flatten(0, 1) for values in self._values]
        self._bias_of: tuple[BlockBias, Tensor] | None = None
        self.attached = None

    @property
    def places(self) -> Places:
        """Where rows stand."""
        return self._places

    @property
    def own(self) -> OwnKV:
        """Keys and values that rows have of their own."""
        return self._own

    def of_prompts(self, layer: int) -> tuple[Tensor, Tensor]:
        """Return a layer's keys and values of the prompts, one for each block of rows.

        Returns:
            Keys ``(blocks, groups, size, length)`` and values ``(blocks, groups, length, size)``.
        """
        groups = self._keys[layer].shape[1]
        both = self._read_keys[layer], self._read_values[layer]
        keys, values = (one.view(-1, groups, *one.shape[1:]).contiguous() for one in both)
        return keys, values

    def bias_by_place(self, bias: BlockBias, keys: int) -> Tensor:
        """Return the bias by places, ``(blocks, groups, rows, queries, keys)``, 1 where equal.

        It is made once for all layers.
        """
        if self._bias_of is None or self._bias_of[0] is not bias:
            whole = bias.whole(keys)
            if len(whole) == 1:
                laid = whole[:, :, None]
            elif self._is_of_prompts(bias, len(whole)):
                laid = self._places.by_prompt(whole)[:, :, None]
            else:
                laid = self._places.take(whole if bias.which is None else whole[bias.which])
            self._bias_of = (bias, laid)
        return self._bias_of[1]

    def _is_of_prompts(self, bias: BlockBias, count: int) -> bool:
        """Tell whether ``count`` biases are those of the prompts, in their order."""
        which = bias.which
        return count == len(self._keys[0]) and which is not None and torch.equal(which, self.owners)

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
        places, known = self._places, self.length
        own_keys, own_values = self._own.update(places.take(key), places.take(value), layer)
        asked = places.take(query.reshape(rows, groups, per_group * n, size)).contiguous()
        blocks, _, most, queries, _ = asked.shape
        stacked, single = (blocks * groups, most * queries), (blocks * groups * most, queries)
        there = torch.bmm(asked.view(*stacked, size), self._read_keys[layer])
        here = torch.bmm(asked.view(*single, size), own_keys)
        keys = known + own_values.shape[1]
        shape = (blocks, groups, most, queries)
        laid = self.bias_by_place(bias, keys)
        scores = query.new_empty(*shape, keys)
        torch.add(there.view(*shape, known), laid[..., :known], out=scores[..., :known])
        torch.add(here.view(*shape, -1), laid[..., known:], out=scores[..., known:])
        weights = F.threshold(scores.softmax(-1), _NOTHING, 0.0, inplace=True)
        out = torch.bmm(weights.view(*stacked, keys)[..., :known], self._read_values[layer])
        rest = torch.bmm(weights.view(*single, keys)[..., known:], own_values)
        joined = out.view(*shape, size).add_(rest.view(*shape, size))
        return places.give(joined).view(rows, groups, per_group, n, size)

    def select(self, rows: Tensor, used: int) -> SharedPrefixKV:
        """Return the keys and values of some rows, up to a slot; prompts are not copied.

        Args:
            rows: int64 ``(kept,)``, in order.
            used: slots to keep, at least those of the prompts.
        """
        taken = copy.copy(self)
        taken._go_on(rows, used - self.length)
        return taken

    def keep(self, rows: Tensor) -> None:
        """Go on with some rows alone, int64 ``(kept,)`` in ascending order."""
        self._go_on(rows, self._own.used)

    def cut(self, lead: int, stale: int) -> None:
        """Forget the first slots of the prompts, and of the rows' own, which no row reads."""
        if lead:
            self._keys = [keys[..., lead:] for keys in self._keys]
            self._values = [values[:, :, lead:] for values in self._values]
            self.length -= lead
        if stale:
            self._own = self._own.without_first(stale)

    def join(self, other: SharedPrefixKV, order: Tensor) -> None:
        """Take in another's rows and prompts, in place; its last slots are these' last slots.

        Shorter prompts get zeros before them, and rows with fewer slots of their own get zeros
        between their prompt and these: no row may read them.

        Args:
            other: has not used more slots of its own.
            order: int64 ``(rows,)``, the rows of both, numbered on through the other's.
        """
        length = max(self.length, other.length)
        owners = torch.cat([self.owners, other.owners + len(self._values[0])])[order]
        mine, its = length - self.length, length - other.length
        self._keys = [
            torch.cat([F.pad(a, (mine, 0)), F.pad(b, (its, 0))])
            for a, b in zip(self._keys, other._keys, strict=True)
        ]
        self._values = [
            torch.cat([F.pad(a, (0, 0, mine, 0)), F.pad(b, (0, 0, its, 0))])
            for a, b in zip(self._values, other._values, strict=True)
        ]
        self.length = length
        places = Places.of(owners, length, self._own.used)
        self._own = self._own.joined(self._places, other._own, other._places, order, places)
        self._stand(owners, places)

    def _go_on(self, rows: Tensor, own: int) -> None:
        """Bring some rows to new places, with some of their own slots."""
        owners = self.owners[rows]
        places = Places.of(owners, self.length, own)
        self._own = self._own.moved(self._places, rows, places, own)
        self._stand(owners, places)
