"""What an edit costs an engine by itself: alone, in batches, and with an engine on each core.

No service runs. It says how much of one after another's time requests can be spared at most by
being carried out together, whatever a service does.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import statistics
import time
from collections.abc import Sequence
from multiprocessing.synchronize import Barrier
from typing import Any

import soundfile as sf

from stepedit_core import (
    DecodeRequest,
    EngineConfig,
    Utterance,
    load_engine,
)
from stepedit_serve.load_recordings import recording
from stepedit_serve.machine import cores
from stepedit_serve.processes import keep_freed_memory, large_pages
from stepedit_serve.requests_in import chain_from

__all__ = ["engine_alone"]

BATCHES = (1, 2, 4, 8)
"""Edits of one batch."""
_START_SECONDS = 300.0
"""How long the processes of one measurement wait for each other."""


class _Noting:
    """Behaves as an engine, and notes what it is asked to decode."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self.asked: list[DecodeRequest] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def decode_keeping(self, requests: Sequence[DecodeRequest]) -> Any:
        self.asked += requests
        return self._engine.decode_keeping(requests)


def measured(chain: str, seconds: float, tries: int, together: Barrier) -> dict[str, Any]:
    """Return processor seconds of each edit by the size of its batch, and stages of one alone.

    Encoding and decoding are timed, with what the decoder wants of the reference; sizes take turns.

    Args:
        chain: as JSON; of edits that the decoder answers.
        seconds: of audio of each recording.
        tries: of each size.
        together: passed before each timing by all processes.
    """
    keep_freed_memory()
    engine: Any = load_engine(EngineConfig(device="cpu"))
    edits = chain_from(chain)
    speech, asked = [], []
    for number in range(max(BATCHES)):
        content, words = recording(seconds, number)
        samples, rate = sf.read(io.BytesIO(content), dtype="float32")
        speech.append(Utterance(samples, rate, transcript=words))
        noting: Any = _Noting(engine)
        edits(speech[-1], noting, route="llm", seed=number)
        asked += noting.asked
    if len(asked) != len(speech):
        raise SystemExit("give a chain of which each edit is decoded once, such as an emotion")
    took: dict[int, list[float]] = {size: [] for size in BATCHES}
    stages: dict[str, float] = {}
    for _ in range(tries):
        for size in BATCHES:
            engine.forget()
            together.wait(_START_SECONDS)
            before, begin = engine.times, time.process_time()
            for at in range(0, len(speech), size):
                engine.encode(speech[at : at + size])
                engine.decode_keeping(asked[at : at + size])
            took[size].append((time.process_time() - begin) / len(speech))
            if size == 1:
                for name, now in engine.times.items():
                    spent = now.seconds - (before[name].seconds if name in before else 0.0)
                    stages[name] = stages.get(name, 0.0) + spent / len(speech) / tries
    medians = {str(size): round(statistics.median(values), 4) for size, values in took.items()}
    return {"processor_s": medians, "stages_s": {k: round(v, 4) for k, v in stages.items()}}


def _run(given: tuple[str, float, int], together: Barrier, answer: Any) -> None:
    """Measure in a process of its own."""
    answer.put(measured(*given, together))


def _side_by_side(count: int, given: tuple[str, float, int]) -> list[dict[str, Any]]:
    """Return what so many processes measured at the same time, with one thread each."""
    context = multiprocessing.get_context("spawn")
    together, answer = context.Barrier(count), context.Queue()
    os.environ["OMP_NUM_THREADS"] = "1"
    running = [
        context.Process(target=_run, args=(given, together, answer), daemon=True)
        for _ in range(count)
    ]
    with large_pages():
        for process in running:
            process.start()
    found = [answer.get(timeout=_START_SECONDS * (given[2] + 1)) for _ in running]
    for process in running:
        process.join()
    return found


def engine_alone(chain: str, seconds: float, tries: int) -> dict[str, Any]:
    """Return what an edit costs alone, in batches, and with as many engines as there are cores.

    Args:
        chain: as JSON; of edits that the decoder answers, such as an emotion.
        seconds: of audio of each recording.
        tries: of each size of batch, of which the median is told.

    Returns:
        Processor seconds of each edit by the size of its batch; ``most`` is how many times the
        throughput of one after another so many cores give at most.
    """
    given = chain, seconds, tries
    (alone,) = _side_by_side(1, given)
    side = _side_by_side(cores(), given)
    shared = {
        size: round(statistics.mean(one["processor_s"][size] for one in side), 4)
        for size in alone["processor_s"]
    }
    return {
        "audio_seconds": seconds,
        "one_engine": alone["processor_s"],
        "stages_of_one_alone_s": alone["stages_s"],
        "engines": cores(),
        "an_engine_on_each_core": shared,
        "most": round(cores() * alone["processor_s"]["1"] / min(shared.values()), 2),
    }
