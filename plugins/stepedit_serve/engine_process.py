"""An engine in a process of its own, which holds neither Python's lock nor the memory of others.

The service's process answers; a language model's loop is Python, too, and would stop it from doing
so hundreds of times a second. Here the model has an interpreter to itself. Calls go over two pipes:
one for the model's work, one call at a time, and one for questions about the engine, which never
wait for that work. What is generated in flight goes on for a moment at each call. A process that
dies fails the calls under way with `EngineDied` and is replaced at the next one.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import count
from multiprocessing.connection import Connection
from typing import Any

from stepedit_core import (
    DecodeRequest,
    DualCodes,
    EngineConfig,
    EngineError,
    GenerateRequest,
    InflightBatch,
    SpeechEngine,
    StepeditError,
    Utterance,
    load_engine,
)
from stepedit_serve.machine import cores
from stepedit_serve.processes import CONTEXT, NICENESS, keep_freed_memory, without_main

__all__ = ["FACTS", "EngineDied", "EngineProcess"]

WORK = (
    "encode",
    "generate",
    "generate_several",
    "decode",
    "decode_keeping",
    "decode_excerpts",
    "infill",
    "stream",
)
"""What takes the model's time; all else that an engine offers is a question."""
_STOP = "(stop)"
"""Sent while a stream runs, to end it; one that comes when the stream has ended is passed over."""
_INFLIGHT = "(inflight)"
"""Name of the call that goes on with what is generated in flight."""
FACTS = ("name", "sample_rate", "languages", "inflight_kinds", "excerpt_context")
"""Properties of an engine; they do not change."""
_THREADS = "OMP_NUM_THREADS"
_DIED = "the engine's process died, probably for lack of memory; try a shorter recording"


class EngineDied(EngineError):
    """The engine's process ended while it worked."""


class _Line:
    """One pipe to the process: one call at a time."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.lock = threading.Lock()
        self.is_broken = False  # known here before the system says that the process has ended

    def ask(self, name: str, arguments: tuple[Any, ...], options: Mapping[str, Any]) -> Any:
        """Return what a method returns; raises what it raises, EngineError where it died."""
        with self.lock:
            self._send(name, arguments, options)
            return self.next()

    def _send(self, name: str, arguments: tuple[Any, ...], options: Mapping[str, Any]) -> None:
        try:
            self._connection.send((name, arguments, dict(options)))
        except OSError:
            self.is_broken = True
            raise EngineDied(_DIED) from None

    def next(self) -> Any:
        """Return the next answer, StopIteration as an object at a stream's end."""
        try:
            outcome, value = self._connection.recv()
        except (EOFError, OSError):
            self.is_broken = True
            raise EngineDied(_DIED) from None
        if outcome == "failed":
            raise value
        return value if outcome == "done" else StopIteration

    def stream(self, arguments: tuple[Any, ...], options: Mapping[str, Any]) -> Iterator[Any]:
        """Yield what a generator yields; one that is given up ends at its next item."""
        with self.lock:
            self._send("stream", arguments, options)
            is_under_way = True

            def following() -> Any:
                nonlocal is_under_way
                is_under_way = False  # an error is the end, too
                item = self.next()
                is_under_way = item is not StopIteration
                return item

            try:
                while (item := following()) is not StopIteration:
                    yield item
            finally:
                if is_under_way:
                    self._send(_STOP, (), {})
                while is_under_way:
                    following()

    def close(self) -> None:
        self._connection.close()


class EngineProcess:
    """An engine that works in another process; it offers what that engine offers."""

    def __init__(
        self,
        config: EngineConfig,
        place: int = 0,
        of: int = 1,
        *,
        wait: bool = True,
        load: Callable[[EngineConfig], SpeechEngine] = load_engine,
    ) -> None:
        """Start the process and wait until its engine is loaded.

        Args:
            config: which engine.
            place: number of this process among those of the service, from 0: which of several
                accelerators it takes.
            of: how many there are; they share the machine's cores.
            wait: False leaves the waiting to `wait_until_loaded`, so that several load at once.
            load: makes the engine; a function that the process can import.

        Raises:
            StepeditError: if the engine cannot be loaded.
        """
        self._begin = (config, place, of, load)
        self._lock = threading.Lock()
        self._is_closed = False
        self._offers: set[str] = set()
        self._facts: dict[str, Any] = {}
        self._start()
        if wait:
            self.wait_until_loaded()

    def wait_until_loaded(self) -> None:
        """Learn what the engine offers; raises StepeditError if it cannot be loaded."""
        self._offers, self._facts = self._work.next()

    def _start(self) -> None:
        """Start the process."""
        work, theirs = CONTEXT.Pipe()
        questions, asked = CONTEXT.Pipe()
        self._process = CONTEXT.Process(
            target=_run, args=(theirs, asked, *self._begin), daemon=True
        )
        with without_main():
            self._process.start()
        theirs.close()
        asked.close()
        self._work, self._questions = _Line(work), _Line(questions)

    def _ready(self) -> None:
        """Replace a process that died."""
        with self._lock:
            if self._is_closed:
                raise EngineError("the engine is closed")
            is_broken = self._work.is_broken or self._questions.is_broken
            if is_broken or not self._process.is_alive():
                self._end()
                self._start()
                self.wait_until_loaded()

    def _end(self) -> None:
        self._process.kill()
        self._process.join()
        self._work.close()
        self._questions.close()

    @property
    def pid(self) -> int | None:
        """Number of the process."""
        return self._process.pid

    def close(self) -> None:
        """End the process; a call under way fails."""
        with self._lock:
            self._is_closed = True
            self._end()

    # What an engine offers ---------------------------------------------------------------

    @property
    def name(self) -> str:
        """Short name that results carry."""
        return str(self._facts["name"])

    @property
    def sample_rate(self) -> int:
        """Rate of decoded audio, in Hz."""
        return int(self._facts["sample_rate"])

    def describe(self) -> Mapping[str, Any]:
        """Return what the engine says of itself."""
        return dict(self._facts["describe"])

    def encode(self, utterances: Sequence[Utterance]) -> list[DualCodes]:
        """Return the codes of each utterance."""
        return list(self._call("encode", utterances))

    def generate(self, requests: Sequence[GenerateRequest]) -> list[DualCodes]:
        """Return the output codes of each request."""
        return list(self._call("generate", requests))

    def decode(self, requests: Sequence[DecodeRequest]) -> list[Utterance]:
        """Return audio for the codes of each request."""
        return list(self._call("decode", requests))

    def work_line(self) -> _Line:
        """Return the pipe for the model's work, of a process that lives."""
        self._ready()
        return self._work

    def _call(self, name: str, *arguments: Any, **options: Any) -> Any:
        self._ready()
        line = self._work if name in WORK else self._questions
        return line.ask(name, arguments, options)

    def _stream(self, *arguments: Any, **options: Any) -> Iterator[Any]:
        self._ready()
        yield from self._work.stream(arguments, options)

    def __getattr__(self, name: str) -> Any:
        """Return what else the engine offers."""
        if name.startswith("_"):
            raise AttributeError(name)
        if name in self._facts:
            return self._facts[name]
        if name not in self._offers:
            raise AttributeError(f"the engine has no {name!r}")
        if name == "stream":
            return self._stream
        if name == "inflight_batch":
            return lambda: _RemoteBatch(self)
        return lambda *arguments, **options: self._call(name, *arguments, **options)


class _RemoteBatch:
    """The `InflightBatch` of the engine in the process; it is lost when that one dies."""

    _numbers = count()

    def __init__(self, process: EngineProcess) -> None:
        self._process, self._number = process, next(self._numbers)
        self._line: _Line | None = None
        self._running: set[int] = set()
        self._added: list[tuple[int, Any, int, int]] = []
        self._aborted: list[int] = []

    def __len__(self) -> int:
        return len(self._running)

    def add(self, key: int, request: Any, draws: int = 1, keep: int = 1) -> None:
        self._running.add(key)
        self._added.append((key, request, draws, keep))

    def abort(self, key: int) -> None:
        self._running.discard(key)
        self._added = [one for one in self._added if one[0] != key]
        self._aborted.append(key)

    def step(self, seconds: float = 0.0) -> list[tuple[int, list[Any] | StepeditError]]:
        if self._line is None:
            self._line = self._process.work_line()
        news = (self._number, self._aborted, self._added, seconds)
        self._aborted, self._added = [], []
        ended: list[tuple[int, list[Any] | StepeditError]] = list(
            self._line.ask(_INFLIGHT, news, {})
        )
        self._running.difference_update(key for key, _ in ended)
        return ended


# In the process --------------------------------------------------------------------------


def _run(
    work: Connection,
    questions: Connection,
    config: EngineConfig,
    place: int,
    of: int,
    load: Callable[[EngineConfig], SpeechEngine],
) -> None:
    """Load an engine and carry out calls until the service ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the service ends it
    os.nice(NICENESS)
    keep_freed_memory()
    threading.Thread(target=_end_with_service, daemon=True).start()
    _share_cores(of)
    try:
        engine = load(_on_own_device(config, place))
    except BaseException as error:
        work.send(("failed", _sendable(error)))
        return
    offers = _offers(engine)
    facts = {name: getattr(engine, name) for name in FACTS if hasattr(engine, name)}
    facts["describe"] = dict(engine.describe())
    work.send(("done", (offers, facts)))
    threading.Thread(target=_answer, args=(questions, engine), daemon=True).start()
    _answer(work, engine)


def _end_with_service() -> None:
    """End this process when the service's has ended, also by kill -9."""
    service = multiprocessing.parent_process()
    if service is not None:
        service.join()
        os._exit(1)


def _share_cores(of: int) -> None:
    """Give each of several engines its share of the machine's cores, unless the user said more.

    PyTorch, which is imported with the engine, reads the number then.
    """
    if of > 1:
        os.environ.setdefault(_THREADS, str(max(1, cores() // of)))


def _on_own_device(config: EngineConfig, place: int) -> EngineConfig:
    """Spread several engines over a machine's NVIDIA cards."""
    if place == 0 or config.device not in ("auto", "cuda"):
        return config
    import torch

    cards = torch.cuda.device_count()
    if not cards:
        return config
    return config.model_copy(update={"device": f"cuda:{place % cards}"})


def _offers(engine: Any) -> set[str]:
    """Return the names of the engine's methods that can be called from elsewhere."""
    names = (name for name in dir(engine) if not name.startswith("_"))
    offers = {name for name in names if callable(getattr(type(engine), name, None))}
    with suppress(EngineError):
        if "inflight_batch" in offers:
            engine.inflight_batch()
        return offers
    return offers - {"inflight_batch"}


class _Inflight:
    """What the engine generates in flight."""

    def __init__(self, engine: Any) -> None:
        self._engine, self._number = engine, -1
        self._batch: InflightBatch | None = None

    def step(
        self, number: int, aborted: Sequence[int], added: Sequence[Any], seconds: float
    ) -> list[tuple[int, Any]]:
        """Let requests go and come, and go on for a time; another number is another batch."""
        if self._batch is None or number != self._number:
            self._number, self._batch = number, self._engine.inflight_batch()
        for key in aborted:
            self._batch.abort(key)
        for one in added:
            self._batch.add(*one)
        return [
            (key, _sendable(found) if isinstance(found, StepeditError) else found)
            for key, found in self._batch.step(seconds)
        ]


def _answer(line: Connection, engine: Any) -> None:
    """Carry out calls as they come, until the other end is closed."""
    inflight = _Inflight(engine)
    while True:
        try:
            name, arguments, options = line.recv()
            if name == _STOP:
                continue
            if name == "stream":
                for item in engine.stream(*arguments, **options):
                    if line.poll():  # nothing but a stop comes while a stream runs
                        break
                    line.send(("done", item))
                answer: tuple[str, Any] = ("end", None)
            elif name == _INFLIGHT:
                answer = ("done", inflight.step(*arguments))
            else:
                answer = ("done", getattr(engine, name)(*arguments, **options))
        except (EOFError, OSError):
            return
        except BaseException as error:
            answer = ("failed", _sendable(error))
        line.send(answer)


def _sendable(error: BaseException) -> BaseException:
    """Return an error that another process can raise."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return EngineError(f"{type(error).__name__}: {error}")
    return error
