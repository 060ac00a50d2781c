"""Protocol of engines that take requests while they generate others, torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from stepedit_core.engine import GenerateRequest, InfillRequest, SpeechEngine
from stepedit_core.errors import StepeditError
from stepedit_core.utterance import Utterance

if TYPE_CHECKING:
    from stepedit_core.edit import Edit

__all__ = ["InflightBatch", "InflightEngine", "StreamRequest", "inflight_kinds"]


@dataclass(frozen=True)
class StreamRequest:
    """An edit whose sound is wanted while the model still generates; as of `Engine.stream`."""

    utterance: Utterance
    edit: Edit
    seed: int = 0


class InflightBatch(Protocol):
    """Requests that are generated side by side; they come and go between steps.

    What a request gives does not depend on the others. One thread at a time uses it.
    """

    def __len__(self) -> int:
        """Return how many requests have come and not gone."""

    def add(
        self,
        key: int,
        request: GenerateRequest | InfillRequest | StreamRequest,
        draws: int = 1,
        keep: int = 1,
    ) -> None:
        """Take a request under a new number, of a kind in `inflight_kinds`; it begins with a step.

        Draws and kept answers are those of `ChoosingEngine.generate_several`.
        """

    def abort(self, key: int) -> None:
        """Give a request up; one that has gone is passed over."""

    def step(self, seconds: float = 0.0) -> list[tuple[int, list[Any] | StepeditError]]:
        """Go on by a step, or by several until a time has passed or there is news.

        What it raises is no single request's fault: all are lost then.

        Returns:
            The answers to each request that has ended, or why it has none: codes, or one
            `Infilled`. A stream gives each of its chunks, float32, in a list, and [] at its end.
        """


class InflightEngine(SpeechEngine, Protocol):
    """Optional ability of an engine: take requests while others are generated.

    One that takes more than `GenerateRequest` says so by ``inflight_kinds``.
    """

    def inflight_batch(self) -> InflightBatch:
        """Return a batch without requests; raises EngineError where there can be none."""


def inflight_kinds(engine: SpeechEngine) -> tuple[str, ...]:
    """Return what joins a generation in flight: of "generate", "infill" and "stream"."""
    return tuple(getattr(engine, "inflight_kinds", ("generate",)))
