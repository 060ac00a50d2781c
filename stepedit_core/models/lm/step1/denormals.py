"""Floats too small for the usual representation, which processors compute with very slowly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

__all__ = ["flushing_denormals"]

_SMALL = np.float32(1e-30)


@contextmanager
def flushing_denormals() -> Iterator[None]:
    """Take floats below 1.2e-38 as 0 in this thread meanwhile, where the processor can.

    A softmax over scores that lie far apart gives many of them, and takes up to ten times as long.
    """
    was_flushing = bool(_SMALL * np.float32(1e-10) == 0)
    if not was_flushing:
        torch.set_flush_denormal(True)
    try:
        yield
    finally:
        if not was_flushing:
            torch.set_flush_denormal(False)
