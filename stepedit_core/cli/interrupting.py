"""SIGTERM ends a command as Ctrl-C does: files are whole, and the exit code says so."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["sigterm_interrupts"]


@contextmanager
def sigterm_interrupts() -> Iterator[list[int]]:
    """Raise KeyboardInterrupt where SIGTERM comes; yield a list that then holds its number.

    Child processes keep the default, so that a pool can end its workers; a second SIGTERM ends
    the process at once. Commands that stop by themselves at SIGTERM set their own handler.
    """
    came: list[int] = []
    own = os.getpid()

    def handle(number: int, frame: FrameType | None) -> None:
        if os.getpid() != own or came:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        came.append(number)
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, handle)
    except ValueError:  # outside the main thread
        yield came
        return
    try:
        yield came
    finally:
        signal.signal(signal.SIGTERM, before)
