"""What the contract checks look at, and how a check says that it failed or does not apply."""

from __future__ import annotations

import sys
import unittest
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from stepedit_core.edit import Edit
from stepedit_core.errors import PluginError, StepeditError
from stepedit_core.pairs import CorpusItem
from stepedit_core.registry.registry import LOCAL, PluginInfo, Registry, get_registry
from stepedit_core.scoring import Case, Measures
from stepedit_core.testing.corpus import contract_corpus
from stepedit_core.testing.fake_measures import FakeMeasures
from stepedit_core.testing.signals import speech_like
from stepedit_core.utterance import Utterance

__all__ = ["ContractFailure", "Subject", "load_case_audio", "require", "skip"]


class ContractFailure(AssertionError):
    """A plugin breaks the contract; the text says which rule, where and what to do."""


def require(condition: object, text: str) -> None:
    """Fail the running check with a text unless the condition holds."""
    if not condition:
        raise ContractFailure(text)


def skip(reason: str) -> NoReturn:
    """End the running check as not applicable; pytest shows it as skipped."""
    raise unittest.SkipTest(reason)


def load_case_audio(case: Case, beside: Path | None = None) -> Utterance:
    """Read the recording that a case names.

    Args:
        case: its audio is ``speech:NAME`` or a path.
        beside: folder that a relative path starts from.
    """
    from stepedit_core.recordings import packaged_speech

    if case.audio.startswith("speech:"):
        clean = packaged_speech(case.audio.removeprefix("speech:"))
    else:
        clean = Utterance.read((beside or Path()) / case.audio)
    words = case.transcript if case.transcript is not None else clean.transcript
    return clean.replace(transcript=words, language=case.language or clean.language)


@dataclass
class Subject:
    """One edit class under test, with sample requests for it.

    Attributes:
        edit_class: the class.
        samples: requests, each with an utterance that it fits.
        invalid: parameters that must be refused.
        registry: where the class is registered.
        corpus: makes items for the pair builder inside a folder.
        builder_options: settings for the pair builder.
        measures: what the scorer measures with.
    """

    edit_class: type[Edit]
    samples: Sequence[tuple[Edit, Utterance]]
    invalid: Sequence[Mapping[str, Any]] = ()
    registry: Registry = field(default_factory=get_registry)
    corpus: Callable[[Path], list[CorpusItem]] = contract_corpus
    builder_options: Mapping[str, str] = field(default_factory=dict)
    measures: Measures = field(default_factory=FakeMeasures)

    @classmethod
    def of(cls, edit_class: type[Edit], registry: Registry | None = None) -> Subject:
        """Gather sample requests from the plugin itself: its default suite, or no parameters.

        Raises:
            ContractFailure: if the plugin brings no case and the class needs parameters.
        """
        hooks = registry or get_registry()
        subject = cls(edit_class, (), registry=hooks)
        samples: list[tuple[Edit, Utterance]] = []
        for case in subject.cases():
            if len(samples) < 4 and case.edit not in [edit for edit, _ in samples]:
                samples.append((case.edit, load_case_audio(case, subject.folder)))
        if not samples:
            try:
                samples.append((edit_class(), speech_like()))
            except ValueError as error:
                raise ContractFailure(
                    f"{edit_class.name}: nothing to try; bring cases (stepedit_cases) so that "
                    "the checks know requests that make sense"
                ) from error
        subject.samples = samples
        return subject

    @property
    def name(self) -> str:
        """Registered name of the edit."""
        return self.edit_class.name

    @property
    def plugin(self) -> PluginInfo:
        """The plugin that brings the class."""
        return self.registry.origin(self.edit_class)

    @property
    def is_installed(self) -> bool:
        """Whether the plugin was found by entry point."""
        return self.plugin.distribution != LOCAL

    @property
    def package(self) -> str:
        """Name of the top-level package or module that defines the class."""
        return self.edit_class.__module__.partition(".")[0]

    @property
    def folder(self) -> Path | None:
        """Folder of that package, or None for a single file."""
        file = getattr(sys.modules.get(self.package), "__file__", None)
        is_package = file is not None and Path(file).name == "__init__.py"
        return Path(file).parent if file is not None and is_package else None

    def cases(self) -> list[Case]:
        """Return the default suite, or nothing where the plugin brings none."""
        return self.bundled("cases") or []

    def bundled(self, what: str) -> Any:
        """Return ``pair_builder``, ``scorer`` or ``cases`` of the edit, or None where absent."""
        try:
            return getattr(self.registry, what)(self.edit_class)
        except PluginError as error:
            if str(error).startswith("no plugin brings"):
                return None
            raise ContractFailure(str(error)) from error

    def problem(self, edit: Edit, utterance: Utterance) -> str | None:
        """Return why an edit does not fit an utterance; such a refusal is one line of text."""
        try:
            text = utterance.problem() or edit.problem(utterance)
        except StepeditError as error:
            text = str(error)
        require(text is None or "\n" not in text, f"{edit}: the problem takes more than one line")
        return text
