"""What an engine generates in flight, and for which calls.

An engine that offers ``inflight_batch`` takes requests while it generates others: a short request
that comes late does not wait for the long ones that came before, and rows that nobody wants leave.
Changed words and streams join likewise where the engine takes them.
"""

from __future__ import annotations

from itertools import count
from typing import Any

from stepedit_core import EngineError, InflightBatch, SpeechEngine, StepeditError
from stepedit_serve.calls import GENERATES, Call, Draws
from stepedit_serve.errors import Cancelled

__all__ = ["SLICE_SECONDS", "Flight", "flight_of"]

SLICE_SECONDS = 0.05
"""How long an engine generates before it looks at what else has come."""


class Flight:
    """The calls that one engine generates for; its thread alone changes them.

    Attributes:
        kinds: of calls that it takes.
        rows: that their requests take.
        owed: seconds of other work that they have waited for, and may now take themselves.
    """

    def __init__(self, engine: Any, batch: InflightBatch, draws: Draws) -> None:
        """Begin without calls.

        Args:
            engine: makes another batch when one is lost.
            batch: of the engine.
            draws: how many rows a call takes.
        """
        self._engine, self._batch, self._draws = engine, batch, draws
        self._numbers = count()
        self._items: dict[int, tuple[Call, int]] = {}
        self._answers: dict[Call, list[Any]] = {}
        told = getattr(engine, "inflight_kinds", ())
        self.kinds = {*GENERATES, *({"infill", "stream"} & set(told))}
        self.rows = 0
        self.owed = 0.0

    def has_place_for(self, call: Call) -> bool:
        """Whether a call may join: one change of words at a time, which is many rows by itself."""
        return call.kind != "infill" or all(one.kind != "infill" for one in self._answers)

    def __len__(self) -> int:
        """Return how many calls there are."""
        return len(self._answers)

    @property
    def calls(self) -> list[Call]:
        """The calls, in the order in which they came."""
        return list(self._answers)

    def add(self, call: Call) -> None:
        """Take a call; its requests begin with the next step."""
        self._answers[call] = [None] * len(call.items)
        self.rows += self._draws.rows(call)
        for place, request in enumerate(call.items):
            number = next(self._numbers)
            self._items[number] = (call, place)
            self._batch.add(number, request, call.draws, call.keep)

    def step(self, seconds: float) -> None:
        """Go on for a time; answer the calls that have ended, and let go those given up.

        What it raises has lost the batch: ``lost`` says whose it was.
        """
        for call in [call for call in self._answers if call.is_given_up]:
            self._end(call)
            call.answer.set_exception(Cancelled("cancelled"))
        if not self._answers:
            return
        for number, found in self._batch.step(seconds):
            if number not in self._items:  # another of its call has failed
                continue
            call, place = self._items[number]
            if call.kind == "stream" and not isinstance(found, StepeditError) and found:
                call.give(found[0])
                continue
            del self._items[number]
            if isinstance(found, StepeditError):
                self._end(call)
                call.answer.set_exception(found)
                continue
            whole = call.kind in ("generate_several", "stream")
            self._answers[call][place] = found if whole else found[0]
            if all(answer is not None for answer in self._answers[call]):
                answers = self._answers[call]
                self._end(call)
                call.answer.set_result(answers)

    def _end(self, call: Call) -> None:
        """Forget a call; what of it is still generated is given up."""
        del self._answers[call]
        self.rows -= self._draws.rows(call)
        for number in [number for number, (own, _) in self._items.items() if own is call]:
            del self._items[number]
            self._batch.abort(number)

    def lost(self) -> list[Call]:
        """Begin again with another batch; return the calls that the old one had."""
        calls = self.calls
        self._items.clear()
        self._answers.clear()
        self.rows = 0
        self._batch = self._engine.inflight_batch()
        return calls


def flight_of(engine: SpeechEngine, draws: Draws) -> Flight | None:
    """Return an engine's flight, None where it answers batches as a whole."""
    begin = getattr(engine, "inflight_batch", None)
    if begin is None:
        return None
    try:
        return Flight(engine, begin(), draws)
    except EngineError:
        return None
