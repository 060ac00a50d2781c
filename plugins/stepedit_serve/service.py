"""The service: one engine, its workers, the stores, and what they do for requests."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import secrets
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import IO, Any, TypeVar, cast

from starlette.requests import Request

from stepedit_core import (
    Accept,
    Chain,
    ChainResult,
    EngineConfig,
    Interpretation,
    InterpretationError,
    SpeechEngine,
    Step,
    StepeditError,
    Utterance,
    get_registry,
    load_engine,
)
from stepedit_serve.audio_store import AudioStore
from stepedit_serve.batched_engine import batched_engine
from stepedit_serve.batching import Batcher
from stepedit_serve.database import Database
from stepedit_serve.decoding import Bounds, decode_long, decode_utterance
from stepedit_serve.engine_process import EngineProcess
from stepedit_serve.errors import ApiError, Cancelled
from stepedit_serve.hearing import HearingInWorkers
from stepedit_serve.job_queue import JobQueue
from stepedit_serve.keys import Key, Keys
from stepedit_serve.marking import Marker
from stepedit_serve.measuring import MeasuringElsewhere
from stepedit_serve.metrics import Metrics
from stepedit_serve.processes import begin_server
from stepedit_serve.requests_in import chain_said, said
from stepedit_serve.settings import ServeSettings
from stepedit_serve.working import LOCAL, DspInWorkers, Workers, align_words

__all__ = ["Service"]

LOG = logging.getLogger("stepedit.serve")
T = TypeVar("T")
_LONG_DECODE = 10
"""How much more time than others a long recording's decoder has."""


class Service:
    """Everything that requests share.

    Attributes:
        settings: bounds and places.
        batcher: has the engine; None where there is signal processing alone.
        workers: processes for signal processing and listening.
        database: sessions, jobs and voices.
        queue: the jobs.
        audio: the audio store.
        keys: who may come in.
        metrics: figures.
        marker: marks what goes out as edited.
        waiting: requests that wait for a thread.
        running: chains that run.
        described: the answer of ``/v1/edits`` by what is installed; schemas take a while to make.
        describing: held by who makes it.
    """

    def __init__(self, settings: ServeSettings, engine: SpeechEngine | None = None) -> None:
        """Open the stores and load the engine.

        Args:
            settings: bounds and places.
            engine: used instead of the one that the settings name.

        Raises:
            StepeditError: if a store, the key file or the engine cannot be had.
        """
        self.settings = settings
        self.begun = time.time()
        self.metrics = Metrics()
        self.keys = Keys(settings.keys)
        settings.spool.mkdir(parents=True, exist_ok=True)
        with ExitStack() as opened:
            self._open(opened, engine)
            self._opened = opened.pop_all()
        self._count = threading.Lock()
        self.waiting = self.running = 0
        self.described: dict[tuple[object, ...], bytes] = {}
        self.describing = threading.Lock()
        self.metrics.gauge("stepedit_waiting", "Requests that wait.", lambda: self.waiting)
        self.metrics.gauge("stepedit_running", "Chains that run.", lambda: self.running)

    def _open(self, opened: ExitStack, engine: SpeechEngine | None) -> None:
        """Open the stores, start the processes and threads, load the engine."""
        settings = self.settings
        self.database = Database(settings.database_url)
        opened.callback(self.database.close)
        alone = self.database.is_sqlite and not settings.shared
        if alone:
            opened.enter_context(self._sole())
        holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"[-80:]
        self.queue = JobQueue(self.database, holder, settings.lease_seconds)
        if alone:
            _clean(settings.spool)
            freed = self.queue.release_all()
            if freed:
                LOG.info("%d jobs were under way when the service ended: they go on", freed)
        self.audio = AudioStore(settings.audio_url)
        begin_server()
        self.workers = Workers(settings.workers)
        opened.callback(self.workers.close)
        self.marker = Marker(settings.mark, self.workers)
        self.batcher = self._batcher(engine, opened)
        if self.batcher is not None:
            opened.callback(self.batcher.close)
        self.marker.check()
        measuring = Workers(max(1, settings.workers // 4))
        opened.callback(measuring.close)
        registry = get_registry()
        elsewhere = (
            DspInWorkers(self.workers),
            HearingInWorkers(self.workers),
            MeasuringElsewhere(measuring),
        )
        for plugin in elsewhere:
            registry.register(plugin, f"serve_workers_{secrets.token_hex(4)}")
            opened.callback(registry.manager.unregister, plugin)
        self._chains = ThreadPoolExecutor(settings.parallel, "chain")
        self._decoders = ThreadPoolExecutor(settings.decoders, "decode")
        self._listeners = ThreadPoolExecutor(max(2, settings.workers), "listen")
        for pool in (self._chains, self._decoders, self._listeners):
            opened.callback(pool.shutdown, wait=False, cancel_futures=True)

    def _sole(self) -> IO[str]:
        """Hold the data folder; raises StepeditError where another service has it."""
        file = open(self.settings.data / "lock", "w", encoding="utf-8")  # noqa: SIM115
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise StepeditError(
                f"{self.settings.data}: another service works in this folder; give --data, or "
                "--database with a PostgreSQL URL for several"
            ) from None
        return file

    def _batcher(self, engine: SpeechEngine | None, opened: ExitStack) -> Batcher | None:
        """Load the engine and put a batcher in front of it."""
        settings = self.settings
        if engine is None:
            if settings.engine is None:
                return None
            config: dict[str, Any] = {
                "name_or_path": settings.engine,
                "device": settings.device,
                "dtype": settings.dtype,
                "quantize": settings.quantize,
            }
            return self._batcher_of(EngineConfig(**config), opened)
        return Batcher(engine, settings.max_batch, self.metrics.on_batch)

    def _batcher_of(self, config: EngineConfig, opened: ExitStack) -> Batcher:
        """Load engines in processes of their own, or here where these could not know the plugins.

        A plugin file is known to the process alone that was told to load it.
        """
        count = self.settings.engines
        is_local = any(info.distribution == LOCAL for info in get_registry().plugins())
        if count == 0 or is_local:
            return Batcher(load_engine(config), self.settings.max_batch, self.metrics.on_batch)
        processes: list[EngineProcess] = []
        for place in range(count):
            processes.append(EngineProcess(config, place, count, wait=False))
            opened.callback(processes[-1].close)
        for process in processes:
            process.wait_until_loaded()
        engines = [cast(SpeechEngine, process) for process in processes]
        return Batcher(engines, self.settings.max_batch, self.metrics.on_batch)

    def close(self) -> None:
        """Stop the threads and processes; what is under way is given up."""
        self._opened.close()

    # The engine --------------------------------------------------------------------------

    @property
    def engine_name(self) -> str | None:
        """Name of the engine, or None."""
        return None if self.batcher is None else self.batcher.engine.name

    def engine_for(self, cancelled: threading.Event | None = None) -> SpeechEngine | None:
        """Return the engine as one chain sees it."""
        if self.batcher is None:
            return None
        return cast(SpeechEngine, batched_engine(self.batcher, cancelled))

    def under_way(self) -> AbstractContextManager[None]:
        """Count a request as one that will soon ask the engine for something."""
        return nullcontext() if self.batcher is None else self.batcher.request()

    def run_chain(
        self,
        chain: Chain,
        utterance: Utterance,
        *,
        seed: int,
        route: str = "auto",
        accept: str = "off",
        cancelled: threading.Event | None = None,
        on_step: Callable[[Step], None] | None = None,
    ) -> ChainResult:
        """Run a chain in the present thread; its steps by the engine share batches with others'.

        Once ``cancelled`` is set, no further step begins.

        Raises:
            StepeditError: as calling a chain does; `Cancelled` where ``cancelled`` was set.
        """
        limits = Accept.of(cast(Any, accept))

        def told(step: Step) -> None:
            if cancelled is not None and cancelled.is_set():
                raise Cancelled("cancelled")
            if on_step is not None:
                on_step(step)

        with self.under_way():
            try:
                result = chain(
                    utterance,
                    self.engine_for(cancelled),
                    seed=seed,
                    route=cast(Any, route),
                    accept=limits,
                    on_step=told,
                )
            except StepeditError:
                if cancelled is not None and cancelled.is_set():
                    raise Cancelled("cancelled") from None
                raise
        for step in result.steps:
            self.metrics.edits.labels(step.edit.name, step.route).inc()
        return result

    # Threads -----------------------------------------------------------------------------

    async def run(self, function: Callable[[], T]) -> T:
        """Run a chain's work in a thread, when one is free; raises ApiError (503) if many wait."""
        with self._count:
            if self.waiting >= self.settings.max_waiting:
                raise ApiError(503, "busy", "too many requests wait; try again", retry_after=5)
            self.waiting += 1
        began = False

        def work() -> T:
            nonlocal began
            with self._count:
                began = True
                self.waiting -= 1
                self.running += 1
            try:
                return function()
            finally:
                with self._count:
                    self.running -= 1

        future = self._chains.submit(work)
        try:
            return await asyncio.wrap_future(future)
        finally:
            if future.cancelled() and not began:
                with self._count:
                    self.waiting -= 1

    async def run_while_there(
        self, request: Request, function: Callable[[threading.Event], T]
    ) -> T:
        """Run as `run` does what nobody wants once the client has gone; its event is set then.

        Raises:
            Cancelled: if the client went away before it began, or as the function raises it.
        """
        gone = threading.Event()

        def work() -> T:
            if gone.is_set():
                raise Cancelled("the client went away")
            return function(gone)

        watching = asyncio.create_task(_until_gone(request, gone))
        try:
            return await self.run(work)
        finally:
            watching.cancel()

    async def listen(self, function: Callable[[], T]) -> T:
        """Run what waits for a recogniser or an aligner in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._listeners, function)

    # Uploads -----------------------------------------------------------------------------

    def spooled(self, suffix: str = "") -> Path:
        """Return a new path for a file under way."""
        return self.settings.spool / f"{secrets.token_hex(12)}{suffix}"

    async def save(self, content: IO[bytes], suffix: str = "") -> Path:
        """Write an upload to a file of its own."""
        target = self.spooled(suffix)

        def copy() -> None:
            content.seek(0)
            try:
                with open(target, "wb") as out:
                    shutil.copyfileobj(content, out, 1 << 20)
            except OSError:
                target.unlink(missing_ok=True)
                raise

        await asyncio.get_running_loop().run_in_executor(self._decoders, copy)
        return target

    async def decoded(self, path: Path, key: Key, seconds: float | None = None) -> Utterance:
        """Return an upload as an utterance, counted against the key's audio.

        Raises:
            ApiError: if it cannot be read within the bounds, or the key's hour is used up.
        """
        settings = self.settings
        bounds = Bounds(
            seconds or settings.max_seconds, settings.decode_memory, settings.decode_seconds
        )
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._decoders, decode_utterance, path, bounds)
        self.count_audio(key, found.seconds)
        return found

    async def decoded_long(
        self, path: Path, target: Path, key: Key, seconds: float
    ) -> dict[str, Any]:
        """Write an upload as mono WAV; return rate, seconds and notes; raises as `decoded` does."""
        settings = self.settings
        bounds = Bounds(seconds, settings.decode_memory, _LONG_DECODE * settings.decode_seconds)
        loop = asyncio.get_running_loop()
        facts = await loop.run_in_executor(self._decoders, decode_long, path, target, bounds)
        try:
            self.count_audio(key, float(facts["seconds"]))
        except ApiError:
            target.unlink(missing_ok=True)
            raise
        return facts

    def count_audio(self, key: Key, seconds: float) -> None:
        """Count audio against a key and in the metrics; raises ApiError (429)."""
        self.keys.count_audio(key, seconds)
        self.metrics.audio.inc(seconds)

    # Sentences ---------------------------------------------------------------------------

    def chain_of_sentence(self, sentence: str, utterance: Utterance) -> tuple[Chain, Utterance]:
        """Return the chain that a sentence asks for, and the utterance, timed if that was needed.

        Raises:
            ApiError: (400) if nothing does what is asked, or it can be read in several ways.
        """
        found = said(sentence, utterance)
        if found.alternatives or _is_confined(found) or utterance.alignment is not None:
            return chain_said(found), utterance
        timed = self.timed(utterance)
        return chain_said(said(sentence, timed)), timed

    def timed(self, utterance: Utterance, aligner: str = "auto") -> Utterance:
        """Return an utterance with its words on its time axis, by a worker."""
        if utterance.alignment is not None and aligner == "auto":
            return utterance
        plain = utterance.replace(alignment=None)
        alignment, language = self.workers.call(align_words, plain, aligner)
        return utterance.replace(transcript=alignment.text, language=language, alignment=alignment)


async def _until_gone(request: Request, gone: threading.Event) -> None:
    """Set an event when the client of a request, whose body was read, has closed the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    gone.set()


def _clean(spool: Path) -> None:
    """Remove what a process that was killed left half done; jobs' own folders stay."""
    for path in spool.iterdir():
        if path.is_file():
            path.unlink(missing_ok=True)


def _is_confined(found: Interpretation) -> bool:
    """Say whether a reading's regions, if any, are known without word times."""
    try:
        _ = found.chain
    except InterpretationError:
        return False
    return True


def pieces(data: bytes, size: int = 1 << 16) -> Iterator[bytes]:
    """Yield bytes in pieces."""
    for at in range(0, len(data), size):
        yield data[at : at + size]


def summary(steps: Sequence[Step]) -> str:
    """Return the steps of a chain in a header's few characters."""
    return ",".join(f"{step.edit.name}/{step.route}" for step in steps)[:500]
