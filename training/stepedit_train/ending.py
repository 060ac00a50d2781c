"""Runs that end early: asked by SIGTERM, or stopped because of their figures."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from stepedit_core.errors import StepeditError

__all__ = ["TrainingStopped", "stop_requests"]


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
        # The command line ends with an exit code of its own where a run was stopped.
        getattr(before, "came", []).extend(asked)


class TrainingStopped(StepeditError):
    """A run was stopped because of what its figures say; its checkpoints are kept."""
