"""Large-margin pairs: the same words twice, differing strongly in one attribute.

A builder turns items of a corpus into pairs in two stages. ``jobs`` is cheap and sees
metadata alone: it decides which items meet and gives each job a key. ``build`` does the work
of one job from its own seed, so that rows do not depend on how jobs are spread over workers,
and a run that was killed goes on where it stopped.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, runtime_checkable

import numpy as np

from stepedit_core.edit import Edit
from stepedit_core.errors import AudioError, ForeignWordsError, StepeditError
from stepedit_core.utterance import Utterance

if TYPE_CHECKING:
    from stepedit_core.engine import SpeechEngine

__all__ = [
    "MAX_MARGIN",
    "MIN_MARGIN",
    "BuildContext",
    "CorpusItem",
    "CorpusReader",
    "EditPair",
    "MarginScorer",
    "PairBuilder",
    "PairJob",
    "PairOptions",
    "Rejected",
]

MIN_MARGIN, MAX_MARGIN = 1.0, 10.0


@dataclass(frozen=True)
class CorpusItem:
    """One recording of a corpus and what is known about it.

    Attributes:
        id: unique within the corpus and stable between runs.
        path: audio file.
        transcript: the words spoken, or None.
        speaker: identity of the speaker, or None.
        language: BCP 47 tag, or None.
        labels: attribute to label, such as ``{"emotion": "happy", "intensity": "strong"}``.
        group: recordings that share speaker and words have the same group, or None.
        split: ``train``, ``test`` or another name, or None.
        licence: the recording's licence, or None.
        corpus: name of the corpus.
    """

    id: str
    path: str
    transcript: str | None = None
    speaker: str | None = None
    language: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    group: str | None = None
    split: str | None = None
    licence: str | None = None
    corpus: str = ""

    def read(self) -> Utterance:
        """Read the recording with its transcript.

        Raises:
            AudioError: if the file cannot be read or holds nothing to work on.
        """
        utterance = Utterance.read(self.path, self.transcript, self.language)
        problem = utterance.problem()
        if problem:
            raise AudioError(f"{self.path}: {problem}")
        return utterance


@runtime_checkable
class CorpusReader(Protocol):
    """Reads one layout of a corpus on disk."""

    @property
    def name(self) -> str:
        """Name for ``--layout NAME``."""

    def recognises(self, path: os.PathLike[str]) -> bool:
        """Return whether a file or folder has this layout, from names alone."""

    def items(self, path: os.PathLike[str]) -> Iterator[CorpusItem]:
        """Yield the items in a stable order, reading no audio."""


@dataclass(frozen=True)
class EditPair:
    """Source and target of one edit.

    Attributes:
        source: the utterance before the edit.
        target: the utterance after it, with its own transcript.
        edit: the request that leads from one to the other.
        margin: how strongly they differ in the edited attribute, 1..10.
        details: what was done and measured (SNR in dB, factor ...); JSON data.
        rejected: a worse answer to the same request, for preference pairs.
    """

    source: Utterance
    target: Utterance
    edit: Edit
    margin: float
    details: Mapping[str, Any] = field(default_factory=dict)
    rejected: Utterance | None = None

    def __post_init__(self) -> None:
        """Refuse a margin outside 1..10."""
        if not MIN_MARGIN <= self.margin <= MAX_MARGIN:
            raise ValueError(f"margin {self.margin} is outside {MIN_MARGIN:g}..{MAX_MARGIN:g}")


@dataclass(frozen=True)
class Rejected:
    """A pair that was not kept, counted and listed instead of dropped in silence.

    Attributes:
        reason: short and countable, such as ``margin below 6``.
        details: numbers behind it; JSON data.
    """

    reason: str
    details: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def not_aligned(cls, item: CorpusItem, error: StepeditError) -> Self:
        """Return the rejection of an item whose words were not placed in its recording.

        Args:
            item: with a transcript.
            error: what `place_words` raised.
        """
        foreign = isinstance(error, ForeignWordsError)
        reason = "transcript of another recording" if foreign else "not aligned"
        return cls(reason, {"item": item.id, "error": str(error)})


@dataclass(frozen=True)
class PairJob:
    """Work for one call of ``PairBuilder.build``.

    Attributes:
        key: unique within the run and stable: it seeds the job and marks it as done.
        items: the corpus items that the job needs.
        params: anything else decided beforehand; JSON data.
    """

    key: str
    items: tuple[CorpusItem, ...]
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PairOptions:
    """Reads the user's settings of a builder (``--set name=value``).

    Every method raises StepeditError, in one line that names the setting and what it may be.
    """

    given: Mapping[str, str]
    """The settings as they were written."""

    def words(self, name: str, known: Iterable[str], default: str = "") -> tuple[str, ...]:
        """Return words joined by +, in the order written; by default all known ones."""
        known = tuple(known)
        text = self.given.get(name, default or "+".join(known))
        words = tuple(text.split("+"))
        if not set(words) <= set(known):
            raise StepeditError(f"{name}: there are {', '.join(known)}; got {text!r}")
        return words

    def word(self, name: str, known: Iterable[str], default: str = "") -> str:
        """Return one of the known words; by default the first one."""
        *others, last = known = tuple(known)
        text = self.given.get(name) or default or known[0]
        if text not in known:
            raise StepeditError(f"{name}: {', '.join(others)} or {last}, got {text!r}")
        return text

    def count(self, name: str, default: int, least: int = 1) -> int:
        """Return a whole number."""
        text = self.given.get(name, str(default))
        if not text.isdecimal() or int(text) < least:
            raise StepeditError(f"{name}: a whole number from {least}, got {text!r}")
        return int(text)

    def share(self, name: str, default: float = 0.0) -> float:
        """Return a number from 0 to 1."""
        text = self.given.get(name, str(default))
        try:
            share = float(text)
        except ValueError:
            share = -1.0
        if not 0 <= share <= 1:
            raise StepeditError(f"{name}: a number from 0 to 1, got {text!r}")
        return share

    def limits(self, name: str, default: str) -> tuple[float, float]:
        """Return a least and a greatest number, written ``LOW:HIGH``."""
        text = self.given.get(name, default)
        try:
            low, high = (float(part) for part in text.split(":"))
        except ValueError:
            raise StepeditError(f"{name}: give LOW:HIGH, such as {default}, got {text!r}") from None
        if not low <= high:
            raise StepeditError(f"{name}: the first number is the lower one, got {text!r}")
        return low, high

    def folder(self, name: str) -> str | None:
        """Return a folder that exists, or None where none is given."""
        folder = self.given.get(name)
        if folder is not None and not Path(folder).is_dir():
            raise StepeditError(f"{name}: {folder} is no folder")
        return folder

    def directions(self) -> str:
        """Return ``both``, ``forward`` or ``backward``; see `PairBuilder.both_ways`."""
        return self.word("directions", ("both", "forward", "backward"))


@dataclass
class BuildContext:
    """Context of a job: generator, options, engine, margin scorer and further items.

    Attributes:
        rng: seeded from the run's seed and the job's key; the only source of randomness.
        options: the user's settings for the builder (``--set name=value``).
        engine: for builders that clone or need codes; None where the user gave none.
        margin: the margin scorer that the user chose, or the builder's default; None where the
            builder measures the margin itself.
        sample: draws other items of the corpus, for babble and the like.
    """

    rng: np.random.Generator
    options: Mapping[str, str] = field(default_factory=dict)
    engine: SpeechEngine | None = None
    margin: MarginScorer | None = None
    sample: Callable[[np.random.Generator, int], list[CorpusItem]] = lambda rng, n: []


class PairBuilder(ABC):
    """Makes large-margin pairs for one edit class; most subclasses write ``build`` alone."""

    version: ClassVar[int] = 1
    """Raised whenever the same corpus and seed would give other pairs."""
    transcript_kept: ClassVar[bool] = True
    """Whether source and target say the same words."""
    min_margin: float = 6.0
    """Pairs below are rejected."""
    default_margin: ClassVar[str | None] = None
    """Name of the margin scorer to use where the user names none; None: ``build`` measures it."""
    options: ClassVar[Mapping[str, str]] = {}
    """Settings that ``--set`` takes, with a line of help each."""

    def settings(self, options: Mapping[str, str]) -> Any:
        """Return the user's settings in the form that ``build`` takes; `PairOptions` reads them.

        Raises:
            StepeditError: naming the setting that is wrong and what it may be.
        """
        return options

    def jobs(self, items: Iterable[CorpusItem], options: Mapping[str, str]) -> Iterator[PairJob]:
        """Yield jobs in a stable order; by default one for each item, once the settings are read.

        Args:
            items: the corpus; it may be long, so do not keep what is not needed.
            options: the user's settings.

        Raises:
            StepeditError: if a setting is wrong.
        """
        self.settings(options)
        for item in items:
            yield PairJob(item.id, (item,))

    @abstractmethod
    def build(self, job: PairJob, context: BuildContext) -> Iterator[EditPair | Rejected]:
        """Yield the pairs of one job, and what was rejected with the reason.

        Raises:
            AudioError: if a file is bad; the runner lists it and goes on.
        """

    def kept(
        self,
        source: Utterance,
        target: Utterance,
        edit: Edit,
        margin: float,
        details: Mapping[str, Any],
    ) -> EditPair | Rejected:
        """Return the pair, or its rejection where the margin is below ``min_margin``."""
        if margin < self.min_margin:
            return Rejected(f"margin below {self.min_margin:g}", {**details, "margin": margin})
        return EditPair(source, target, edit, margin, details)

    def both_ways(
        self,
        natural: Utterance,
        changed: Utterance,
        edit: Edit,
        back: Edit,
        margin: float,
        details: Mapping[str, Any],
        directions: str = "both",
    ) -> Iterator[EditPair | Rejected]:
        """Yield the pairs of a recording and its changed version, or one rejection of both.

        Args:
            natural: the recording.
            changed: what ``edit`` made of it.
            edit: leads forward, from the recording to what was made of it.
            back: leads backward, so that the target is natural.
            margin: of both.
            details: of both; ``direction`` is added.
            directions: ``both``, ``forward`` or ``backward``.
        """
        if margin < self.min_margin:
            yield Rejected(f"margin below {self.min_margin:g}", {**details, "margin": margin})
            return
        if directions != "backward":
            yield EditPair(natural, changed, edit, margin, {**details, "direction": "forward"})
        if directions != "forward":
            yield EditPair(changed, natural, back, margin, {**details, "direction": "backward"})


@runtime_checkable
class MarginScorer(Protocol):
    """Measures how strongly source and target differ along an edited attribute."""

    @property
    def name(self) -> str:
        """Name for ``--margin NAME``."""

    @property
    def validation(self) -> str:
        """How the scorer was validated, in a sentence with its figures."""

    def margin(self, source: Utterance, target: Utterance, edit: Edit) -> float | None:
        """Return the margin 1..10, or None where it cannot be measured."""
