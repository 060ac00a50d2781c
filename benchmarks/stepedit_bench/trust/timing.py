"""Time edits, each as the first one that an engine meets."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from stepedit_core.dsp import acoustics
from stepedit_core.engine import SpeechEngine

__all__ = ["timed"]

T = TypeVar("T")


def timed(engine: SpeechEngine, make: Callable[[], T]) -> tuple[T, float]:
    """Return what ``make`` gives, and its processor time in seconds where nothing is known yet.

    What the engine and the measurements keep of recordings that they have met is forgotten first,
    so that a condition does not profit from the one that was measured before it.
    """
    forget: Callable[[], None] | None = getattr(engine, "forget", None)
    if forget is not None:
        forget()
    acoustics.forget()
    begin = time.process_time()
    made = make()
    return made, time.process_time() - begin
