"""What worker processes have in common: one thread each, and an end with their parent."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["end_with_parent", "one_thread_each"]

_THREADS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS",
)  # fmt: skip
"""Read by libraries when they are imported."""


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Let processes that are started meanwhile compute on one thread each.

    Several workers use the cores better than one with many threads, and what they compute does
    not depend on the number of threads.
    """
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def end_with_parent() -> None:
    """End this worker with the process that started it, even if that is killed by SIGKILL."""
    parent = multiprocessing.parent_process()

    def wait_and_end() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait_and_end, daemon=True).start()
