"""Keys and values that each of several answers to shared prompts has of its own."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stepedit_core.models.lm.step1.places import Places

__all__ = ["OwnKV"]


class OwnKV:
    """Keys and values of all layers by place, written in place.

    Attributes:
        used: slots that hold tokens.
    """

    def __init__(self, layers: int, places: Places, groups: int, room: int, like: Tensor) -> None:
        """Allocate them.

        Args:
            layers: how many.
            places: where rows stand.
            groups: key/value heads.
            room: slots of each place.
            like: a tensor ``(..., size)`` of the type and device to have.
        """
        shape = (layers, 2, places.blocks, groups, places.most, max(1, room), like.shape[-1])
        self._store = _unset(shape, like)
        self.used = 0

    def reserve(self, tokens: int) -> bool:
        """Make room for ``tokens`` more; return whether the storage had to move."""
        need, room = self.used + tokens, self._store.shape[5]
        if need <= room:
            return False
        wide = _unset((*self._store.shape[:5], max(need, 2 * room), self._store.shape[6]),
                      self._store)  # fmt: skip
        wide[..., : self.used, :] = self._store[..., : self.used, :]
        self._store = wide
        return True

    def update(self, keys: Tensor, values: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """Write what ``n`` more slots hold and return all that are in use.

        Args:
            keys: ``(blocks, groups, most, n, size)``.
            values: likewise.
            layer: number of the layer.

        Returns:
            Keys and values, ``(blocks * groups * most, slots, size)``.
        """
        end = self.used + keys.shape[3]
        store_k, store_v = self._store[layer]
        store_k[:, :, :, self.used : end] = keys
        store_v[:, :, :, self.used : end] = values
        return store_k[:, :, :, :end].flatten(0, 2), store_v[:, :, :, :end].flatten(0, 2)

    def moved(self, before: Places, rows: Tensor, after: Places, used: int) -> OwnKV:
        """Return those of some rows in other places, up to a slot.

        Args:
            before: where rows stand.
            rows: int64 ``(kept,)``.
            after: where the kept ones are to stand.
            used: slots to keep.
        """
        kept = rows if after.rows is None else rows[after.rows]
        block, place = _where(before, kept)
        return self._laid(after, used, lambda old, _: old[:, :, :, :used][block, :, place])

    def joined(
        self, before: Places, other: OwnKV, its: Places, order: Tensor, after: Places
    ) -> OwnKV:
        """Return those of both, what the other has used last; before it stand zeros.

        Args:
            before: where rows stand.
            other: has not used more.
            its: where its rows stand.
            order: int64 ``(rows,)``, the rows of both, numbered on through the other's.
            after: where they are to stand.
        """
        count = before.blocks * before.most if before.place is None else len(before.place)
        kept = order if after.rows is None else order[after.rows]
        is_mine = (kept < count)[:, None, None, None]
        block, place = _where(before, torch.where(kept < count, kept, 0))
        its_block, its_place = _where(its, torch.where(kept < count, 0, kept - count))
        late = self.used - other.used
        theirs = other._store.flatten(0, 1)

        def both(old: Tensor, number: int) -> Tensor:
            mine = old[:, :, :, : self.used][block, :, place]
            new = theirs[number][:, :, :, : other.used][its_block, :, its_place]
            return torch.where(is_mine, mine, F.pad(new, (0, 0, late, 0)))

        return self._laid(after, self.used, both)

    def without_first(self, slots: int) -> OwnKV:
        """Return them without the first slots."""
        other = copy.copy(self)
        other._store, other.used = self._store[..., slots:, :], self.used - slots
        return other

    def _laid(self, after: Places, used: int, taken: Callable[[Tensor, int], Tensor]) -> OwnKV:
        """Return a memory of other places; ``taken`` gives what stands in them of each store."""
        layers, two, _, groups, _, room, size = self._store.shape
        other = copy.copy(self)
        other._store = _unset((layers, two, after.blocks, groups, after.most, room, size),
                              self._store)  # fmt: skip
        pairs = zip(self._store.flatten(0, 1), other._store.flatten(0, 1), strict=True)
        for number, (old, new) in enumerate(pairs):
            found = taken(old, number).view(after.blocks, after.most, groups, used, size)
            new[:, :, :, :used] = found.transpose(1, 2)
        other.used = used
        return other


def _where(places: Places, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return block and place of rows."""
    at = rows if places.place is None else places.place[rows]
    return at // places.most, at % places.most


def _unset(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Return memory that holds anything.

    NumPy asks the system for large pages, torch does not: the many short runs of a step's keys
    and values are then found twice as fast.
    """
    if like.device.type != "cpu" or like.dtype != torch.float32:
        return like.new_empty(shape)
    return torch.from_numpy(np.empty(math.prod(shape), np.float32)).view(shape)
