"""Time and memory of whole edits on one core, in a process of its own.

    python -m stepedit_bench.speed.cost [ENGINE [RECORDINGS [EDIT [THREADS]]]]

prints one JSON object. RECORDINGS is a file with a JSON list of [path, transcript], ``-`` for
standard input, ``packaged`` for the packaged recordings, which are edited without it. EDIT is in
the notation of chains, ``denoise`` where it is left out; THREADS is 1.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from stepedit_core.config import EMBEDDED
from stepedit_core.errors import StepeditError
from stepedit_core.recordings import packaged, packaged_speech
from stepedit_core.utterance import Utterance

__all__ = ["measure_cost"]

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def measure_cost(engine: str, recordings: Sequence[tuple[Path, str]]) -> dict[str, float]:
    """Edit recordings in a child process that has one thread, and return what it took.

    Args:
        engine: name, folder or id.
        recordings: files and their words.

    Returns:
        ``rtf`` (CPU seconds of whole edits over seconds of input), ``memory_gb`` (peak resident
        memory, 10^9 bytes), ``load_seconds`` (wall clock) and ``n``.

    Raises:
        StepeditError: with the child's last line, if it fails.
    """
    given = json.dumps([[str(path), text] for path, text in recordings])
    ran = subprocess.run(
        [sys.executable, "-m", "stepedit_bench.speed.cost", engine, "-"],
        input=given,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **dict.fromkeys(_THREADS, "1")},
    )
    if ran.returncode != 0:
        lines = ran.stderr.strip().splitlines() or ["no reason given"]
        raise StepeditError(f"the cost of an edit could not be measured: {lines[-1]}")
    found: dict[str, float] = json.loads(ran.stdout.strip().splitlines()[-1])
    return {name: found[name] for name in ("rtf", "memory_gb", "load_seconds", "n")}


def peak_bytes() -> int:
    """Return the peak resident memory of this process.

    Linux's own count is taken where there is one: what ``getrusage`` says begins with the
    memory of the process that started this one.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _edited(
    engine: str, recordings: Iterable[Utterance], edit: str, threads: int
) -> dict[str, Any]:
    """Load an engine and edit recordings one by one.

    Returns:
        As `measure_cost` does, and of an edit in the median: ``made_seconds`` of sound,
        ``clock_seconds`` and ``processor_seconds``.
    """
    import torch

    from stepedit_core.chain.notation import parse_edit
    from stepedit_core.config import EngineConfig
    from stepedit_core.llm_route.carrying_out import apply_by_llm
    from stepedit_core.registry.registry import load_engine

    torch.set_num_threads(threads)
    begin = time.perf_counter()
    loaded = load_engine(EngineConfig(name_or_path=engine, device="cpu"))
    load_seconds = time.perf_counter() - begin
    asked = parse_edit(edit)
    seconds = 0.0
    work: list[float] = []
    clock: list[float] = []
    made: list[float] = []
    number = 0
    for number, speech in enumerate(recordings):
        begun = time.process_time(), time.perf_counter()
        (outcome,) = apply_by_llm([asked], [speech], loaded, [number])
        if number:  # the first one also warms caches and kernels
            work.append(time.process_time() - begun[0])
            clock.append(time.perf_counter() - begun[1])
            made.append(outcome.utterance.seconds)
            seconds += speech.seconds
    return {
        "rtf": sum(work) / seconds,
        "made_seconds": median(made),
        "clock_seconds": median(clock),
        "processor_seconds": median(work),
        "memory_gb": peak_bytes() / 1e9,
        "load_seconds": load_seconds,
        "n": number,
    }


def main(
    engine: str = EMBEDDED, given: str = "packaged", edit: str = "denoise", threads: str = "1"
) -> None:
    """Measure and print."""
    speech: Iterable[Utterance]
    if given == "packaged":
        speech = map(packaged_speech, packaged())
    else:
        text = sys.stdin.read() if given == "-" else Path(given).read_text(encoding="utf-8")
        speech = (Utterance.read(path, words, "en") for path, words in json.loads(text))
    print(json.dumps(_edited(engine, speech, edit, int(threads))))


if __name__ == "__main__":
    main(*sys.argv[1:])
