"""Fake engines that keep what they are asked to decode."""

from __future__ import annotations

from collections.abc import Sequence

from stepedit_core import Utterance
from stepedit_core.codes import DualCodes
from stepedit_core.engine import DecodeRequest
from stepedit_core.testing import FakeEngine

__all__ = ["AlignedEngine", "ListeningEngine"]


class ListeningEngine(FakeEngine):
    """Keeps what it is asked to encode and to decode."""

    def __init__(self) -> None:
        super().__init__()
        self.decoded: list[DecodeRequest] = []
        self.encoded: list[Utterance] = []

    def encode(self, utterances: Sequence[Utterance]) -> list[DualCodes]:
        self.encoded += utterances
        return super().encode(utterances)

    def decode(self, requests: list[DecodeRequest]) -> list[Utterance]:  # type: ignore[override]
        self.decoded += requests
        return super().decode(requests)


class AlignedEngine(ListeningEngine):
    """A fake engine whose decoder looks sound up at its place."""

    def aligns_references(self) -> bool:
        return True
