"""What a chain sees as its engine: calls go to the batcher, which many chains share."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from stepedit_core import DecodeRequest, DualCodes, GenerateRequest, Utterance
from stepedit_serve.batching import Batcher
from stepedit_serve.errors import Cancelled

__all__ = ["BatchedEngine", "batched_engine"]


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
        if name == "decode_excerpts":
            return self._decode_excerpts
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

    def _decode_excerpts(
        self, requests: Sequence[DecodeRequest], excerpts: Sequence[tuple[int, int]]
    ) -> list[Utterance]:
        return self._ask("decode_excerpts", list(zip(requests, excerpts, strict=True)))

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
