"""Fixtures of all tests: a registry of toy edits, a command runner, and short recordings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stepedit_core.registry.registry import Registry, set_registry
from stepedit_core.testing import FakeEngine, speech_like
from stepedit_core.utterance import Utterance
from tests import toy_edits

TOYS = Path(toy_edits.__file__)


@pytest.fixture
def toys() -> Iterator[Registry]:
    """The process's registry holds the toy edits alone, for the length of a test."""
    registry = Registry(disabled=())
    registry.register(toy_edits, "toys")
    set_registry(registry)
    yield registry
    set_registry(None)


@pytest.fixture
def speech() -> Utterance:
    return speech_like(1.2)


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def wav(tmp_path: Path, speech: Utterance) -> Path:
    """A short mono recording on disk."""
    return speech.write(tmp_path / "in.wav")
