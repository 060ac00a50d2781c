"""Fixtures of all tests: a registry of toy edits and short recordings; what was not run is said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from stepedit_core.registry.registry import Registry, set_registry
from stepedit_core.testing import FakeEngine, speech_like
from stepedit_core.utterance import Utterance
from tests import toy_edits

TOYS = Path(toy_edits.__file__)
LEFT_OUT: Counter[str] = Counter()
"""How many tests were left out by which of the tier's marks."""


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    for mark in ("slow", "gpu"):
        LEFT_OUT[mark] += sum(item.get_closest_marker(mark) is not None for item in items)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):  # a process of pytest-xdist
        session.config.workeroutput["left_out"] = dict(LEFT_OUT)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    # Every process collects all tests, so that one process's counts are all there is.
    LEFT_OUT.update(Counter(getattr(node, "workeroutput", {}).get("left_out", {})) - LEFT_OUT)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for mark, count in LEFT_OUT.items():
        if count:
            terminalreporter.write_line(f"not run: {count} marked {mark} (pytest -m {mark})")


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
