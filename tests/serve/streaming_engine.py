"""A fake engine that streams and answers questions, for processes that can import it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from stepedit_core import (
    DecodeRequest,
    Edit,
    EngineConfig,
    EngineError,
    SpeechEngine,
    Utterance,
)
from stepedit_core.codes import GROUP_SECONDS
from stepedit_core.testing import FakeEngine
from stepedit_core.utterance import Span

__all__ = ["CHUNKS", "CHUNK_SECONDS", "StreamingEngine", "load"]

CHUNKS, CHUNK_SECONDS = 2000, 0.02


class StreamingEngine(FakeEngine):
    """Streams a tone for 40 s; counts the chunks that it made."""

    made = 0
    excerpt_context = 0.25

    def knows(self, edit: Edit) -> bool:
        """Say that all edits are known but clone."""
        return edit.name != "clone"

    def count(self) -> int:
        """Return how many chunks were streamed."""
        return self.made

    def decode_excerpts(
        self, requests: Sequence[DecodeRequest], excerpts: Sequence[tuple[int, int]]
    ) -> list[Utterance]:
        """Return parts of what ``decode`` gives."""
        return [
            audio.slice(Span(first * GROUP_SECONDS, stop * GROUP_SECONDS))
            for audio, (first, stop) in zip(self.decode(requests), excerpts, strict=True)
        ]

    def stream(self, utterance: Utterance, edit: Edit, *, seed: int = 0) -> Iterator[Any]:
        """Yield chunks; raises EngineError for what has no sound."""
        if not np.any(utterance.samples):
            raise EngineError("there is nothing to hear")
        for _ in range(CHUNKS):
            time.sleep(CHUNK_SECONDS)
            self.made += 1
            yield np.full(480, 0.1, np.float32)


def load(config: EngineConfig) -> SpeechEngine:
    """Return the engine."""
    return StreamingEngine(str(config.name_or_path))
