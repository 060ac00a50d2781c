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
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from stepedit_core.edit import Edit
from stepedit_core.errors import AudioError
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

    def jobs(self, items: Iterable[CorpusItem], options: Mapping[str, str]) -> Iterator[PairJob]:
        """Yield jobs in a stable order; by default one for each item.

        Args:
            items: the corpus; it may be long, so do not keep what is not needed.
            options: the user's settings.
        """
        for item in items:
            yield PairJob(item.id, (item,))

    @abstractmethod
    def build(self, job: PairJob, context: BuildContext) -> Iterator[EditPair | Rejected]:
        """Yield the pairs of one job, and what was rejected with the reason.

        Raises:
            AudioError: if a file is bad; the runner lists it and goes on.
        """


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
