"""Engines for many requests: what their chains ask at the same time is one batch.

Each chain runs in a thread of its own and sees an engine. Its calls are put down here; an engine
that is free takes its share of those of a kind, up to a limit, as one batch. New requests join at
the next batch of any step, whoever else is half way through a chain. An item of a batch gets the
codes that it would get alone, which engines promise, and samples that differ by rounding, so that
nobody's answer depends on who else was there.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from stepedit_core import (
    DecodeRequest,
    DualCodes,
    EngineError,
    GenerateRequest,
    GenerationPolicy,
    SpeechEngine,
    Utterance,
    counted,
)
from stepedit_serve.engine_process import EngineProcess
from stepedit_serve.errors import Busy, Cancelled
from stepedit_serve.processes import NICENESS

__all__ = ["BatchedEngine", "Batcher", "batched_engine"]

KINDS = ("encode", "generate", "decode_keeping", "decode", "infill")
GATHER_SHARE = 0.1
"""How long a batch waits for requests that are under way and not yet waiting, as a share of the
time that the last batch of its kind took."""
SHORTEST_GATHER, LONGEST_GATHER = 0.02, 0.5
"""Bounds of that, in seconds."""
DRAWN_AT_ONCE = 32
"""Rows of one batch of ``generate``. The embedded model draws so many answers at once and the next
ones after them; requests that are kept back meanwhile join at the next batch of any engine."""


@dataclass
class _Call:
    """What one chain asks of the engine."""

    kind: str
    items: Sequence[Any]
    answer: Future[list[Any]] = field(default_factory=Future)
    since: float = field(default_factory=time.monotonic)


class Draws:
    """How many answers an engine draws for a request, to keep the best: rows of its batch."""

    def __init__(self, engine: SpeechEngine) -> None:
        """Read the engine's rules; one that says nothing of them draws one."""
        try:
            told = engine.describe().get("generation", {})
            self._policy = GenerationPolicy.model_validate(told)
        except (AttributeError, ValueError):
            self._policy = GenerationPolicy()

    def of(self, request: GenerateRequest) -> int:
        """Return the answers that a request draws at most."""
        if request.words is None:
            return 1
        return self._policy.for_edit(*request.plan.rules).best_of


class Batcher:
    """The threads that have the engines to themselves, one each.

    Attributes:
        engine: the first engine, which answers for all.
        engines: of the same weights; a batch goes to one that is free.
    """

    def __init__(
        self,
        engine: SpeechEngine | Sequence[SpeechEngine],
        max_batch: int = 16,
        on_batch: Callable[[str, int, float], None] | None = None,
    ) -> None:
        """Start the threads.

        Args:
            engine: does the work; several share it.
            max_batch: items of one batch.
            on_batch: told kind, items and seconds of each batch.
        """
        self.engines: tuple[SpeechEngine, ...] = (
            tuple(engine) if isinstance(engine, Sequence) else (engine,)
        )
        self.engine, self.max_batch = self.engines[0], max_batch
        self._draws = Draws(self.engine)
        self._on_batch = on_batch
        self._waiting: deque[_Call] = deque()
        self._changed = threading.Condition()
        self._under_way = 0
        self._carried = 0
        self._busy: set[int] = set()
        self._took: dict[str, float] = {}
        self._ended = False
        self._threads = [
            threading.Thread(target=self._serve, args=(place,), name="engine", daemon=True)
            for place in range(len(self.engines))
        ]
        for thread in self._threads:
            thread.start()

    # Asking ------------------------------------------------------------------------------

    @contextmanager
    def request(self) -> Iterator[None]:
        """Count a request as under way, be it read or edited: batches wait a moment for it."""
        with self._changed:
            self._under_way += 1
        try:
            yield
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify_all()

    def ask(self, kind: str, items: Sequence[Any]) -> list[Any]:
        """Have items carried out in somebody's batch; raises what the engine raises for them."""
        if not items:
            return []
        call = _Call(kind, items)
        with self._changed:
            if self._ended:
                raise Busy("the service is shutting down; try again")
            self._waiting.append(call)
            self._changed.notify_all()
        return call.answer.result()

    @property
    def waiting(self) -> int:
        """Calls that wait for a batch."""
        return len(self._waiting)

    def close(self) -> None:
        """End engines that have processes, and the threads; calls that still wait fail."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        for engine in self.engines:
            if isinstance(engine, EngineProcess):
                engine.close()
        for thread in self._threads:
            thread.join()

    def free_engine(self) -> SpeechEngine:
        """Return an engine that has no batch, the first where all have one; for streams."""
        with self._changed:
            places = (n for n in range(len(self.engines)) if n not in self._busy)
            return self.engines[next(places, 0)]

    # Carrying out ------------------------------------------------------------------------

    def _serve(self, place: int) -> None:
        """Carry out batches with one engine until the end."""
        if not isinstance(self.engines[place], EngineProcess):
            # One that only waits for a process would hold Python's lock at a low priority.
            lower_priority(NICENESS)
        while True:
            with self._changed:
                while not self._waiting and not self._ended:
                    self._changed.wait()
                if not self._ended:
                    self._gather()
                if self._ended:
                    self._refuse_rest()
                    return
                batch = self._take()
                self._busy.add(place)
                self._carried += len(batch)
            if batch:
                self._carry_out(batch, self.engines[place])
            with self._changed:
                self._busy.discard(place)
                self._carried -= len(batch)

    def _gather(self) -> None:
        """Wait for calls of chains that are under way, not longer than a moment."""
        first = self._waiting[0]
        window = GATHER_SHARE * self._took.get(first.kind, 0.0)
        until = first.since + min(LONGEST_GATHER, max(SHORTEST_GATHER, window))
        while not self._ended and self._waiting and not self._is_full():
            left = until - time.monotonic()
            if left <= 0:
                return
            self._changed.wait(left)

    def _is_full(self) -> bool:
        """Say whether waiting longer could add nothing to the next batch."""
        calls = len(self._waiting)
        kind = self._waiting[0].kind
        own = [call for call in self._waiting if call.kind == kind]
        rows = sum(self._rows(call) for call in own)
        return calls >= self._under_way - self._carried or rows >= self._most(kind)

    def _rows(self, call: _Call) -> int:
        """Return how many rows of a batch a call takes: a request draws several answers."""
        if call.kind != "generate":
            return len(call.items)
        return sum(self._draws.of(item) for item in call.items)

    def _most(self, kind: str) -> int:
        """Return how many rows a batch of a kind may have."""
        return max(self.max_batch, DRAWN_AT_ONCE) if kind == "generate" else self.max_batch

    def _take(self) -> list[_Call]:
        """Take calls of one kind, that of the oldest; engines that are free get equal shares."""
        if not self._waiting:  # another engine's thread has taken them
            return []
        kind = self._waiting[0].kind
        free = len(self.engines) - len(self._busy)
        own = sum(self._rows(call) for call in self._waiting if call.kind == kind)
        most = min(self._most(kind), math.ceil(own / free))
        taken: list[_Call] = []
        kept: deque[_Call] = deque()
        count = 0
        for call in self._waiting:
            fits = not taken or count + self._rows(call) <= most
            if call.kind == kind and fits and (kind != "infill" or not taken):
                taken.append(call)
                count += self._rows(call)
            else:
                kept.append(call)
        self._waiting = kept
        return taken

    def _carry_out(self, batch: Sequence[_Call], engine: SpeechEngine) -> None:
        """Have the engine carry out a batch; where that fails, find out whose fault it is."""
        kind = batch[0].kind
        items = [item for call in batch for item in call.items]
        begin = time.perf_counter()
        try:
            made = _asked(engine, kind, items)
            if len(made) != len(items):
                raise EngineError(
                    f"the engine gave {counted(len(made), 'answer')} to "
                    f"{counted(len(items), 'request')}"
                )
        except BaseException as error:
            if len(batch) == 1:
                batch[0].answer.set_exception(error)
            else:
                for call in batch:
                    self._carry_out([call], engine)
            return
        self._took[kind] = time.perf_counter() - begin
        if self._on_batch is not None:
            self._on_batch(kind, len(items), self._took[kind])
        at = 0
        for call in batch:
            call.answer.set_result(made[at : at + len(call.items)])
            at += len(call.items)

    def _refuse_rest(self) -> None:
        """Fail the calls that still wait."""
        for call in self._waiting:
            call.answer.set_exception(Busy("the service is shutting down; try again"))
        self._waiting.clear()


def _asked(engine: SpeechEngine, kind: str, items: list[Any]) -> list[Any]:
    """Call an engine."""
    if kind == "infill":
        return [engine.infill(items[0])]  # type: ignore[attr-defined]
    return list(getattr(engine, kind)(items))


def lower_priority(niceness: int) -> None:
    """Make the present thread give way to those that answer requests, where the system can."""
    try:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)
    except (AttributeError, OSError):  # not Linux, or not allowed
        return


class BatchedEngine:
    """What a chain sees as its engine: the batcher, and everything else of the real one."""

    def __init__(self, batcher: Batcher, cancelled: threading.Event | None = None) -> None:
        """Take the batcher.

        Args:
            batcher: has the engine.
            cancelled: once it is set, every further call raises `Cancelled`.
        """
        self._batcher = batcher
        self._cancelled = cancelled

    def __getattr__(self, name: str) -> Any:
        """Pass on what else the engine offers."""
        if name.startswith("__") or name == "_batcher":
            raise AttributeError(name)
        return getattr(self._batcher.engine, name)

    @property
    def name(self) -> str:
        """Short name that results carry."""
        return self._batcher.engine.name

    @property
    def sample_rate(self) -> int:
        """Rate of decoded audio, in Hz."""
        return self._batcher.engine.sample_rate

    def describe(self) -> Mapping[str, Any]:
        """Return what the engine says of itself."""
        return self._batcher.engine.describe()

    def _ask(self, kind: str, items: Sequence[Any]) -> list[Any]:
        if self._cancelled is not None and self._cancelled.is_set():
            raise Cancelled("cancelled")
        return self._batcher.ask(kind, items)

    def encode(self, utterances: Sequence[Utterance]) -> list[DualCodes]:
        """Return the codes of each utterance."""
        return self._ask("encode", utterances)

    def generate(self, requests: Sequence[GenerateRequest]) -> list[DualCodes]:
        """Return the output codes of each request."""
        return self._ask("generate", requests)

    def decode(self, requests: Sequence[DecodeRequest]) -> list[Utterance]:
        """Return audio for the codes of each request."""
        return self._ask("decode", requests)


class _Keeping(BatchedEngine):
    """A batched engine that can go on from what it made a recording from."""

    def decode_keeping(self, requests: Sequence[DecodeRequest]) -> list[Any]:
        """Return audio, and what it was made from."""
        return self._ask("decode_keeping", requests)


class _Infilling(BatchedEngine):
    """A batched engine that can put words into a recording."""

    def infill(self, request: Any) -> Any:
        """Return the codes of a recording with other words in one place."""
        return self._ask("infill", [request])[0]


class _Both(_Keeping, _Infilling):
    """A batched engine that can do both."""


# Whether an engine can is asked by hasattr and isinstance, so that each set has its class.
_CLASSES = {
    (False, False): BatchedEngine,
    (True, False): _Keeping,
    (False, True): _Infilling,
    (True, True): _Both,
}


def batched_engine(batcher: Batcher, cancelled: threading.Event | None = None) -> BatchedEngine:
    """Return an engine for one chain, with the abilities that the batcher's has."""
    able = hasattr(batcher.engine, "decode_keeping"), hasattr(batcher.engine, "infill")
    return _CLASSES[able](batcher, cancelled)
