"""Find the optional shared data beside a checkout; tests that need it skip where it is absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def shared_root() -> Path | None:
    """Return the shared data folder: STEPEDIT_SHARED, or ``../shared`` beside the checkout."""
    named = os.environ.get("STEPEDIT_SHARED")
    root = Path(named) if named else Path(__file__).resolve().parents[2] / "shared"
    return root if root.is_dir() else None


def need_shared(*parts: str) -> Path:
    """Return a path inside the shared data, or skip the calling test."""
    root = shared_root()
    if root is None or not root.joinpath(*parts).exists():
        pytest.skip(f"shared data {'/'.join(parts) or 'folder'} is not at hand")
    return root.joinpath(*parts)
