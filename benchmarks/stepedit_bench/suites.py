"""Suites: the cases of a run as units of work, and the recording that each starts from."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stepedit_bench.made_by import code_mark
from stepedit_core.chain.notation import format_edit
from stepedit_core.chain.result import DEFAULT_CARRY, Carry
from stepedit_core.edit import Edit
from stepedit_core.errors import AudioError, PluginError, StepeditError
from stepedit_core.recordings import packaged, packaged_speech
from stepedit_core.registry.registry import get_registry
from stepedit_core.scoring import Case, Measures, Prepared, Score, Scorer
from stepedit_core.utterance import Utterance

__all__ = [
    "SUITE_PATH_VARIABLE",
    "Unit",
    "case_seed",
    "clone_text",
    "find_external",
    "read_audio",
    "scorable_edits",
    "select",
    "select_places",
    "slug",
    "units",
    "waived",
]

SUITE_PATH_VARIABLE = "STEPEDIT_SUITE_PATH"
"""Where ``--suite-path`` is handed to ``stepedit_cases`` hooks that read a folder."""
_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3")


def waived(scorer: Scorer, case: Case) -> frozenset[str]:
    """Return the checks that do not count for a case, because its target contradicts them."""
    named = scorer.waives(case)
    return named if scorer.expects_same_speaker else named | {"speaker"}


@dataclass(frozen=True)
class Unit:
    """One case of one edit: the smallest piece of work that a run keeps or repeats.

    Attributes:
        edit: name of the edit class, or of the row that the unit is counted in.
        case: the benchmark item; None where nothing is asked that a scorer could judge.
        seed: of the case; it does not depend on which other cases run.
    """

    edit: str
    case: Case | None
    seed: int

    @property
    def name(self) -> str:
        """Name of the case."""
        assert self.case is not None
        return self.case.id

    @property
    def key(self) -> str:
        """Name that is unique within a run."""
        return f"{self.edit}/{self.name}"

    @property
    def folder(self) -> str:
        """Folder of the unit's recordings, relative to the run's."""
        return f"wavs/{slug(self.edit)}/{slug(self.name)}"

    @property
    def code(self) -> str:
        """Mark of the code that carries the edit out."""
        scorer = self.scorer()
        edits = [] if self.case is None else [self.case.edit]
        return code_mark(edits, [] if scorer is None else [scorer])

    @property
    def mark(self) -> str:
        """Mark of all but the request that a recording of the unit hangs on."""
        return hashlib.sha256(f"{self.code}/{self.seed}".encode()).hexdigest()[:8]

    @property
    def group(self) -> str:
        """Units of different groups never share a batch."""
        return ""

    @property
    def file(self) -> Path | None:
        """File that holds the recording of the case as it is measured, or None."""
        return None

    @property
    def words_alone(self) -> bool:
        """Whether words are all that is measured."""
        return False

    @property
    def recodings(self) -> int:
        """How often conditions that ask for nothing code the speech, one after the other."""
        return 1

    def requests(self, iterations: int) -> tuple[Edit, ...]:
        """Return the edits to carry out, in order."""
        assert self.case is not None
        return (self.case.edit,) * iterations

    def edits_on(self, source: Utterance, iterations: int) -> tuple[Edit, ...]:
        """Return the edits to carry out on a recording, in order.

        Raises:
            StepeditError: if no installed edit can express what is asked.
        """
        return self.requests(iterations)

    @property
    def whole(self) -> bool:
        """Whether the recording after all edits is the only one that counts."""
        return False

    @property
    def carry(self) -> Carry:
        """What an edit hands to the next one."""
        return DEFAULT_CARRY

    def known(self, source: Utterance) -> Utterance:
        """Return the recording with the words that its judge knows."""
        return source

    def promised(self, output: Utterance) -> Utterance:
        """Return an output with the words that it ought to say."""
        return output

    def scorer(self) -> Scorer | None:
        """Return the scorer of the case's edit, or None where there is no case."""
        return None if self.case is None else get_registry().scorer(type(self.case.edit))

    def score(self, prepared: Prepared, output: Utterance, measures: Measures) -> Score | None:
        """Return the verdict on an output, or None where nobody judges it."""
        scorer = self.scorer()
        if scorer is None or self.case is None:
            return None
        return scorer.score(self.case, prepared, output, measures)

    def judging(self, iteration: int, received: Utterance) -> Unit:
        """Return the unit that judges an edit of a chain.

        Args:
            iteration: number of the edit, from 1.
            received: what the edit was carried out on.
        """
        return self

    def lost(self) -> Mapping[str, float]:
        """Return the values of an output that was not made."""
        return {}

    def expectation(
        self, source: Utterance, iteration: int
    ) -> tuple[float, bool, frozenset[str]] | None:
        """Return what preservation is checked by, or None where it is not.

        Returns:
            Duration after over duration before, as the edit announces it; whether a changed
            duration counts as damage; and the checks that the target contradicts.
        """
        scorer = self.scorer()
        if scorer is None or self.case is None:
            return None
        ratio = float(self.case.edit.plan(source).length_ratio) ** max(1, iteration)
        return ratio, scorer.expects_same_duration, waived(scorer, self.case)

    def start(self) -> Utterance:
        """Return the recording of the case."""
        assert self.case is not None
        return read_audio(self.case)

    def conditions(self, asked: Sequence[str]) -> tuple[str, ...]:
        """Return which of the conditions asked for make sense."""
        return tuple(asked)

    def serving(self, condition: str) -> Unit:
        """Return the unit whose recording serves for this one, too."""
        return self

    def ideal(self, prepared: Prepared) -> Utterance | None:
        """Return the recording of an edit without fault, where there is one."""
        return prepared.reference

    def is_scored(self, condition: str) -> bool:
        """Return whether the plugin's scorer judges a condition."""
        return True

    def is_checked(self, condition: str) -> bool:
        """Return whether it is checked what else changed."""
        return condition == "edit"

    def recognisers(self) -> tuple[str, ...]:
        """Return the recognisers whose word counts are kept, first the one that decides."""
        return ()

    def facts(self) -> dict[str, Any]:
        """Return the fields of the unit that all its rows have; JSON data."""
        case = self.case
        assert case is not None
        kind, _, recording = case.audio.partition(":")
        shipped = packaged().get(recording) if kind == "speech" else None
        goal = case.edit.to_data().get("to")
        return {
            "edit": self.edit,
            "case": case.id,
            "class": str(case.meta.get("class") or goal or format_edit(case.edit)),
            "speaker": case.meta.get("speaker") or (shipped and shipped.speaker),
            "row": case.meta.get("row"),
            "request": case.edit.to_data(),
            "seed": self.seed,
        }


def slug(text: str) -> str:
    """Return a text as a file name; what is replaced is told apart by a short hash."""
    plain = re.sub(r"[^\w.-]+", "_", text).strip("._") or "_"
    if plain == text:
        return plain
    return f"{plain[:60]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def case_seed(seed: int, edit: str, case_id: str) -> int:
    """Return the seed of a case, from the run's seed and the case's name alone."""
    digest = hashlib.sha256(f"{seed}/{edit}/{case_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def scorable_edits(names: Sequence[str], suite: str) -> list[type[Edit]]:
    """Return the classes of the edits asked for; none asked for means all that can be scored.

    Raises:
        PluginError: if an edit that was asked for has no scorer or no cases in the suite.
    """
    registry = get_registry()
    chosen = list(dict.fromkeys(names)) or list(registry.edits())
    classes: list[type[Edit]] = []
    for name in chosen:
        edit_class = registry.edit_class(name)
        try:
            registry.scorer(edit_class)
            registry.cases(edit_class, suite)
        except PluginError as error:
            # Only an edit that nobody named may lack a scorer; a broken one is always told.
            if names or "no plugin brings" not in str(error):
                raise
            continue
        classes.append(edit_class)
    if not classes:
        raise StepeditError(f"no installed plugin brings a scorer and cases for suite {suite!r}")
    return classes


def select(cases: Sequence[Case], limit: int | None, seed: int) -> list[Case]:
    """Return at most ``limit`` cases, drawn by the seed, in their own order."""
    return [cases[place] for place in select_places(len(cases), limit, seed)]


def select_places(count: int, limit: int | None, seed: int) -> list[int]:
    """Return at most ``limit`` of ``count`` places, drawn by the seed, in their own order."""
    if limit is None or limit >= count:
        return list(range(count))
    kept = np.random.default_rng(seed).choice(count, size=limit, replace=False)
    return sorted(int(place) for place in kept)


def units(names: Sequence[str], suite: str, limit: int | None, seed: int) -> list[Unit]:
    """Return the work of a run in its order; raises as ``scorable_edits`` does."""
    found: list[Unit] = []
    for edit_class in scorable_edits(names, suite):
        cases = select(get_registry().cases(edit_class, suite), limit, seed)
        for case in cases:
            name = edit_class.name
            found.append(Unit(name, case, case_seed(seed, name, case.id)))
    return found


def read_audio(case: Case, folder: str | os.PathLike[str] | None = None) -> Utterance:
    """Read a case's recording with its transcript and language.

    Args:
        case: its ``audio`` is ``speech:NAME`` or a path.
        folder: what a relative path is relative to.

    Raises:
        AudioError: if there is no such recording.
    """
    kind, _, name = case.audio.partition(":")
    if kind == "speech" and name:
        speech = packaged_speech(name)
        return speech.replace(
            transcript=case.transcript if case.transcript is not None else speech.transcript,
            language=case.language or speech.language,
        )
    path = Path(case.audio)
    if not path.is_absolute() and folder is not None:
        path = Path(folder) / path
    return Utterance.read(path, case.transcript, case.language)


def clone_text(case: Case) -> str | None:
    """Return the words that iteration 0 says by zero-shot cloning, or None for recordings."""
    text = case.meta.get("zero_shot_text")
    return None if text is None else str(text)


def find_external(case: Case, folder: str | os.PathLike[str]) -> Path:
    """Return an external system's recording of a case: a file named after the case's id.

    Raises:
        AudioError: if there is none.
    """
    for suffix in _SUFFIXES:
        for stem in (case.id, slug(case.id)):
            path = Path(folder) / f"{stem}{suffix}"
            if path.is_file():
                return path
    raise AudioError(
        f"{folder}: no recording of case {case.id!r}; expected {slug(case.id)}.wav "
        "(or .flac, .ogg, .opus, .mp3)"
    )
