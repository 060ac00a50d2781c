"""Benchmark items, measurements and judges: what a scorer gets and gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from stepedit_core.chain.notation import AnyEdit
from stepedit_core.errors import StepeditError, explain_validation
from stepedit_core.utterance import Utterance

__all__ = [
    "Case",
    "Interval",
    "Judge",
    "Measures",
    "Prepared",
    "Score",
    "Scorer",
    "Verdict",
    "bootstrap_interval",
    "read_cases",
    "words_kept",
]


class Case(BaseModel):
    """One benchmark item: an utterance, the edit asked for, and what is expected."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    id: str
    """Unique within the case set."""
    edit: AnyEdit
    """The request."""
    audio: str
    """``speech:NAME`` for a recording that ships with the package, or a path beside the set."""
    transcript: str | None = None
    """Words of the audio; the shipped recordings bring their own."""
    language: str | None = None
    """BCP 47 tag."""
    prepare: Mapping[str, Any] = {}
    """What the scorer does to the audio before the edit, such as ``{"snr_db": 5}``."""
    meta: Mapping[str, Any] = {}
    """Anything else: speaker, row number, class."""


@dataclass(frozen=True)
class Prepared:
    """A case made ready: the edit's input and what is known beyond it.

    Attributes:
        source: what the edit receives.
        reference: the ideal output where one exists, such as the clean recording.
        facts: numbers that the score needs, such as spans of inserted silence; JSON data.
    """

    source: Utterance
    reference: Utterance | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Score:
    """The measurement of one case.

    Attributes:
        reached: whether the edit's target was reached; None where it could not be measured.
        values: metric name to value; None for a metric that failed.
        unscored: why the target could not be measured, or None.
    """

    reached: bool | None
    values: Mapping[str, float | None] = field(default_factory=dict)
    unscored: str | None = None

    def __post_init__(self) -> None:
        """Hold that a score is either measured or says why not."""
        if (self.reached is None) != (self.unscored is not None):
            raise ValueError("a score without a verdict says why, one with a verdict does not")

    @classmethod
    def failed(cls, why: str, **values: float | None) -> Score:
        """Return an unscored score with its reason."""
        return cls(None, values, why)


@dataclass(frozen=True)
class Verdict:
    """A judge's answer.

    Attributes:
        label: the class it chose, or None.
        score: its rating, in the judge's stated range, or None.
        scores: rating per label, where the judge gives them.
        refused: why it gave no answer, or None.
        said: the label in the judge's own words, where ``label`` spells it otherwise.
    """

    label: str | None = None
    score: float | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    refused: str | None = None
    said: str | None = None


class Judge(ABC):
    """A model or rule that scorers may ask about an attribute of speech."""

    name: ClassVar[str]
    """Name for ``--judge NAME``."""
    version: ClassVar[int] = 1
    """Raised whenever the same question may get another answer."""
    validation: ClassVar[str] = ""
    """How its agreement with people was measured, with figures."""

    @abstractmethod
    def tasks(self) -> Sequence[str]:
        """Return the tasks it can judge: ``emotion``, ``style``, ``paralinguistic`` ..."""

    @abstractmethod
    def judge(
        self,
        task: str,
        utterance: Utterance,
        *,
        reference: Utterance | None = None,
        labels: Sequence[str] = (),
        question: Mapping[str, Any] | None = None,
    ) -> Verdict:
        """Judge an utterance.

        Args:
            task: one of ``tasks()``.
            utterance: what to judge.
            reference: the utterance before the edit, for judges that compare.
            labels: the classes to choose from.
            question: further facts, such as the expected event and its place.
        """


class Measures(Protocol):
    """Measurements that scorers share; each backend is loaded on first use.

    A measurement that cannot be made raises ``StepeditError``; the scorer reports the case as
    unscored or the metric as None.
    """

    def transcribe(self, utterance: Utterance) -> str:
        """Return the words that a speech recogniser hears."""

    def word_error(self, expected: str, utterance: Utterance) -> float:
        """Return the word (or character) error rate of what is heard, 0..."""

    def speaker_similarity(self, first: Utterance, second: Utterance) -> float:
        """Return the cosine similarity of the speakers' embeddings, -1..1."""

    def dnsmos(self, utterance: Utterance) -> Mapping[str, float]:
        """Return DNSMOS P.835: ``sig``, ``bak``, ``ovrl``, 1..5."""

    def speech_spans(self, utterance: Utterance) -> list[tuple[float, float]]:
        """Return the spans of speech, in seconds (Silero VAD)."""

    def median_f0(self, utterance: Utterance) -> float | None:
        """Return the median fundamental frequency of voiced frames in Hz, or None."""

    def judge(self, task: str) -> Judge:
        """Return the judge chosen for a task."""


class Scorer(ABC):
    """Measures whether an edit reached its target; preservation is measured by the runner."""

    version: ClassVar[int] = 1
    """Raised whenever the same audio may get another score."""
    expects_same_duration: ClassVar[bool] = False
    """Whether a changed duration counts as damage."""
    expects_same_speaker: ClassVar[bool] = True
    """Whether a changed voice counts as damage."""
    judge: ClassVar[str | None] = None
    """Name of the judge that is asked about the edit where the user names none."""
    points: ClassVar[tuple[float, float]] = (1.0, 10.0)
    """Least and most points of its judges; those that answer by labels give none."""

    def prepare(self, case: Case, clean: Utterance, rng: np.random.Generator) -> Prepared:
        """Make the edit's input from the case's recording; by default it is used as it is."""
        return Prepared(clean)

    def waives(self, case: Case) -> frozenset[str]:
        """Return the preservation checks that the target itself contradicts.

        Names are those of the benchmark: ``words``, ``speaker``, ``quality``, ``loudness``,
        ``level``, ``clipping``, ``duration``. A whisper, for one, cannot keep the loudness of
        speech.
        """
        return frozenset()

    def grade(self, score: Score) -> float | None:
        """Return the progress of an output towards its target, 0..1, for training by reward.

        By default 1 where the target is reached and 0 where it is not. A scorer whose figure says
        how much is missing should say so here: among answers that all fail there is nothing to
        learn otherwise. An input that nobody edited gets about 0.

        Args:
            score: what ``score`` gave; None is returned for one that is unscored.
        """
        return None if score.reached is None else float(score.reached)

    def promises(self, tried: Sequence[tuple[AnyEdit, Score]], other: AnyEdit) -> bool:
        """Return whether another setting of an edit may reach the target that some have missed.

        Asked where limits try an edit stronger; by default nobody knows, and it may.

        Args:
            tried: settings in order, and what each came to.
            other: the setting in question.
        """
        return True

    @abstractmethod
    def score(self, case: Case, prepared: Prepared, output: Utterance, measures: Measures) -> Score:
        """Measure one output.

        Args:
            case: the benchmark item.
            prepared: what ``prepare`` returned.
            output: what the edit made of ``prepared.source``.
            measures: shared measurements.
        """


@dataclass(frozen=True)
class Interval:
    """A mean and its confidence interval over ``n`` cases."""

    mean: float
    low: float
    high: float
    n: int


def bootstrap_interval(
    values: Sequence[float] | Sequence[Sequence[float]],
    rng: np.random.Generator,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    statistic: Callable[..., float] | None = None,
) -> Interval:
    """Return the mean with a percentile bootstrap interval (Efron & Tibshirani 1993, ch. 13).

    Args:
        values: one number per case; with ``statistic`` one row of numbers per case.
        rng: draws the resamples.
        level: coverage of the interval.
        resamples: how many.
        statistic: taken instead of the mean; it gets one array per column of ``values``.

    Raises:
        ValueError: if there are no values.
    """
    data = np.asarray(values, dtype=np.float64)
    if data.size == 0:
        raise ValueError("no values to average")
    drawn = rng.integers(0, len(data), size=(resamples, len(data)))
    tail = (1 - level) / 2
    if statistic is None:
        low, high = np.quantile(data[drawn].mean(axis=1), [tail, 1 - tail])
        return Interval(float(data.mean()), float(low), float(high), len(data))
    low, high = np.quantile([statistic(*data[places].T) for places in drawn], [tail, 1 - tail])
    return Interval(float(statistic(*data.T)), float(low), float(high), len(data))


LOST_SHARE, LOST_LEAST = 0.10, 1.0
"""Words more than in the source that may be wrong: a tenth of them, or one."""


def words_kept(
    measures: Measures, source: Utterance, output: Utterance, expected: str | None = None
) -> tuple[bool | None, float | None]:
    """Return whether an output says its words as well as the source does, within one or a tenth.

    Substitutions, deletions and insertions count alike. A scorer asks so that audio which meets
    its figure and says nothing does not pass.

    Args:
        measures: has the recogniser.
        source: before the edit; what is misheard there is not held against the output.
        output: after it.
        expected: the words; by default the source's transcript.

    Returns:
        The verdict, and the output's error rate; None and None where the words are not known or
        the recogniser does not know the language.
    """
    text = expected or source.transcript
    if not (text or "").strip():
        return None, None
    assert text is not None
    words = len(text.split())
    units = words if words > 1 else len(text)
    allowed = max(LOST_LEAST, LOST_SHARE * units) + 1e-9
    try:
        after = measures.word_error(text, output.replace(language=source.language))
        if after * units <= allowed:  # Whatever was heard of the source: it needs no hearing.
            return True, after
        before = measures.word_error(source.transcript or text, source)
    except StepeditError:
        return None, None
    return (after - before) * units <= allowed, after


def read_cases(text: str) -> list[Case]:
    """Parse a ``cases.jsonl``: one case per line, ids unique.

    Raises:
        ValueError: naming the line that is wrong.
    """
    cases: list[Case] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            cases.append(Case.model_validate_json(line))
        except ValidationError as error:
            raise ValueError(f"line {number}: {explain_validation(error)}") from error
    ids = [case.id for case in cases]
    twice = {name for name, times in Counter(ids).items() if times > 1}
    if twice:
        raise ValueError(f"case ids occur twice: {', '.join(sorted(twice))}")
    return cases
