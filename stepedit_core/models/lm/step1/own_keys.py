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

_LEAST_GROWTH = 32
_ROUND_UP = 16


class OwnKV:
    """Keys and values of all layers by place, written in place.

    Keys lie as the product with a query reads them, the slots side by side. Slots that hold
    nothing yet are finite, so that they can be read with weight 0.

    Attributes:
        keys: ``(layers, blocks, groups, most, size, room)``.
        values: ``(layers, blocks, groups, most, room, size)``.
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
        self._like = like
        self._allocate((layers, places.blocks, groups, places.most), room)
        self.used = 0

    def _allocate(self, shape: tuple[int, ...], room: int) -> None:
        room, size = -(-max(1, room) // _ROUND_UP) * _ROUND_UP, self._like.shape[-1]
        self.keys = _zeros((*shape, size, room), self._like)
        self.values = _zeros((*shape, room, size), self._like)

    @property
    def room(self) -> int:
        """Slots that there is room for."""
        return self.keys.shape[-1]

    def reserve(self, tokens: int) -> bool:
        """Make room for ``tokens`` more; return whether the storage had to move."""
        need = self.used + tokens
        if need <= self.room:
            return False
        keys, values = self.keys, self.values
        self._allocate(keys.shape[:4], need + max(_LEAST_GROWTH, need // 4))
        self.keys[..., : self.used] = keys[..., : self.used]
        self.values[..., : self.used, :] = values[..., : self.used, :]
        return True

    def update(self, keys: Tensor, values: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """Write what ``n`` more slots hold and return all that are in use.

        Args:
            keys: ``(blocks, groups, most, n, size)``.
            values: likewise.
            layer: number of the layer.

        Returns:
            Keys ``(blocks * groups * most, size, slots)`` and values
            ``(blocks * groups * most, slots, size)``.
        """
        end = self.used + keys.shape[3]
        store_k, store_v = self.keys[layer], self.values[layer]
        store_k[..., self.used : end] = keys.transpose(3, 4)
        store_v[..., self.used : end, :] = values
        return store_k[..., :end].flatten(0, 2), store_v[..., :end, :].flatten(0, 2)

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
        return self._laid(after, used, lambda own: own[:, :, :, :used][block, :, place])

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
        theirs = iter(other._by_slot())

        def both(own: Tensor) -> Tensor:
            mine = own[:, :, :, : self.used][block, :, place]
            new = next(theirs)[:, :, :, : other.used][its_block, :, its_place]
            return torch.where(is_mine, mine, F.pad(new, (0, 0, late, 0)))

        return self._laid(after, self.used, both)

    def without_first(self, slots: int) -> OwnKV:
        """Return them without the first slots."""
        other = copy.copy(self)
        other.keys = self.keys[..., slots:].contiguous()
        other.values = self.values[..., slots:, :].contiguous()
        other.used = self.used - slots
        return other

    def _by_slot(self) -> list[Tensor]:
        """Return views ``(blocks, groups, most, room, size)``, one layer's keys and values each."""
        pairs = zip(self.keys, self.values, strict=True)
        return [one for keys, values in pairs for one in (keys.transpose(-1, -2), values)]

    def _laid(self, after: Places, used: int, taken: Callable[[Tensor], Tensor]) -> OwnKV:
        """Return a memory of other places; ``taken`` gives what stands in them of each view."""
        layers, _, groups, _, size, _ = self.keys.shape
        other = copy.copy(self)
        other._allocate((layers, after.blocks, groups, after.most), max(used, self.room))
        for old, new in zip(self._by_slot(), other._by_slot(), strict=True):
            found = taken(old).view(after.blocks, after.most, groups, used, size)
            new[:, :, :, :used] = found.transpose(1, 2)
        other.used = used
        return other


def _where(places: Places, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return block and place of rows."""
    at = rows if places.place is None else places.place[rows]
    return at // places.most, at % places.most


def _zeros(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Return memory of zeros.

    NumPy asks the system for large pages, torch does not: the many short runs of a step's keys
    and values are then found twice as fast.
    """
    if like.device.type != "cpu" or like.dtype != torch.float32:
        return like.new_zeros(shape)
    return torch.from_numpy(np.zeros(math.prod(shape), np.float32)).view(shape)
