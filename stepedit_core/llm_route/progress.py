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
def counting_on(done: list[int], left: int) -> Iterator[None]:
    """Count a generation that is one of several for the same answer behind those before it.

    Args:
        done: steps of each that is finished; that of this one is put in when it ends.
        left: how many come after this one; they are taken to be as long as it may get.
    """
    listener, before, last = _LISTENER.get(), sum(done), 0

    def heard(own: int, most: int) -> None:
        nonlocal last
        last = own
        if listener is not None:
            listener(before + own, before + most * (1 + left))

    with listening(heard):
        yield
    done.append(last)


@contextmanager
def listening(listener: Callable[[int, int], None]) -> Iterator[None]:
    """Call a listener with the tokens done and the most that may come, inside this context."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)
