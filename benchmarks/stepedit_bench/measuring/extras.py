"""Import optional backends with one clear line where they are absent."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

from stepedit_core.errors import MissingDependencyError

__all__ = ["need"]


def need(module: str, package: str, purpose: str) -> Any:
    """Import an optional module.

    Warnings that a library raises about its own imports are not the user's concern and are
    hidden.

    Raises:
        MissingDependencyError: naming the package, what it is for and how to install it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependencyError(
            f"{purpose} needs {package} ({error}); install it with `pip install stepedit[bench]`"
        ) from error
