"""How long each stage of an engine worked, and on how much audio."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = ["StageClock", "StageTime", "StageTimes"]


@dataclass
class StageTime:
    """Work done by one stage.

    Attributes:
        calls: how often it ran.
        seconds: wall-clock time in seconds.
        audio_seconds: audio read or made, in seconds.
    """

    calls: int = 0
    seconds: float = 0.0
    audio_seconds: float = 0.0

    @property
    def real_time_factor(self) -> float:
        """Seconds of work per second of audio; below 1 is faster than real time."""
        return self.seconds / self.audio_seconds if self.audio_seconds else float("nan")


StageTimes = Mapping[str, StageTime]


class StageClock:
    """Sums up the work of stages, from any thread."""

    def __init__(self) -> None:
        """Start at zero."""
        self._lock = threading.Lock()
        self._stages: dict[str, StageTime] = {}

    @contextmanager
    def stage(self, name: str, audio_seconds: float = 0.0) -> Iterator[StageTime]:
        """Time a block; its audio may be set on the yielded record instead."""
        note = StageTime(1, 0.0, audio_seconds)
        begin = time.perf_counter()
        yield note
        note.seconds = time.perf_counter() - begin
        with self._lock:
            total = self._stages.setdefault(name, StageTime())
            total.calls += 1
            total.seconds += note.seconds
            total.audio_seconds += note.audio_seconds

    def times(self) -> StageTimes:
        """Return a copy of the sums by stage."""
        with self._lock:
            return {name: StageTime(**vars(item)) for name, item in self._stages.items()}
