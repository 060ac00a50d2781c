"""The operation registry: plugins found, loaded, checked and explained."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["Registry", "get_edit", "get_registry", "load_engine", "register", "set_registry"]


def __getattr__(name: str) -> Any:
    """Import the registry on first use: hook marks alone must not load it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("stepedit_core.registry.registry"), name)
