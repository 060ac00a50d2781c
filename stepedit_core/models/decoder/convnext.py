"""ConvNeXt blocks over time, with lengths: a padded item gives what it gives alone."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["ConvNeXtBlock", "masked", "time_mask"]


def time_mask(lengths: Tensor, frames: int) -> Tensor:
    """Return float32 ``(batch, frames, 1)``: 1 where a frame is real, 0 at padding."""
    inside = torch.arange(frames, device=lengths.device) < lengths[:, None]
    return inside[..., None].float()


def masked(x: Tensor, mask: Tensor | None) -> Tensor:
    """Return ``x``, ``(batch, frames, width)``, with padding set to zero."""
    return x if mask is None else x * mask.to(x.dtype)


class ConvNeXtBlock(nn.Module):
    """ConvNeXt block (Liu et al. 2022) over time, optionally shifted by a condition."""

    def __init__(self, width: int, kernel: int = 7, expansion: int = 3) -> None:
        """Make the layers.

        Args:
            width: channels.
            kernel: taps of the depth-wise convolution; odd.
            expansion: inner width over outer.
        """
        super().__init__()
        self.conv = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.inner = nn.Linear(width, expansion * width)
        self.outer = nn.Linear(expansion * width, width)

    @property
    def reach(self) -> int:
        """Frames that a result looks at on either side."""
        return int(self.conv.kernel_size[0]) // 2

    def forward(
        self, x: Tensor, mask: Tensor | None = None, condition: Tensor | None = None
    ) -> Tensor:
        """Map ``(batch, frames, width)`` to the same shape.

        Args:
            x: input, zero at padding.
            mask: of `time_mask`; None where nothing is padded.
            condition: ``(batch, width)``, added before the inner layers.
        """
        hidden = self.norm(self.conv(x.transpose(1, 2)).transpose(1, 2))
        if condition is not None:
            hidden = hidden + condition[:, None]
        return masked(x + self.outer(F.gelu(self.inner(hidden))), mask)
