"""How stages are timed: pairs of runs in turn, and their medians."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

__all__ = [
    "Measurement",
    "Paired",
    "Settings",
    "Took",
    "copy_bandwidth",
    "in_turn",
    "paired",
    "seconds_of",
]


@dataclass(frozen=True)
class Settings:
    """What to measure.

    Attributes:
        device: torch device.
        dtype: of the language model.
        seconds: audio per utterance, in seconds.
        prompt_tokens: length of the language model's prompt.
        new_tokens: tokens to generate.
        batch: items of the batched stages.
        repeats: runs after the warm-up; their median counts.
    """

    device: torch.device
    dtype: torch.dtype
    seconds: float = 10.0
    prompt_tokens: int = 600
    new_tokens: int = 200
    batch: int = 8
    repeats: int = 3


@dataclass(frozen=True)
class Measurement:
    """One line of the table.

    Attributes:
        stage: what was done.
        ours: seconds by stepedit.
        plain: seconds by the plain way, or None where there is none.
        floor: seconds that moving the bytes takes at the measured copy bandwidth, or None.
        audio_seconds: audio that the work stands for.
        note: what the plain way is, and rates.
    """

    stage: str
    ours: float
    plain: float | None
    floor: float | None
    audio_seconds: float
    note: str

    def data(self) -> dict[str, Any]:
        """Return the line as JSON data with its ratios."""
        ratio = None if self.plain is None else self.plain / self.ours
        above = None if self.floor is None else self.ours / self.floor
        times = self.audio_seconds / self.ours
        return {**asdict(self), "ratio": ratio, "times_floor": above, "times_real_time": times}


@dataclass(frozen=True)
class Paired:
    """Medians of runs in turn, in seconds.

    ``plain`` is ``ours`` times the median of the ratios of the pairs, which a machine whose speed
    changes does not move.
    """

    ours: float
    plain: float


@dataclass(frozen=True)
class Took:
    """Seconds of one run.

    Attributes:
        counted: processor time on one thread of a CPU, else time on the clock.
        processor: processor time of all threads.
    """

    counted: float
    processor: float


def _run(work: Callable[[], object], settings: Settings) -> Took:
    """Return the seconds of one run.

    On one thread of a CPU its processor time counts, which other programs hardly change; on
    several, or on an accelerator, time on the clock does.
    """
    _wait_for(settings.device)
    begin, begun = time.perf_counter(), time.process_time()
    work()
    _wait_for(settings.device)
    clock, processor = time.perf_counter() - begin, time.process_time() - begun
    is_alone = settings.device.type == "cpu" and torch.get_num_threads() == 1
    return Took(processor if is_alone else clock, processor)


def _once(work: Callable[[], object], settings: Settings) -> float:
    """Return the seconds of one run that count."""
    return _run(work, settings).counted


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def seconds_of(work: Callable[[], object], settings: Settings) -> float:
    """Return the median of several runs after a warm-up."""
    work()
    return statistics.median(_once(work, settings) for _ in range(settings.repeats))


def paired(ours: Callable[[], object], plain: Callable[[], object], settings: Settings) -> Paired:
    """Return the medians of two ways that take turns, after a warm-up of both."""
    ours()
    plain()
    pairs = [(_once(ours, settings), _once(plain, settings)) for _ in range(settings.repeats)]
    own = statistics.median(one for one, _ in pairs)
    return Paired(own, own * statistics.median(other / one for one, other in pairs))


def in_turn(works: Mapping[str, Callable[[], object]], settings: Settings) -> dict[str, list[Took]]:
    """Return what works took that take turns, so often as settings say, after a warm-up of all."""
    for work in works.values():
        work()
    found: dict[str, list[Took]] = {name: [] for name in works}
    for _ in range(settings.repeats):
        for name, work in works.items():
            found[name].append(_run(work, settings))
    return found


def copy_bandwidth(device: torch.device, settings: Settings) -> float:
    """Return bytes per second that a large copy moves, reads and writes counted."""
    size = 2**30 if device.type == "cuda" else 2**27
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.zeros_like(source)
    return 2 * size / seconds_of(lambda: target.copy_(source), settings)
