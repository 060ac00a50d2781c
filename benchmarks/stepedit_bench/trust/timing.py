"""Time edits, each as the first one that an engine meets."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from stepedit_core.chain.accept import Accept
from stepedit_core.chain.chain import Chain
from stepedit_core.chain.notation import parse_edit
from stepedit_core.dsp import acoustics
from stepedit_core.engine import SpeechEngine
from stepedit_core.errors import StepeditError
from stepedit_core.utterance import Utterance

__all__ = ["timed", "warmed"]

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


def warmed(engine: SpeechEngine, limits: Accept, speech: Utterance) -> None:
    """Load what limits measure by, as the engine is loaded: that is no part of an edit's time."""
    more = {"target": False, "changed": False, "tries": 1, "all_ears": True}
    everything = limits.model_copy(update=more)
    for asked in (limits, everything):
        try:
            edit = parse_edit("emotion:to=sad")
            Chain([edit])(speech, engine, seed=99, route="llm", accept=asked)
        except StepeditError:
            continue
