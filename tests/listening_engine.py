"""Fake engines that keep what they are asked to decode."""

from __future__ import annotations

from stepedit_core import Utterance
from stepedit_core.engine import DecodeRequest
from stepedit_core.testing import FakeEngine

__all__ = ["AlignedEngine", "ListeningEngine"]


class ListeningEngine(FakeEngine):
    """Keeps what it is asked to decode."""

    def __init__(self) -> None:
        super().__init__()
        self.decoded: list[DecodeRequest] = []

    def decode(self, requests: list[DecodeRequest]) -> list[Utterance]:  # type: ignore[override]
        self.decoded += requests
        return super().decode(requests)


class AlignedEngine(ListeningEngine):
    """A fake engine whose decoder looks sound up at its place."""

    def aligns_references(self) -> bool:
        return True
