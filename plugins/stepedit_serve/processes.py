"""Processes that start fast: forked from a small server that has imported what they need.

Python's fork server has every new process import the program's main module again. Nothing that
runs here needs it, so it is hidden while a process starts.
"""

from __future__ import annotations

import multiprocessing
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver
from types import ModuleType

__all__ = ["CONTEXT", "NICENESS", "begin_server", "without_main"]

CONTEXT = multiprocessing.get_context("forkserver")
NICENESS = 10
"""Of processes that calculate: those that answer come first."""
_MODULES = [
    "stepedit_serve.acceptor",
    "stepedit_serve.decoder",
    "stepedit_serve.working",
    "stepedit_serve.engine_process",
    "av",
]
_LOCK = threading.Lock()


def begin_server() -> None:
    """Start the server that processes are forked from; it imports while others go on."""
    CONTEXT.set_forkserver_preload(_MODULES)
    with without_main():
        forkserver.ensure_running()


@contextmanager
def without_main() -> Iterator[None]:
    """Hide the program's main module while a process starts."""
    with _LOCK:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main
