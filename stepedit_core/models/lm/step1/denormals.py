"""Floats too small for the usual representation, which processors compute with very slowly."""

from __future__ import annotations

import numpy as np
import torch

__all__ = ["FlushingDenormals"]

_SMALL, _SMALLER = np.float32(1e-30), np.float32(1e-10)


class FlushingDenormals:
    """Take floats below 1.2e-38 as 0 in this thread meanwhile, where the processor can.

    A softmax over scores that lie far apart gives many of them, and takes up to ten times as long.
    """

    def __enter__(self) -> None:
        """Begin."""
        self._was_flushing = bool(_SMALL * _SMALLER == 0)
        if not self._was_flushing:
            torch.set_flush_denormal(True)

    def __exit__(self, *error: object) -> None:
        """End, unless it held before."""
        if not self._was_flushing:
            torch.set_flush_denormal(False)
