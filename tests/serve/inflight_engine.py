"""A fake engine that takes requests in flight, for processes that can import it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from stepedit_core import (
    DualCodes,
    Edit,
    EngineConfig,
    EngineError,
    GenerateRequest,
    SpeechEngine,
    StreamRequest,
    Utterance,
)
from stepedit_core.engine import InfillRequest
from stepedit_core.errors import StepeditError
from stepedit_core.testing import FakeEngine

__all__ = ["InflightEngine", "load"]

STEP_SECONDS = 0.002
STEPS = {"long": 2000, "streamed": 100, "endless": 10**9}
"""Steps that requests take by the first word that they say; others take three."""
CHUNK_STEPS = 5
"""Steps from one chunk of a stream to the next."""


class InflightEngine(FakeEngine):
    """Takes as many steps as the words say; dies of the word "bad", refuses "wrong".

    Attributes:
        most: requests that were generated at once, at most.
        aborted: requests that were given up.
    """

    def __init__(self, name: str = "fake") -> None:
        """Begin with nothing."""
        super().__init__(name)
        self.most = self.aborted = 0

    inflight_kinds = ("generate", "infill", "stream")

    def stream(self, utterance: Utterance, edit: Edit, *, seed: int = 0) -> Iterator[Any]:
        """Yield a chunk every few steps; the words say how many steps there are."""
        for number in range(steps_of(utterance) // CHUNK_STEPS):
            time.sleep(STEP_SECONDS)
            yield np.full(240, number + seed, np.float32)

    def inflight_batch(self) -> InflightBatch:
        """Return a batch."""
        return InflightBatch(self)

    def generate(self, requests: Sequence[GenerateRequest]) -> list[DualCodes]:
        """Return codes; raises for the words "bad" and "wrong"."""
        for request in requests:
            words = str(request.utterance.transcript)
            if "bad" in words:
                raise RuntimeError("out of memory")
            if "wrong" in words:
                raise EngineError("wrong words")
        return super().generate(requests)

    def generate_several(
        self, requests: Sequence[GenerateRequest], draws: int, keep: int
    ) -> list[list[DualCodes]]:
        """Return the same codes several times."""
        return [found * min(draws, keep) for found in map(self.generate, [[r] for r in requests])]

    def figures(self) -> tuple[int, int]:
        """Return how many requests were generated at once at most, and how many were given up."""
        return self.most, self.aborted


class InflightBatch:
    """Requests that are generated side by side."""

    def __init__(self, engine: InflightEngine) -> None:
        """Take the engine."""
        self._engine = engine
        self._left: dict[int, int] = {}
        self._asked: dict[int, tuple[Any, int, int]] = {}

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._asked)

    def add(self, key: int, request: Any, draws: int = 1, keep: int = 1) -> None:
        """Take a request."""
        self._left[key], self._asked[key] = steps_of(request.utterance), (request, draws, keep)
        self._engine.most = max(self._engine.most, len(self))

    def abort(self, key: int) -> None:
        """Give a request up."""
        if self._asked.pop(key, None) is not None:
            self._engine.aborted += 1

    def step(self, seconds: float = 0.0) -> list[tuple[int, list[Any] | StepeditError]]:
        """Go on for a time."""
        until = time.monotonic() + seconds
        news: list[tuple[int, list[Any] | StepeditError]] = []
        while self._asked and not news and time.monotonic() <= until:
            time.sleep(STEP_SECONDS)
            for key in list(self._asked):
                news += self._step(key)
        return news

    def _step(self, key: int) -> list[tuple[int, list[Any] | StepeditError]]:
        """Go on with one; return what is new."""
        request, draws, keep = self._asked[key]
        self._left[key] -= 1
        done = steps_of(request.utterance) - self._left[key]
        if isinstance(request, StreamRequest) and done % CHUNK_STEPS == 0:
            number = done // CHUNK_STEPS - 1
            return [(key, [np.full(240, number + request.seed, np.float32)])]
        if self._left[key] > 0:
            return []
        try:
            return [(key, self._answers(request, draws, keep))]
        except EngineError as error:
            if type(error) is not EngineError:  # not this request's fault
                raise
            return [(key, error)]
        finally:
            self._asked.pop(key)

    def _answers(self, request: Any, draws: int, keep: int) -> list[Any]:
        """Return what a request gives at its end."""
        if isinstance(request, StreamRequest):
            return []
        if isinstance(request, InfillRequest):
            return [self._engine.infill(request)]
        return self._engine.generate_several([request], draws, keep)[0]


def steps_of(utterance: Utterance) -> int:
    """Return how many steps a request takes."""
    return STEPS.get(str(utterance.transcript).split()[0], 3)


def load(config: EngineConfig) -> SpeechEngine:
    """Return the engine."""
    return InflightEngine(str(config.name_or_path))
