"""Import noisereduce without torch, which it takes in for a class that is not used here.

Torch costs seconds at the start and 200 MB in each process; signal processing needs none of it.
noisereduce does without where torch cannot be imported.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from threading import get_ident
from types import ModuleType
from typing import Any

__all__ = ["gate"]


class _WithoutTorch(MetaPathFinder):
    """Finds no torch in the thread that made it; other threads import it as ever."""

    def __init__(self) -> None:
        self._thread = get_ident()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Raise ImportError for torch in this thread, and leave all else to other finders."""
        del path, target
        if fullname == "torch" and get_ident() == self._thread:
            raise ModuleNotFoundError("torch is not needed here", name="torch")
        return None


@cache
def gate() -> Callable[..., Any]:
    """Return ``noisereduce.reduce_noise``; torch, where nobody has loaded it, stays unloaded."""
    finder = _WithoutTorch()
    sys.meta_path.insert(0, finder)
    try:
        import noisereduce
    finally:
        sys.meta_path.remove(finder)
    reduce: Callable[..., Any] = noisereduce.reduce_noise
    return reduce
