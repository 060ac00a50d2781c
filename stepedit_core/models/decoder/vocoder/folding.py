"""Fold weight norm into plain weights."""

from __future__ import annotations

from torch import nn
from torch.nn.utils import parametrize

__all__ = ["fold_weight_norm"]


def fold_weight_norm(module: nn.Module) -> None:
    """Replace every weight-normed weight below a module by the product, as a plain parameter."""
    for child in list(module.modules()):
        if parametrize.is_parametrized(child, "weight"):
            parametrize.remove_parametrizations(child, "weight", leave_parametrized=True)
