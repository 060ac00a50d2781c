"""Engines for many requests: what their chains ask at the same time is one batch.

Each chain runs in a thread of its own and sees an engine. Its calls are put down here; an engine
that is free takes its share of those of a kind, up to a limit, as one batch. What the language
model is asked, changed words and streams included, joins what an engine generates already, between
two of its steps, and leaves when it has ended or nobody wants it (`inflight`); encoding and
decoding take turns with it, and go to the engine that has met the recording, unless another would
have nothing to do meanwhile. An item of a batch gets the codes that it would get alone, which
engines promise, and samples that differ by rounding, so that nobody's answer depends on who else
was there.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import wait
from contextlib import contextmanager
from itertools import count
from typing import Any

from stepedit_core import (
    EngineError,
    SpeechEngine,
    StreamRequest,
    counted,
)
from stepedit_serve.calls import ALONE, GENERATES, LONGEST_WORK, SPLIT, Call, Draws, Homes
from stepedit_serve.engine_process import EngineDied, EngineProcess
from stepedit_serve.errors import Busy, Cancelled
from stepedit_serve.inflight import SLICE_SECONDS, Flight, flight_of
from stepedit_serve.processes import NICENESS

__all__ = ["Batcher"]

MOST_DEATHS = 3
"""Engines' processes that may die over one call before it fails."""
LOG = logging.getLogger("stepedit.serve")
GATHER_SHARE = 0.1
"""How long a batch waits for requests that are under way and not yet waiting, as a share of the
time that the last batch of its kind took."""
SHORTEST_GATHER, LONGEST_GATHER = 0.02, 0.5
"""Bounds of that, in seconds."""
LONGEST_BATCH = 1.0
"""Seconds that encoding or decoding of several calls may be expected to take together."""
SHORT_AUDIO = 20.0
"""Seconds of audio that are encoded or decoded together however long that takes: on a machine that
has much else to do everything takes long, and calls one by one take longest."""
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
        self._homes = Homes(len(self.engines))
        self._chains = count()
        self._took: dict[str, float] = {}
        self._pace: dict[str, float] = {}
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
        parts = [[item] for item in items] if kind in SPLIT else [items] if items else []
        chain = next(self._chains)
        calls = [
            Call(kind, part, place=place, chain=chain, **options)
            for place, part in enumerate(parts)
        ]
        self._put_down(*calls)
        wait([call.answer for call in calls])
        return [answer for call in calls for answer in call.answer.result()]

    def _put_down(self, *calls: Call) -> None:
        """Have calls wait for an engine."""
        with self._changed:
            if self._ended:
                raise Busy("the service is shutting down; try again")
            self._waiting += calls
            self._changed.notify_all()

    def stream(self, request: StreamRequest, cancelled: threading.Event) -> Iterator[Any]:
        """Yield the chunks of a stream as they come; it shares an engine where that can.

        Args:
            request: what is asked.
            cancelled: set once nobody wants it any more.
        """
        flight = self._flights[0]
        if flight is None or "stream" not in flight.kinds:
            engine: Any = self.free_engine()
            yield from engine.stream(request.utterance, request.edit, seed=request.seed)
            return
        call = Call("stream", [request], cancelled=cancelled, chain=next(self._chains))
        self._put_down(call)
        try:
            while (chunk := call.chunks.get()) is not None:
                yield chunk
            call.answer.result()
        finally:
            cancelled.set()

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
                while not (self._open(place) or self._ended or flight):
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
                    self._carried += chains_of(batch)
                    self._homes.note(batch, place)
                    self._changed.notify_all()  # others may help with what waits for this one
            if batch:
                self._carry_out(batch, self.engines[place], flight)
                with self._changed:
                    self._busy.discard(place)
                    self._carried -= chains_of(batch)
            if flight:
                self._generate(flight, self.engines[place])

    def _admit(self, flight: Flight) -> None:
        """Have waiting requests join what an engine generates, as many as are its share."""
        own = [call for call in self._waiting if call.kind in flight.kinds]
        rows = sum(map(self._draws.rows, own)) + sum(map(self._rows_of, range(len(self.engines))))
        fair = math.ceil(rows / len(self.engines))
        for call in own:
            if not flight.has_place_for(call):
                continue
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
        kind = self._waiting[0].kind
        own = [call for call in self._waiting if call.kind == kind]
        rows = sum(map(self._draws.rows, own))
        carried = self._carried + sum(len(one) for one in self._flights if one is not None)
        return chains_of(self._waiting) >= self._under_way - carried or rows >= self._most(kind)

    def _most(self, kind: str) -> int:
        """Return how many rows a batch of a kind may have."""
        return max(self.max_batch, DRAWN_AT_ONCE) if kind in GENERATES else self.max_batch

    def _open(self, place: int) -> list[Call]:
        """Return the waiting calls that an engine may take, in the order of their turns.

        Those about a recording that another engine has met are its, while it has other work or
        that one has none.
        """
        own, foreign = [], []
        for call in self._waiting:
            home = self._homes.of(call)
            if home in (None, place):
                own.append(call)
            elif home in self._busy or self._flights[home]:
                foreign.append(call)
        return sorted(own or foreign, key=lambda call: call.turn)

    def _take(self, place: int) -> list[Call]:
        """Take calls of one kind, that of whose turn it is; free engines get equal shares."""
        flight = self._flights[place]
        if flight and flight.owed > 0:  # generation has its turn
            return []
        able = [
            call for call in self._open(place) if flight is None or call.kind not in flight.kinds
        ]
        if not able:  # another engine's thread has taken them
            return []
        kind = able[0].kind
        own = [call for call in able if call.kind == kind]
        most = min(self._most(kind), self._share(own, place))
        taken: list[Call] = []
        rows, seconds, audio = 0, 0.0, 0.0
        for call in own:
            more, longer = self._draws.rows(call), self._expected(call)
            heard = call.audio_seconds if kind in SPLIT else 0.0
            # Who asks for much waits; and where a batch gains little, as on a CPU, a long one keeps
            # others waiting, and its engine's neighbour from helping.
            is_short = seconds + longer <= (LONGEST_BATCH if call.place == 0 else LONGEST_WORK)
            is_short |= call.place == 0 and audio + heard <= SHORT_AUDIO
            fits = rows + more <= most and is_short
            if not taken or (fits and kind not in ALONE):
                taken.append(call)
                rows, seconds, audio = rows + more, seconds + longer, audio + heard
        for call in taken:
            self._waiting.remove(call)
        return taken

    def _share(self, calls: Sequence[Call], place: int) -> int:
        """Return an engine's rows of calls: all that it alone knows, its part of all others."""
        rows = shared = 0
        others = len(self.engines) - len(self._busy) - 1
        for call in calls:
            home, more = self._homes.of(call), self._draws.rows(call)
            rows += more
            shared += more if home != place else 0
        if any(self._homes.of(call) not in (None, place) for call in calls):
            others += 1  # the engine that it helps goes on, too
        return rows - shared * others // (others + 1)

    def _expected(self, call: Call) -> float:
        """Return the seconds that encoding or decoding will take, by what it took before."""
        return self._pace.get(call.kind, 0.0) * call.audio_seconds if call.kind in SPLIT else 0.0

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
        if kind in SPLIT:
            of = sum(call.audio_seconds for call in batch)
            self._pace[kind] = self._took[kind] / max(0.1, of)
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


def chains_of(calls: Iterable[Call]) -> int:
    """Return how many chains calls belong to."""
    return len({call.chain for call in calls})


def _asked(engine: Any, call: Call, items: list[Any]) -> list[Any]:
    """Call an engine."""
    if call.kind == "infill":
        return [engine.infill(items[0])]
    if call.kind == "stream":
        (asked,) = items
        known = call.given  # before another engine's process died
        for number, chunk in enumerate(engine.stream(asked.utterance, asked.edit, seed=asked.seed)):
            if call.is_given_up:
                break
            if number >= known:
                call.give(chunk)
        return [[]]
    if call.kind == "generate_several":
        return list(engine.generate_several(items, call.draws, call.keep))
    if call.kind == "decode_excerpts":
        return list(engine.decode_excerpts(*map(list, zip(*items, strict=True))))
    return list(getattr(engine, call.kind)(items))


def lower_priority(niceness: int) -> None:
    """Make the present thread give way to those that answer requests, where the system can."""
    try:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)
    except (AttributeError, OSError):  # not Linux, or not allowed
        return
