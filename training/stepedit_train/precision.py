"""Mixed precision: bfloat16 where the hardware has it; weights and optimiser stay float32."""

from __future__ import annotations

from typing import Literal

import torch

__all__ = ["Precision", "arithmetic", "is_half"]

Precision = Literal["auto", "float32", "bfloat16"]


def is_half(precision: Precision, device: torch.device) -> bool:
    """Return whether arithmetic is bfloat16: where it is asked for, or offered and left to us."""
    if precision == "auto":
        return device.type == "cuda" and torch.cuda.is_bf16_supported()
    return precision == "bfloat16"


def arithmetic(precision: Precision, device: torch.device) -> torch.autocast:
    """Return a context for forward passes.

    Matrix products and convolutions run in bfloat16, what needs the range of float32 (norms,
    losses, Fourier transforms) does not: torch's rules of automatic mixed precision.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=is_half(precision, device))
