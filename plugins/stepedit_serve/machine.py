"""What the machine or the container has: cores, free memory, and how many engines it carries."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

__all__ = ["ENGINE_BYTES", "cores", "engines_for", "free_memory"]

ENGINE_BYTES = 1 << 30
"""What a process with the embedded model takes at most: 0.3 GB when it begins, the rest for batches
and for what it keeps of freed memory."""
MOST_ENGINES = 8
"""Engines that are started without being asked for; a desktop has other work, too."""
_GROUP = Path("/sys/fs/cgroup")
_MEMORY = Path("/proc/meminfo")
_CARDS = Path("/proc/driver/nvidia/gpus")


def cores() -> int:
    """Return how many cores this process may use: its affinity, its container's quota."""
    try:
        found = len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        found = os.cpu_count() or 1
    with suppress(OSError, ValueError):
        quota, period = map(int, (_GROUP / "cpu.max").read_text().split())
        found = min(found, max(1, quota // period))
    return found


def free_memory() -> int | None:
    """Return the bytes that are free here, of the machine and of its container, where known."""
    found = []
    with suppress(OSError, StopIteration):
        lines = _MEMORY.read_text().splitlines()
        line = next(line for line in lines if line.startswith("MemAvailable:"))
        found.append(1024 * int(line.split()[1]))
    with suppress(OSError, ValueError):
        most = int((_GROUP / "memory.max").read_text())
        found.append(most - int((_GROUP / "memory.current").read_text()))
    return min(found, default=None)


def engines_for(engine: str | None, device: str) -> int:
    """Return how many processes with an engine each a service should start.

    One for each core where the embedded model runs on a CPU, as many as take half of the free
    memory at most. Other models may be of any size, and a card needs one process to feed it.

    Args:
        engine: name or path; None has none.
        device: as of `EngineConfig`.
    """
    on_cpu = device == "cpu" or (device == "auto" and not _CARDS.is_dir())
    if engine != "embedded" or not on_cpu:
        return 1
    free = free_memory()
    fits = MOST_ENGINES if free is None else free // 2 // ENGINE_BYTES
    return max(1, min(cores(), fits, MOST_ENGINES))
