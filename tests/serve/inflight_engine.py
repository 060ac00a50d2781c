"""A fake engine that takes requests in flight, for processes that can import it."""

from __future__ import annotations

import time
from collections.abc import Sequence

from stepedit_core import DualCodes, EngineConfig, EngineError, GenerateRequest, SpeechEngine
from stepedit_core.errors import StepeditError
from stepedit_core.testing import FakeEngine

__all__ = ["InflightEngine", "load"]

STEP_SECONDS = 0.002
STEPS = {"long": 2000, "endless": 10**9}
"""Steps that requests take by the first word that they say; others take three."""


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
        self._left: dict[int, list[int]] = {}
        self._asked: dict[int, tuple[GenerateRequest, int, int]] = {}

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._asked)

    def add(self, key: int, request: GenerateRequest, draws: int = 1, keep: int = 1) -> None:
        """Take a request."""
        first = str(request.utterance.transcript).split()[0]
        self._left[key], self._asked[key] = [STEPS.get(first, 3)], (request, draws, keep)
        self._engine.most = max(self._engine.most, len(self))

    def abort(self, key: int) -> None:
        """Give a request up."""
        if self._asked.pop(key, None) is not None:
            self._engine.aborted += 1

    def step(self, seconds: float = 0.0) -> list[tuple[int, list[DualCodes] | StepeditError]]:
        """Go on for a time."""
        until = time.monotonic() + seconds
        ended: list[tuple[int, list[DualCodes] | StepeditError]] = []
        while self._asked and not ended and time.monotonic() <= until:
            time.sleep(STEP_SECONDS)
            for key, (request, draws, keep) in list(self._asked.items()):
                self._left[key][0] -= 1
                if self._left[key][0] > 0:
                    continue
                try:
                    ended.append((key, self._engine.generate_several([request], draws, keep)[0]))
                except EngineError as error:
                    if type(error) is not EngineError:  # not this request's fault
                        raise
                    ended.append((key, error))
                del self._asked[key]
        return ended


def load(config: EngineConfig) -> SpeechEngine:
    """Return the engine."""
    return InflightEngine(str(config.name_or_path))
