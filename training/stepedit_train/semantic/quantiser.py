"""Finite scalar quantisation: a code is a few numbers, each rounded to a few levels.

Source: Mentzer et al. 2023, "Finite Scalar Quantization: VQ-VAE Made Simple". No codebook is
learned, so none can collapse.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["FiniteScalarQuantiser"]

MARGIN = 1e-3


class FiniteScalarQuantiser(nn.Module):
    """Round every number of a vector to one of its levels, with straight-through gradients.

    Args:
        levels: levels of each number; the codes are their product.
    """

    steps: Tensor
    reach: Tensor
    offset: Tensor
    shift: Tensor
    zero: Tensor

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__()
        counts = torch.tensor(levels, dtype=torch.float32)
        reach = (counts - 1) * (1 + MARGIN) / 2
        offset = torch.where(counts % 2 == 0, 0.5, 0.0)
        steps = [math.prod(levels[:place]) for place in range(len(levels))]
        self.size = math.prod(levels)
        self.register_buffer("reach", reach, persistent=False)
        self.register_buffer("offset", offset, persistent=False)
        self.register_buffer("shift", torch.atanh(offset / reach), persistent=False)
        self.register_buffer("zero", torch.floor(counts / 2), persistent=False)
        self.register_buffer("steps", torch.tensor(steps), persistent=False)

    def _rounded(self, x: Tensor) -> Tensor:
        bounded = torch.tanh(x + self.shift) * self.reach - self.offset
        return bounded + (bounded.round() - bounded).detach()

    def forward(self, x: Tensor) -> Tensor:
        """Return the quantised vectors, about -1 to 1, of the same shape ``(..., n)``."""
        return self._rounded(x) / self.zero

    def codes(self, x: Tensor) -> Tensor:
        """Return the codes, int64, shape ``(...)``."""
        places = (self._rounded(x) + self.zero).round().long()
        return (places * self.steps).sum(-1)
