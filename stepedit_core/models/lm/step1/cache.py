"""Key/value memory of fixed size for our own generation loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

__all__ = ["StaticKV"]


class StaticKV:
    """Preallocated keys and values of all layers, written in place.

    It answers the two calls of a transformers ``Cache`` that the model makes (``update`` and
    ``get_seq_length``), but returns only the slots in use, so that a decode step never reads
    the empty tail. The owner moves ``used`` on after each forward pass.

    Attributes:
        used: number of slots that hold tokens.
        slot: set to a 1-element int64 tensor to write at a slot known to the device only
            (CUDA graphs); then ``limit`` slots are read.
        limit: number of slots read while ``slot`` is set.
    """

    def __init__(
        self,
        layers: int,
        batch: int,
        groups: int,
        length: int,
        head_dim: int,
        *,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        """Allocate ``2 * layers`` tensors of shape ``(batch, groups, length, head_dim)``."""
        shape = (batch, groups, length, head_dim)
        # Zeros, not empty: in static graphs slots beyond the last one are read with weight
        # zero, and zero times an uninitialised NaN is NaN.
        self.keys = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(layers)]
        self.values = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(layers)]
        self.length = length
        self.used = 0
        self.slot: Tensor | None = None
        self.limit = length

    def get_seq_length(self, layer_idx: int = 0) -> int | Tensor:
        """Return the slot that the next token takes."""
        return self.used if self.slot is None else self.slot

    def reserve(self, tokens: int) -> bool:
        """Make room for ``tokens`` more; return whether the storage had to move."""
        need = self.used + tokens
        if need <= self.length:
            return False
        more = max(need, 2 * self.length) - self.length
        self.length += more
        for store in (self.keys, self.values):
            for index, tensor in enumerate(store):
                store[index] = _with_room(tensor[:, :, : self.used], self.length)
        return True

    def taken(self, change: Callable[[Tensor], Tensor], used: int) -> StaticKV:
        """Return a memory whose stores are those of this one, changed, up to a slot.

        Args:
            change: takes ``(batch, groups, used, head_dim)`` and returns it for other rows.
            used: slots to keep.
        """
        other = StaticKV.__new__(StaticKV)
        for name in ("keys", "values"):
            kept = (change(store[:, :, :used]) for store in getattr(self, name))
            setattr(other, name, [_with_room(own, self.length) for own in kept])
        other.length, other.used, other.slot, other.limit = self.length, used, None, self.length
        return other

    def select(self, rows: Tensor, used: int) -> StaticKV:
        """Return the keys and values of some rows, int64 ``(kept,)``, up to a slot."""
        return self.taken(lambda store: store[rows], used)

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with some rows alone, in ascending order; nothing is allocated."""
        for stores in (self.keys, self.values):
            for index, store in enumerate(stores):
                for place, row in enumerate(rows):
                    if place != row:
                        store[place, :, : self.used] = store[row, :, : self.used]
                stores[index] = store[: len(rows)]

    def update(
        self, keys: Tensor, values: Tensor, layer_idx: int, *_: object
    ) -> tuple[Tensor, Tensor]:
        """Write ``(batch, groups, n, head_dim)`` and return all slots to attend to."""
        store_k, store_v = self.keys[layer_idx], self.values[layer_idx]
        if self.slot is not None:
            store_k.index_copy_(2, self.slot, keys)
            store_v.index_copy_(2, self.slot, values)
            return store_k[:, :, : self.limit], store_v[:, :, : self.limit]
        end = self.used + keys.shape[2]
        store_k[:, :, self.used : end] = keys
        store_v[:, :, self.used : end] = values
        return store_k[:, :, :end], store_v[:, :, :end]


def _with_room(tensor: Tensor, length: int) -> Tensor:
    """Return ``(batch, groups, length, head_dim)`` that begins with a tensor.

    Zeros come from the system as they are; memory that is not used yet is not touched.
    """
    batch, groups, used, size = tensor.shape
    wide = tensor.new_zeros(batch, groups, length, size)
    wide[:, :, :used] = tensor
    return wide
