"""Keys and values that each of several answers to shared prompts has of its own."""

from __future__ import annotations

import copy
import math

import numpy as np
import torch
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
        kept = rows if before.place is None else before.place[rows]
        kept = kept if after.rows is None else kept[after.rows]
        block, place = kept // before.most, kept % before.most
        layers, two, _, groups, _, room, size = self._store.shape
        other = copy.copy(self)
        other._store = _unset((layers, two, after.blocks, groups, after.most, room, size),
                              self._store)  # fmt: skip
        for old, new in zip(self._store.flatten(0, 1), other._store.flatten(0, 1), strict=True):
            taken = old[:, :, :, :used][block, :, place]
            taken = taken.view(after.blocks, after.most, groups, used, size)
            new[:, :, :, :used] = taken.transpose(1, 2)
        other.used = used
        return other


def _unset(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Return memory that holds anything.

    NumPy asks the system for large pages, torch does not: the many short runs of a step's keys
    and values are then found twice as fast.
    """
    if like.device.type != "cpu" or like.dtype != torch.float32:
        return like.new_empty(shape)
    return torch.from_numpy(np.empty(math.prod(shape), np.float32)).view(shape)
