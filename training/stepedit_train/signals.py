"""SIGTERM handling: a run that is asked to stop ends with a checkpoint."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = [
    "stop_requests",
]


@contextmanager
def stop_requests() -> Iterator[list[int]]:
    """Collect SIGTERMs, so that a run ends with a checkpoint; outside the main thread none come."""
    asked: list[int] = []
    try:
        before = signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
    except ValueError:  # not in the main thread: nobody can ask
        yield asked
        return
    try:
        yield asked
    finally:
        signal.signal(signal.SIGTERM, before)
