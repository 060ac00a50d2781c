"""The last result of a computation, to be taken again where its inputs are the same bits.

An edit that is tried at several strengths is decoded from the same codes and the same reference;
only the last stage, which moves pitch, level and colour, differs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor

__all__ = ["Recent"]

Value = TypeVar("Value")


class Recent(Generic[Value]):
    """Keeps one result with its inputs; for weights that do not change any more.

    Threads may share it: what is kept is replaced as a whole.
    """

    def __init__(self) -> None:
        """Keep nothing yet."""
        self._last: tuple[tuple[Tensor | None, ...], Value] | None = None

    def of(self, inputs: Sequence[Tensor | None], make: Callable[[], Value]) -> Value:
        """Return what was made of the same inputs, or make it; nobody may write into it.

        Args:
            inputs: all that the result depends on, besides the weights.
            make: gives the result.
        """
        last = self._last
        if last is not None and _same(last[0], inputs):
            return last[1]
        made = make()
        self._last = tuple(inputs), made
        return made

    def clear(self) -> None:
        """Keep nothing."""
        self._last = None


def _same(one: Sequence[Tensor | None], other: Sequence[Tensor | None]) -> bool:
    """Return whether tensors are the same to the last bit; places that are not known are NaN."""
    return len(one) == len(other) and all(map(_equal, one, other))


def _equal(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None:
        return one is other
    if one.shape != other.shape or one.dtype != other.dtype or one.device != other.device:
        return False
    if not one.dtype.is_floating_point:
        return bool(torch.equal(one, other))
    return bool(((one == other) | (one.isnan() & other.isnan())).all())
