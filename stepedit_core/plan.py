"""The plan of an edit: expected length, spans, insertions and label, known before it runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from stepedit_core.errors import StepeditError
from stepedit_core.utterance import Span, Utterance

if TYPE_CHECKING:
    from stepedit_core.alignment import Alignment, Ear
    from stepedit_core.edit import Outcome

__all__ = [
    "ForeseenUtterance",
    "Insertion",
    "NotHeardYet",
    "Omission",
    "Plan",
    "Replacement",
    "conditioning_label",
]


@dataclass(frozen=True)
class Insertion:
    """A sound that an edit puts between the words and that leaves them alone.

    Attributes:
        at: where, in seconds of the source.
        seconds: how long it usually is.
    """

    at: float
    seconds: float


@dataclass(frozen=True)
class Omission:
    """A silence of the source that an edit leaves out.

    Attributes:
        span: what may go of it, in seconds of the source.
        kept: how much of that may stay at most, in seconds.
    """

    span: Span
    kept: float = 0.0


@dataclass(frozen=True)
class Replacement:
    """Words that go, and what is said in their place.

    Attributes:
        first: index of the first word that goes, among the words of the transcript before.
        stop: index after the last word that goes; equal to ``first`` where words are put in.
        by: the new words; empty where words are taken out.
        text_after: the whole transcript after this replacement.
    """

    first: int
    stop: int
    by: str
    text_after: str


@dataclass(frozen=True)
class Plan:
    """Facts about an edit of one utterance that are known before it is carried out.

    ``Edit.plan`` makes it, once for each step of a chain; planning, generation and decoding read
    it. Where ``problem`` is set the other fields need not hold.

    Attributes:
        length_ratio: expected duration after the edit over the duration before it.
        length_is_exact: whether ``length_ratio`` is what was asked for, and not a guess.
        uniform_tempo: whether all of the source is spoken at one tempo, ``1 / length_ratio``;
            the ratio is then exact, too.
        spans: the only spans that may change, in seconds; None where all may.
        uniform_tempo_in_spans: whether each span is spoken at one tempo of its own. Where it is
            not, as of an emotion, a decoder is not told places inside the spans: the source's
            sound there may be what the edit is to change.
        insertions: what is put between the words, where that is all that the edit does. Engines
            whose policy is ``regenerate="insertions"`` generate these parts alone and copy all
            others.
        omissions: silences that go, where that is all that the edit does; None: it does other
            things. Engines whose policy is ``follow_source`` hold the answer to the source's own
            codes without them.
        replacements: words that are said anew amid the others, carried out in this order; the
            last in the recording comes first, so that the indices of the others hold.
        alignment: when each word of the utterance is said, where the edit depends on it.
        ears: who hears whether new words are said as asked, the strictest first; empty where
            nobody does.
        words_after: the words after the edit, or None where they are not known.
        label: what a decoder may be conditioned on: the edit's name, with its label behind a
            colon (``emotion:sad``), and numbers where they matter (``pitch:+2.0``).
        strength: of a label, how much of its usual shift is asked for, as a factor; engines that
            generate what a label does know no other than 1.
        level: how far the edit may move the level of active speech, in dB, lowest and highest;
            ``(0, 0)``: it keeps the level; None: it is about level, or nobody knows.
        rules: names of edits whose rules of sampling hold, later ones first.
        keeps_codes: whether the llm route decodes the recording's own codes again and asks the
            language model nothing.
        voice: whose voice the codes are decoded in; None for the recording's own.
        as_reference: returns the reference for a decoder that looks sound up at its place: the
            recording after signal processing that keeps its pace, such as without its noise, or
            moved towards ``voice``, whose own recording says other words. Without ``voice`` and
            ``spans`` the codes that are edited are its own, too.
        retimed: of an edit of one tempo, returns any speech at that tempo by signal processing. A
            decoder that looks sound up at its place works at the slower of both paces: it is shown
            the recording so where speech becomes slower, and what it says at the recording's pace
            is made so where speech becomes faster. The codes that are edited are the recording's.
            Not inside spans, whose surroundings keep their pace.
        notes: says of a recording what a user should know of the edit's work on it, one line each.
            The llm route asks; signal processing says it in its details.
        fits: says of an outcome of the llm route how well its sound is what was asked for, higher
            for better; of the draws that a model's rules ask for (``best_of``), the best one is
            kept. Of confined edits the outcome may be what is new alone: its details say where
            that is (``output_spans``). None where words, or nothing, tell that.
        problem: why the edit does not fit the utterance, in one line; None where it does.
    """

    length_ratio: float = 1.0
    length_is_exact: bool = False
    uniform_tempo: bool = False
    spans: tuple[Span, ...] | None = None
    uniform_tempo_in_spans: bool = True
    insertions: tuple[Insertion, ...] = ()
    omissions: tuple[Omission, ...] | None = None
    replacements: tuple[Replacement, ...] = ()
    alignment: Alignment | None = None
    ears: tuple[Ear, ...] = field(default=(), repr=False, compare=False)
    words_after: str | None = None
    label: str = ""
    strength: float = 1.0
    level: tuple[float, float] | None = (0.0, 0.0)
    rules: tuple[str, ...] = ()
    keeps_codes: bool = False
    voice: Utterance | None = None
    as_reference: Callable[[Utterance], Utterance] | None = field(
        default=None, repr=False, compare=False
    )
    retimed: Callable[[Utterance], Utterance] | None = field(
        default=None, repr=False, compare=False
    )
    notes: Callable[[Utterance], tuple[str, ...]] | None = field(
        default=None, repr=False, compare=False
    )
    fits: Callable[[Outcome], float] | None = field(default=None, repr=False, compare=False)
    problem: str | None = None

    def but(self, **changes: Any) -> Plan:
        """Return the same plan with some fields changed."""
        return dataclasses.replace(self, **changes)

    @property
    def has_known_length(self) -> bool:
        """Whether the duration is what was asked for, and not a guess."""
        return self.length_is_exact or self.uniform_tempo

    @classmethod
    def inside(
        cls,
        plan_of: Callable[[Utterance], Plan],
        spans: Sequence[Span],
        utterance: Utterance,
        *,
        name: str,
    ) -> Plan:
        """Return the plan of an edit that carries out another one inside spans.

        The inner edit is asked for a plan of each span by itself: its lengths add up, and what
        it leaves free of a span is counted in seconds of the whole. Its label and its rules hold,
        as the model reads its prompt. The label of a sound does not hold for speech around it, so
        an inner edit that only puts sounds between the words gives the wrapper's name instead.

        Args:
            plan_of: the inner edit's ``plan``.
            spans: where, in seconds of ``utterance``; at least one.
            utterance: what the wrapper receives.
            name: the wrapper's registered name.
        """
        plans = [plan_of(utterance.slice(span)) for span in spans]
        free: list[Span] = []
        added = 0.0
        for span, plan in zip(spans, plans, strict=True):
            within = (Span(0.0, span.seconds),) if plan.spans is None else plan.spans
            free += [Span(span.start + part.start, span.start + part.end) for part in within]
            added += span.seconds * (plan.length_ratio - 1)
        uniform = all(
            plan.uniform_tempo if plan.spans is None else plan.uniform_tempo_in_spans
            for plan in plans
        )
        return cls(
            length_ratio=1.0 + added / max(utterance.seconds, 1e-9),
            spans=tuple(free),
            uniform_tempo_in_spans=uniform,
            words_after=utterance.transcript,
            label=name if plans[0].insertions else plans[0].label,
            strength=plans[0].strength,
            level=plans[0].level,
            rules=(*plans[0].rules, name),
            keeps_codes=plans[0].keeps_codes,
            voice=plans[0].voice,
            as_reference=plans[0].as_reference,
            notes=partial(_notes_inside, spans=tuple(spans), notes=plans[0].notes),
        )


def _notes_inside(
    utterance: Utterance,
    *,
    spans: tuple[Span, ...],
    notes: Callable[[Utterance], tuple[str, ...]] | None,
) -> tuple[str, ...]:
    """Return what an inner edit has to say of the spans, each line once."""
    if notes is None:
        return ()
    return tuple(dict.fromkeys(line for span in spans for line in notes(utterance.slice(span))))


def conditioning_label(name: str, *labels: str, **numbers: float) -> str:
    """Return a label for ``Plan.label``: a name, what it is towards, and numbers that matter.

    Example:
        ``conditioning_label("pitch", semitones=2)`` is ``pitch:semitones=+2``.
    """
    values = [f"{key}={value:+g}" for key, value in numbers.items()]
    return ":".join([name, *labels, *values])


class NotHeardYet(StepeditError):
    """The sound of an utterance was asked for before there is any."""


class ForeseenUtterance(Utterance):
    """Input of a later step of a chain: its words are known, its sound is not.

    A chain is validated as a whole before it runs. The edits of later steps are shown what is
    foreseen of their input; asking for its sound raises `NotHeardYet`, and what depends on the
    sound is then left to the run.
    """

    def __init__(self, transcript: str | None, sample_rate: int, language: str | None) -> None:
        """Hold what is known."""
        for name, value in (
            ("transcript", transcript),
            ("sample_rate", sample_rate),
            ("language", language),
            ("channels", 1),
            ("subtype", None),
            ("notes", ()),
            ("alignment", None),
        ):
            object.__setattr__(self, name, value)

    def _unheard(self, *arguments: object) -> NoReturn:
        raise NotHeardYet("the sound of a later step is not known before the chain runs")

    samples = property(_unheard)
    seconds = property(_unheard)
    digest = property(_unheard)
    slice = resample = write = _unheard  # type: ignore[assignment]
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def problem(self) -> str | None:
        """Return None: nothing is known that could be wrong."""
        return None

    def replace(self, **changes: Any) -> ForeseenUtterance:
        """Return a copy with other words or another language."""
        if set(changes) - {"transcript", "language"}:
            self._unheard()
        known = {"transcript": self.transcript, "language": self.language, **changes}
        return ForeseenUtterance(sample_rate=self.sample_rate, **known)

    def __repr__(self) -> str:
        """Show the words."""
        return f"ForeseenUtterance({self.transcript!r})"
