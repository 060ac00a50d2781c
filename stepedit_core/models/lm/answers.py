"""What generation gives for a prompt, and who says that an answer needs no end."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

__all__ = ["Finish", "Generated", "OneAtATime", "Watcher"]

Finish: TypeAlias = Literal["stop", "length", "dropped"]


@dataclass(frozen=True)
class Generated:
    """What the model gave for one prompt.

    Attributes:
        ids: new ids without the prompt and without the end-of-turn id; copied ids included.
        finish: ``"stop"`` if the model ended its turn or the constraint was fulfilled,
            ``"length"`` if the output was cut at its largest length, ``"dropped"`` if the
            watcher gave it up before its end.
    """

    ids: list[int]
    finish: Finish


class Watcher(Protocol):
    """Says which answers need no end: those that nobody would choose any more."""

    def hopeless(
        self, finished: Mapping[int, list[int]], running: Mapping[int, list[int]]
    ) -> list[int]:
        """Return numbers of running items to drop; ids of items come without copied ends."""
        ...


class OneAtATime:
    """A watcher that several threads ask in turn."""

    def __init__(self, watcher: Watcher, lock: threading.Lock) -> None:
        """Share a watcher with whoever has the same lock."""
        self._watcher, self._lock = watcher, lock

    def hopeless(
        self, finished: Mapping[int, list[int]], running: Mapping[int, list[int]]
    ) -> list[int]:
        """Return what the watcher says."""
        with self._lock:
            return self._watcher.hopeless(finished, running)
