"""Engines for many requests: what their chains ask at the same time is one batch.

Each chain runs in a thread of its own and sees an engine. Its calls are put down here; an engine
that is free takes its share of those of a kind, up to a limit, as one batch. What the language
model is asked joins what an engine generates already, between two of its steps, and leaves when it
has ended or nobody wants it (`inflight`); encoding and decoding take turns with it. An item of a
batch gets the codes that it would get alone, which engines promise, and samples that differ by
rounding, so that nobody's answer depends on who else was there.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from stepedit_core import (
    DecodeRequest,
    DualCodes,
    EngineError,
    GenerateRequest,
    SpeechEngine,
    Utterance,
    counted,
)
from stepedit_serve.calls import GENERATES, Call, Draws
from stepedit_serve.engine_process import EngineDied, EngineProcess
from stepedit_serve.errors import Busy, Cancelled
from stepedit_serve.inflight import SLICE_SECONDS, Flight, flight_of
from stepedit_serve.processes import NICENESS

__all__ = ["BatchedEngine", "Batcher", "batched_engine"]

MOST_DEATHS = 3
"""Engines' processes that may die over one call before it fails."""
LOG = logging.getLogger("stepedit.serve")
GATHER_SHARE = 0.1
"""How long a batch waits for requests that are under way and not yet waiting, as a share of the
time that the last batch of its kind took."""
SHORTEST_GATHER, LONGEST_GATHER = 0.02, 0.5
"""Bounds of that, in seconds."""
DRAWN_AT_ONCE = 48
"""Rows that an engine generates at once; requests that are kept back join when others have left."""


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
        self._flights = [flight_of(one, self._draws) for one in self.engines]
        self._on_batch = on_batch
        self._waiting: deque[Call] = deque()
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

    @property
    def admits(self) -> bool:
        """Whether requests join what is being generated."""
        return self._flights[0] is not None

    def ask(self, kind: str, items: Sequence[Any], **options: Any) -> list[Any]:
        """Have items carried out in somebody's batch; raises what the engine raises for them.

        Args:
            kind: name of the engine's method.
            items: what it is asked for.
            options: further fields of `Call`.
        """
        if not items:
            return []
        call = Call(kind, items, **options)
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
        """Return the engine that has least to do; for streams."""
        with self._changed:
            places = range(len(self.engines))
            return self.engines[min(places, key=lambda n: (n in self._busy, self._rows_of(n)))]

    def _rows_of(self, place: int) -> int:
        """Return the rows that an engine generates."""
        flight = self._flights[place]
        return 0 if flight is None else flight.rows

    # Carrying out ------------------------------------------------------------------------

    def _serve(self, place: int) -> None:
        """Carry out batches with one engine until the end."""
        if not isinstance(self.engines[place], EngineProcess):
            # One that only waits for a process would hold Python's lock at a low priority.
            lower_priority(NICENESS)
        flight = self._flights[place]
        while True:
            with self._changed:
                while not (self._waiting or self._ended or flight):
                    self._changed.wait()
                if not self._ended and not flight:
                    self._gather()
                if self._ended:
                    self._refuse(*self._waiting, *([] if flight is None else flight.calls))
                    self._waiting.clear()
                    return
                self._refuse_given_up()
                if flight is not None:
                    self._admit(flight)
                batch = self._take(place)
                if batch:
                    self._busy.add(place)
                    self._carried += len(batch)
            if batch:
                self._carry_out(batch, self.engines[place], flight)
                with self._changed:
                    self._busy.discard(place)
                    self._carried -= len(batch)
            if flight:
                self._generate(flight, self.engines[place])

    def _admit(self, flight: Flight) -> None:
        """Have waiting requests join what an engine generates, as many as are its share."""
        own = [call for call in self._waiting if call.kind in GENERATES]
        rows = sum(map(self._draws.rows, own)) + sum(map(self._rows_of, range(len(self.engines))))
        fair = math.ceil(rows / len(self.engines))
        for call in own:
            more = flight.rows + self._draws.rows(call)
            if flight.rows >= fair or (flight and more > self._most("generate")):
                return
            self._waiting.remove(call)
            flight.add(call)

    def _generate(self, flight: Flight, engine: SpeechEngine) -> None:
        """Go on generating for a moment; where that fails, find out whose fault it is."""
        requests, begin = len(flight), time.perf_counter()
        try:
            flight.step(SLICE_SECONDS)
        except Exception as error:
            if self._ended:
                return
            LOG.warning("generation failed (%s); each request is tried by itself", error)
            self._failed(flight.lost(), error, engine, flight)
            return
        took = time.perf_counter() - begin
        flight.owed = max(0.0, flight.owed - took) if flight else 0.0
        if self._on_batch is not None:
            self._on_batch("generate", requests, took)

    def _gather(self) -> None:
        """Wait for calls of chains that are under way, not longer than a moment."""
        if not self._waiting:
            return
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
        rows = sum(map(self._draws.rows, own))
        carried = self._carried + sum(len(one) for one in self._flights if one is not None)
        return calls >= self._under_way - carried or rows >= self._most(kind)

    def _most(self, kind: str) -> int:
        """Return how many rows a batch of a kind may have."""
        return max(self.max_batch, DRAWN_AT_ONCE) if kind in GENERATES else self.max_batch

    def _take(self, place: int) -> list[Call]:
        """Take calls of one kind, that of the oldest; engines that are free get equal shares."""
        flight = self._flights[place]
        if flight and flight.owed > 0:  # generation has its turn
            return []
        able = [call for call in self._waiting if flight is None or call.kind not in GENERATES]
        if not able:  # another engine's thread has taken them
            return []
        kind = able[0].kind
        free = len(self.engines) - len(self._busy)
        own = [call for call in able if call.kind == kind]
        most = min(self._most(kind), math.ceil(sum(map(self._draws.rows, own)) / free))
        taken: list[Call] = []
        count = 0
        for call in own:
            rows = self._draws.rows(call)
            if not taken or (count + rows <= most and kind != "infill"):
                taken.append(call)
                count += rows
        for call in taken:
            self._waiting.remove(call)
        return taken

    def _carry_out(
        self, batch: Sequence[Call], engine: SpeechEngine, flight: Flight | None = None
    ) -> None:
        """Have the engine carry out a batch; where that fails, find out whose fault it is."""
        kind = batch[0].kind
        items = [item for call in batch for item in call.items]
        begin = time.perf_counter()
        try:
            made = _asked(engine, batch[0], items)
            if len(made) != len(items):
                raise EngineError(
                    f"the engine gave {counted(len(made), 'answer')} to "
                    f"{counted(len(items), 'request')}"
                )
        except Exception as error:
            if len(batch) == 1 and not self._is_bad_luck(batch[0], error):
                batch[0].answer.set_exception(error)
            else:
                self._failed(batch, error, engine, flight)
            return
        self._took[kind] = time.perf_counter() - begin
        if flight:
            flight.owed += self._took[kind]
        if self._on_batch is not None:
            self._on_batch(kind, len(items), self._took[kind])
        at = 0
        for call in batch:
            call.answer.set_result(made[at : at + len(call.items)])
            at += len(call.items)

    def _failed(
        self, calls: Sequence[Call], error: Exception, engine: SpeechEngine, flight: Flight | None
    ) -> None:
        """Carry out calls one by one that failed together."""
        for call in calls:
            call.deaths += isinstance(error, EngineDied)
        for call in calls:
            self._carry_out([call], engine, flight)

    def _is_bad_luck(self, call: Call, error: Exception) -> bool:
        """Tell whether an engine died that may do so by another's fault, and is worth a new try."""
        return isinstance(error, EngineDied) and call.deaths + 1 < MOST_DEATHS and not self._ended

    def _refuse(self, *calls: Call) -> None:
        """Fail calls: the service ends."""
        for call in calls:
            call.answer.set_exception(Busy("the service is shutting down; try again"))

    def _refuse_given_up(self) -> None:
        """Let go calls that nobody waits for any more."""
        for call in [call for call in self._waiting if call.is_given_up]:
            self._waiting.remove(call)
            call.answer.set_exception(Cancelled("cancelled"))


def _asked(engine: Any, call: Call, items: list[Any]) -> list[Any]:
    """Call an engine."""
    if call.kind == "infill":
        return [engine.infill(items[0])]
    if call.kind == "generate_several":
        return list(engine.generate_several(items, call.draws, call.keep))
    return list(getattr(engine, call.kind)(items))


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
        if name.startswith("__") or name in ("_batcher", "inflight_batch"):
            raise AttributeError(name)
        found = getattr(self._batcher.engine, name)
        is_shared = name == "generate_several" and self._batcher.admits
        return self._generate_several if is_shared else found

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

    def _ask(self, kind: str, items: Sequence[Any], **options: Any) -> list[Any]:
        if self._cancelled is not None and self._cancelled.is_set():
            raise Cancelled("cancelled")
        return self._batcher.ask(kind, items, cancelled=self._cancelled, **options)

    def _generate_several(
        self, requests: Sequence[GenerateRequest], draws: int, keep: int
    ) -> list[list[DualCodes]]:
        return self._ask("generate_several", requests, draws=draws, keep=keep)

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
