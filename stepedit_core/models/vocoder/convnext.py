"""ConvNeXt block over time, as in Vocos."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["ConvNeXtBlock"]


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution, layer norm and a pointwise network, around a skip.

    Source: Liu et al., "A ConvNet for the 2020s", 2022; over time as in Siuzdak, "Vocos", 2023.

    Args:
        width: channels.
        kernel: taps, odd.
        expansion: inner channels per channel.
    """

    def __init__(self, width: int, kernel: int = 7, expansion: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.inner = nn.Linear(width, expansion * width)
        self.outer = nn.Linear(expansion * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, frames, width)`` to the same shape."""
        hidden = self.conv(x.transpose(1, 2)).transpose(1, 2)
        out: Tensor = x + self.outer(F.gelu(self.inner(self.norm(hidden))))
        return out
