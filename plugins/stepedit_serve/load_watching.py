"""What load scripts read of the machine and of the service's processes, from Linux's /proc."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

__all__ = [
    "machine",
    "memory",
    "memory_of",
    "processes",
    "processor_seconds",
    "since",
    "used",
]


def machine() -> dict[str, Any]:
    """Return the machine's load averages, and its processors' ticks of all kinds, where known."""
    with suppress(OSError):
        ticks = list(map(int, Path("/proc/stat").read_text().splitlines()[0].split()[1:9]))
        return {"load": os.getloadavg(), "ticks": ticks}
    return {"load": (), "ticks": []}


def since(before: dict[str, Any]) -> dict[str, Any]:
    """Return load averages before and after, and the shares of idle and stolen processor time."""
    now = machine()
    spent = [b - a for a, b in zip(before["ticks"], now["ticks"], strict=True)]
    total = sum(spent) or 1
    return {
        "load_before": before["load"],
        "load_after": now["load"],
        "idle": round(spent[3] / total, 3) if spent else None,
        "stolen": round(spent[7] / total, 3) if spent else None,
    }


def processes(pid: int) -> list[int]:
    """Return a process and those below it: engines, workers, decoders."""
    found = [pid]
    for one in found:
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            with suppress(OSError):
                found += [int(child) for child in task.read_text().split()]
    return found


def memory(pid: int | None) -> float | None:
    """Return what a process and those below it hold in MB (proportional set), where it is known."""
    return None if pid is None else round(sum(memory_of(pid).values()), 1)


def memory_of(pid: int) -> dict[int, float]:
    """Return what a process and each below it holds in MB (proportional set), itself first."""
    found = {}
    for one in processes(pid):
        with suppress(OSError):
            lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
            held = sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
            found[one] = held / 1024
    return found


def processor_seconds(pid: int | None) -> Counter[int]:
    """Return the clock ticks that a process and those below it took, with their ended children."""
    found: Counter[int] = Counter()
    for one in [] if pid is None else processes(pid):
        with suppress(OSError):
            parts = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            found[one] = sum(map(int, parts[11:15]))
    return found


def used(pid: int | None, before: Counter[int]) -> list[float]:
    """Return the processor seconds of each process since an earlier look, the most first."""
    now = processor_seconds(pid)
    ticks = os.sysconf("SC_CLK_TCK")
    return sorted(((now[one] - before[one]) / ticks for one in now), reverse=True)
