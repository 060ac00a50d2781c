"""What chains ask of the engine, how many rows of a batch that takes, and which engine it knows."""

from __future__ import annotations

import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from stepedit_core import GenerateRequest, GenerationPolicy, SpeechEngine

__all__ = ["ALONE", "GENERATES", "LONGEST_WORK", "SPLIT", "Call", "Draws", "Homes"]

GENERATES = ("generate", "generate_several")
"""Kinds of calls that the language model answers step by step."""
SPLIT = ("encode", "decode", "decode_keeping")
"""Kinds of calls whose items are carried out one by one where a batch of them takes long."""
ALONE = ("infill", "stream", "decode_excerpts")
"""Kinds of calls that share no batch with others. Excerpts are those of all draws of an edit, a
batch already, and their sound decides which draw is kept."""
LONGEST_WORK = 0.5
"""Seconds that a batch takes at most where it holds several items of one chain."""
KNOWN_RECORDINGS = 64
"""Recordings of which an engine keeps what it has made of them (`EngineConfig.cache_size`)."""
WEIGHT_OF_INFILL = 16
"""Rows that changed words count as where engines share requests: they draw many versions."""


@dataclass(eq=False)
class Call:
    """What one chain asks of the engine.

    Attributes:
        kind: name of the engine's method.
        items: what it is asked for; of ``decode_excerpts`` pairs of request and excerpt.
        draws: answers that are drawn to each item at least, of ``generate_several``.
        keep: answers to each item that are returned at most, likewise.
        cancelled: set once nobody waits for the answer any more.
        answer: one for each item.
        since: when it was put down.
        place: among the calls that its chain put down together, from 0.
        chain: whose it is, by a number.
        deaths: processes of engines that have died over it, by its fault or another's.
        chunks: of a stream, what has come and is not fetched, then None.
        given: of a stream, how many chunks have come.
        recording: that is encoded, or that what is decoded refers to; None of other kinds.
    """

    kind: str
    items: Sequence[Any]
    draws: int = 1
    keep: int = 1
    cancelled: threading.Event | None = None
    answer: Future[list[Any]] = field(default_factory=Future)
    since: float = field(default_factory=time.monotonic)
    place: int = 0
    chain: int = 0
    deaths: int = 0
    chunks: queue.SimpleQueue[Any] = field(default_factory=queue.SimpleQueue)
    given: int = 0
    recording: str | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        """Name the recording, and have whoever fetches a stream's chunks learn of its end."""
        if self.items and (self.kind in SPLIT or self.kind == "decode_excerpts"):
            first = self.items[0][0] if self.kind == "decode_excerpts" else self.items[0]
            self.recording = getattr(getattr(first, "reference", first), "digest", None)
        self.answer.add_done_callback(lambda _: self.chunks.put(None))

    def give(self, chunk: Any) -> None:
        """Give the next chunk of a stream."""
        self.given += 1
        self.chunks.put(chunk)

    @property
    def turn(self) -> float:
        """When its turn is: whoever puts down many lets others go before all but the first."""
        return self.since + self.place * LONGEST_WORK

    @property
    def audio_seconds(self) -> float:
        """How much audio is encoded or decoded."""
        return float(sum(getattr(item, "codes", item).seconds for item in self.items))

    @property
    def is_given_up(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self.cancelled is not None and self.cancelled.is_set()


class Draws:
    """How many answers an engine draws for a request, to keep the best: rows of its batch."""

    def __init__(self, engine: SpeechEngine) -> None:
        """Read the engine's rules; one that says nothing of them draws one."""
        try:
            told = engine.describe().get("generation", {})
            self._policy = GenerationPolicy.model_validate(told)
        except (AttributeError, ValueError):
            self._policy = GenerationPolicy()

    def of(self, request: GenerateRequest, draws: int = 1) -> int:
        """Return the answers that a request draws at most, where ``draws`` are asked for."""
        if request.words is None:
            return 1
        return max(draws, self._policy.for_edit(*request.plan.rules).best_of)

    def rows(self, call: Call) -> int:
        """Return how many rows of a batch a call takes."""
        if call.kind == "infill":
            return WEIGHT_OF_INFILL
        if call.kind not in GENERATES:
            return len(call.items)
        return sum(self.of(item, call.draws) for item in call.items)


class Homes:
    """Which of several engines has met a recording: the others would have to encode it again."""

    def __init__(self, engines: int) -> None:
        """Know of none."""
        self._most = engines * KNOWN_RECORDINGS
        self._places: OrderedDict[str, int] = OrderedDict()

    def of(self, call: Call) -> int | None:
        """Return the place of the engine that knows what a call is about, None if none does."""
        return None if call.recording is None else self._places.get(call.recording)

    def note(self, calls: Sequence[Call], place: int) -> None:
        """Remember that an engine has been given calls; those longest ago are forgotten."""
        for recording in filter(None, (call.recording for call in calls)):
            self._places[recording] = place
            self._places.move_to_end(recording)
        while len(self._places) > self._most:
            self._places.popitem(last=False)
