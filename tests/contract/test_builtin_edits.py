"""The contract that third parties keep, run over every edit that ships: no privileged path."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from stepedit_core.edit import Edit
from stepedit_core.pairs import CorpusItem
from stepedit_core.registry.registry import Registry, set_registry
from stepedit_core.testing.checks_bundle import BUNDLE_CHECKS
from stepedit_core.testing.checks_class import CLASS_CHECKS
from stepedit_core.testing.checks_edit import EDIT_CHECKS
from stepedit_core.testing.corpus import contract_corpus
from stepedit_core.testing.subject import Subject
from stepedit_core.utterance import Utterance

BUILTIN = (
    "clone",
    "delete",
    "denoise",
    "dereverb",
    "emotion",
    "insert",
    "masked",
    "paralinguistic",
    "pause",
    "pitch",
    "redact",
    "remove_fillers",
    "replace",
    "rewrite",
    "scene",
    "separate",
    "speed",
    "style",
    "trim_silence",
    "voice",
    "volume",
)

OF_WORDS = ("delete", "insert", "remove_fillers", "replace", "rewrite")
"""Edits whose pair builders let a recogniser hear each recording, and align and cut it."""


def few_recordings(folder: Path) -> list[CorpusItem]:
    """Return two recordings of the corpus with words, and one without: seconds go into each."""
    kept = ("packaged-office", "packaged-surpassed", "synthetic-low-neutral")
    return [item for item in contract_corpus(folder) if item.id in kept]


@cache
def registry() -> Registry:
    """Every installed plugin of this distribution, and no other."""
    found = Registry(disabled=()).load()
    for info in found.plugins():
        if info.distribution != "stepedit":
            found.unregister(info.name)
    return found


@cache
def subject(name: str) -> Subject:
    """The edit of a name, with the requests of its own cases."""
    set_registry(registry())
    found = Subject.of(registry().edit_class(name), registry())
    if name in OF_WORDS:
        found.corpus = few_recordings
    return found


@pytest.fixture(autouse=True)
def _registered() -> Any:
    set_registry(registry())
    yield
    set_registry(None)


def test_built_in_edits_are_there() -> None:
    assert tuple(registry().edits()) == BUILTIN
    assert [info.error for info in registry().plugins() if info.error] == []


@pytest.mark.parametrize("name", BUILTIN)
@pytest.mark.parametrize("check", CLASS_CHECKS, ids=lambda check: check.__name__)
def test_class(name: str, check: Callable[[Subject], None]) -> None:
    check(subject(name))


@pytest.mark.parametrize("name", BUILTIN)
@pytest.mark.parametrize("check", BUNDLE_CHECKS, ids=lambda check: check.__name__)
def test_bundle(name: str, check: Callable[[Subject], None]) -> None:
    check(subject(name))


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("name", BUILTIN)
@pytest.mark.parametrize("check", EDIT_CHECKS, ids=lambda check: check.__name__)
def test_request(name: str, check: Callable[[Subject, Edit, Utterance], None], place: int) -> None:
    samples = subject(name).samples
    if place >= len(samples):
        pytest.skip(f"{name} has {len(samples)} sample requests")
    check(subject(name), *samples[place])
