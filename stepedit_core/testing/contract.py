"""The contract kit: every rule that an edit plugin keeps, as pytest tests or as a plain run."""

from __future__ import annotations

import sys
import unittest
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

from stepedit_core.edit import Edit
from stepedit_core.pairs import CorpusItem
from stepedit_core.registry.registry import Registry, get_registry
from stepedit_core.scoring import Measures
from stepedit_core.testing.checks_bundle import BUNDLE_CHECKS
from stepedit_core.testing.checks_class import CLASS_CHECKS
from stepedit_core.testing.checks_edit import EDIT_CHECKS
from stepedit_core.testing.corpus import contract_corpus
from stepedit_core.testing.fake_measures import FakeMeasures
from stepedit_core.testing.signals import speech_like
from stepedit_core.testing.subject import ContractFailure, Subject
from stepedit_core.utterance import Utterance

__all__ = ["CheckResult", "EditContract", "run_contract"]

Status = Literal["passed", "skipped", "failed"]


@dataclass(frozen=True)
class CheckResult:
    """Result of one contract check.

    Attributes:
        check: name of the check.
        about: the edit, or the request that it looked at.
        status: passed, skipped or failed.
        text: why it was skipped or failed.
    """

    check: str
    about: str
    status: Status
    text: str = ""


class EditContract:
    """Tests of one edit class: subclass it in a test file and name requests to try.

    A subclass whose ``edits`` is empty tries what the plugin's own cases ask for.

    Example:
        class TestShout(EditContract):
            edits = (Shout(level=1), Shout(level=3))
            invalid = ({"level": 9}, {"colour": "red"})
    """

    edit_class: ClassVar[type[Edit] | None] = None
    """The class under test; taken from ``edits`` where it is not set."""
    edits: ClassVar[Sequence[Edit]] = ()
    """Requests that make sense."""
    invalid: ClassVar[Sequence[Mapping[str, Any]]] = ()
    """Parameters that must be refused."""

    @classmethod
    def utterance(cls) -> Utterance:
        """Return speech that the requests fit; override it where the words matter."""
        return speech_like()

    @classmethod
    def corpus(cls, folder: Path) -> list[CorpusItem]:
        """Write the corpus that the pair builder is checked on; override it for other labels."""
        return contract_corpus(folder)

    @classmethod
    def measures(cls) -> Measures:
        """Return the scorer's measures; override it for a judge that answers."""
        return FakeMeasures()

    @classmethod
    def subject(cls) -> Subject:
        """Gather what is checked."""
        chosen = cls.edit_class or (type(cls.edits[0]) if cls.edits else None)
        if chosen is None:
            raise TypeError(f"{cls.__name__} sets neither edits nor edit_class")
        _register_source(chosen)
        if cls.edits:
            subject = Subject(chosen, [(edit, cls.utterance()) for edit in cls.edits])
        else:
            subject = Subject.of(chosen)
        subject.invalid, subject.corpus = cls.invalid, cls.corpus
        subject.measures = cls.measures()
        return subject

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """Make one test of each check, and of each check and request."""
        if "class_check" in metafunc.fixturenames:
            checks = (*CLASS_CHECKS, *BUNDLE_CHECKS)
            metafunc.parametrize("class_check", checks, ids=[check.__name__ for check in checks])
        if "edit_check" in metafunc.fixturenames:
            rows = [(check, edit) for edit, _ in self.subject().samples for check in EDIT_CHECKS]
            names = [f"{edit}-{check.__name__}" for check, edit in rows]
            metafunc.parametrize(("edit_check", "edit"), rows, ids=names)

    def test_class(self, class_check: Callable[[Subject], None]) -> None:
        """Run one check of the class."""
        class_check(self.subject())

    def test_edit(self, edit_check: Callable[[Subject, Edit, Utterance], None], edit: Edit) -> None:
        """Run one check of one request."""
        subject = self.subject()
        utterance = next(sound for request, sound in subject.samples if request == edit)
        edit_check(subject, edit, utterance)


def _register_source(edit_class: type[Edit]) -> None:
    """Register the package of a class that is not installed, as ``stepedit check`` does."""
    registry = get_registry()
    if any(row.edit_class is edit_class for row in registry.edits().values()):
        return
    package = sys.modules.get(edit_class.__module__.partition(".")[0])
    if package is None or not hasattr(package, "stepedit_edits"):
        return
    name = package.__name__.removeprefix("stepedit_")
    if name not in {info.name for info in registry.plugins()}:
        registry.register(package, name)


def _run(check: str, about: str, work: Callable[[], None]) -> CheckResult:
    """Run one check and say how it ended."""
    try:
        work()
    except unittest.SkipTest as reason:
        return CheckResult(check, about, "skipped", str(reason))
    except ContractFailure as failure:
        return CheckResult(check, about, "failed", str(failure))
    except Exception as error:
        return CheckResult(check, about, "failed", f"{type(error).__name__}: {error}")
    return CheckResult(check, about, "passed")


def run_contract(edit_class: type[Edit], registry: Registry | None = None) -> Iterator[CheckResult]:
    """Yield the result of every contract check of an edit class, without pytest."""
    try:
        subject = Subject.of(edit_class, registry)
    except Exception as error:
        yield CheckResult("has_something_to_try", edit_class.name, "failed", str(error))
        return
    for check in (*CLASS_CHECKS, *BUNDLE_CHECKS):
        yield _run(check.__name__, edit_class.name, partial(check, subject))
    for edit, utterance in subject.samples:
        for each in EDIT_CHECKS:
            yield _run(each.__name__, str(edit), partial(each, subject, edit, utterance))
