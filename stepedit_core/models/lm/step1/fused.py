"""Projections that read the same input, as one matrix product.

Small models spend a decode step on calls rather than on arithmetic, and so does a GPU. The
matrices keep their names: they become views of one matrix, so no memory is added and whatever
reads or updates them in place goes on to work.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["FusedLinear"]


class FusedLinear:
    """Several linear layers without biases that read one input.

    Not a module: the layers stay where they are, and own the weights.
    """

    def __init__(self, *layers: nn.Linear) -> None:
        """Put the layers' weights into one matrix and make them views of it."""
        sizes = [layer.out_features for layer in layers]
        with torch.no_grad():
            self._weight = torch.cat([layer.weight for layer in layers])
        for layer, part in zip(layers, torch.split(self._weight, sizes), strict=True):
            layer.weight = nn.Parameter(part, requires_grad=False)
        self._first = layers[0]

    def weight(self) -> Tensor | None:
        """Return the joined matrix; None once the layers have been moved or given others."""
        now = self._first.weight
        is_same = now.data_ptr() == self._weight.data_ptr() and not now.requires_grad
        return self._weight if is_same else None
