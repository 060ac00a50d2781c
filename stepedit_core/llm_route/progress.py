"""How far a generation is, told to whoever listens; by default nobody does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["listening", "report_tokens"]

_LISTENER: ContextVar[Callable[[int, int], None] | None] = ContextVar("listener", default=None)


def report_tokens(done: int, most: int) -> None:
    """Tell the listener that a generation has so many tokens of at most so many."""
    listener = _LISTENER.get()
    if listener is not None:
        listener(done, most)


@contextmanager
def listening(listener: Callable[[int, int], None]) -> Iterator[None]:
    """Call a listener with the tokens done and the most that may come, inside this context."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)
