"""Processes that start fast: forked from a small server that has imported what they need.

Python's fork server has every new process import the program's main module again. Nothing that
runs here needs it, so it is hidden while a process starts.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver
from types import ModuleType

__all__ = [
    "CONTEXT",
    "NICENESS",
    "begin_server",
    "keep_freed_memory",
    "large_pages",
    "without_main",
]

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
_TUNABLES, _LARGE_PAGES = "GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"
"""Has the C library ask for large pages (`madvise`), where the system gives them on demand."""
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
"""Numbers of the options of ``mallopt`` in glibc's ``malloc.h``."""
KEPT_BYTES, ASKED_BYTES = 2**28, 2**26
"""Free memory that a process keeps at most, and what it asks the system for at once."""


def begin_server() -> None:
    """Start the server that processes are forked from; it imports while others go on."""
    CONTEXT.set_forkserver_preload(_MODULES)
    with large_pages(), without_main():
        forkserver.ensure_running()


@contextmanager
def large_pages() -> Iterator[None]:
    """Have a program that is started meanwhile ask for large pages, unless the user says else."""
    before = os.environ.get(_TUNABLES)
    if before is None:
        os.environ[_TUNABLES] = _LARGE_PAGES
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(_TUNABLES, None)


def keep_freed_memory() -> None:
    """Keep what this process frees, up to `KEPT_BYTES`, for what it asks for next.

    The C library gives large blocks back to the system at once. A decoder asks for the next
    one a moment later, and the system clears thousands of pages for it: a tenth of its time.
    Other C libraries than glibc stay as they are.
    """
    try:
        option = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    option(_MMAP_THRESHOLD, KEPT_BYTES)
    option(_TRIM_THRESHOLD, KEPT_BYTES)
    option(_TOP_PAD, ASKED_BYTES)


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
