"""Chains of edits: data, validation, running, results and their one-line notation."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["Chain"]


def __getattr__(name: str) -> Any:
    """Import the chain on first use."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("stepedit_core.chain.chain"), name)
