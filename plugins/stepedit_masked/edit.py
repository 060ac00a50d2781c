"""Partial edits: any edit, confined to spans of the utterance."""

from __future__ import annotations

import math
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator, Field, model_validator

from stepedit_core import (
    AlignmentError,
    Chain,
    Edit,
    EditError,
    EditOrSteps,
    Plan,
    Prompt,
    Rendered,
    Route,
    RouteError,
    Span,
    StepeditError,
    Utterance,
    Where,
    align,
)
from stepedit_core.dsp.splicing import FADE_SECONDS, Patch, span_problem, splice

__all__ = ["MIN_SPAN_SECONDS", "Masked"]

MIN_SPAN_SECONDS = 0.04
"""Shortest span, in seconds: room for two cross-fades and as much again between them."""


Seconds = Annotated[float, Field(ge=0)]


def _checked(spans: tuple[Span, ...]) -> tuple[Span, ...]:
    """Sort spans; refuse overlaps, empty ones and those too short to cross-fade."""
    problem = span_problem(spans, math.inf)
    if problem:
        raise ValueError(problem)
    for span in spans:
        if not math.isfinite(span.end):
            raise ValueError(f"span ({span.start:g}, {span.end:g}) has no end")
        if span.seconds < MIN_SPAN_SECONDS - 1e-9:
            raise ValueError(
                f"span ({span.start:g}, {span.end:g}) is shorter than "
                f"{MIN_SPAN_SECONDS * 1000:.0f} ms; make it longer"
            )
    return tuple(sorted(spans))


def _is_span(value: object) -> bool:
    """Say whether a value is a start and an end, and no list of them."""
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(isinstance(edge, int | float) and not isinstance(edge, bool) for edge in value)
    )


class Masked(Edit):
    """Confine any edit to spans of the utterance and leave every sample outside as it was.

    The inner edit may change the length of a span; what follows then moves as a whole. Edits of
    words (``replace``, ``delete``) look for their words in the region alone, and keep all samples
    but those of the words that change. Others that change the words (``clone``,
    ``paralinguistic``) work on whole utterances and are refused inside. Masked edits may be nested:
    the spans of an inner one count from the start of each outer span, for that is what the inner
    edit receives. Several edits inside are carried out in turn, each on what the one before left
    of the region.
    """

    inner: EditOrSteps
    """The edit to carry out inside the spans, or a list of edits, carried out in turn."""
    spans: Annotated[tuple[Span, ...], AfterValidator(_checked)] | None = None
    """Where, as (start, end) in seconds of the utterance; at least 40 ms each, no overlap."""
    words: str | None = Field(default=None, min_length=1, max_length=2_000)
    """Where, as words of the transcript."""
    occurrence: int | None = Field(default=None, ge=1)
    """Which one of ``words``, from 1, where they are said several times."""
    sentences: tuple[int, ...] | None = Field(default=None, min_length=1)
    """Where, as numbers of sentences of the transcript, from 1; -1 is the last."""
    speaker: str | None = Field(default=None, min_length=1)
    """Where, as all that a speaker says, where speakers are known."""
    margins: tuple[Seconds, Seconds] | None = None
    """Where, as all but so many seconds at the start and at the end."""

    @model_validator(mode="before")
    @classmethod
    def _spread_where(cls, data: Any) -> Any:
        """Take ``where={"words": ...}`` for the fields that it names, and one place for a list."""
        if not isinstance(data, dict):
            return data
        rest = dict(data)
        where = rest.pop("where", {})
        if not isinstance(where, dict):
            raise ValueError("where is an object such as {'words': '...'}")
        twice = where.keys() & rest.keys()
        if twice:
            raise ValueError(f"{min(twice)} is given twice, by itself and in where")
        rest.update(where)
        if type(rest.get("sentences")) is int:
            rest["sentences"] = [rest["sentences"]]
        if _is_span(rest.get("spans")):
            rest["spans"] = [rest["spans"]]
        return rest

    @model_validator(mode="after")
    def _one_place(self) -> Masked:
        """Hold that where is said in exactly one way."""
        given = [self.spans, self.words, self.sentences, self.speaker, self.margins]
        if sum(place is not None for place in given) != 1:
            raise ValueError("give exactly one of spans, words, sentences, speaker and margins")
        if self.occurrence is not None and self.words is None:
            raise ValueError("occurrence goes with words")
        return self

    @property
    def where(self) -> Where:
        """The region, as core resolves it."""
        return Where(
            self.spans or (),
            self.words,
            self.occurrence,
            self.sentences or (),
            self.speaker,
            self.margins,
        )

    def is_composite(self) -> bool:
        """Return whether several edits stand inside."""
        return self.inner.is_composite()

    def expand(self, utterance: Utterance) -> Chain | None:
        """Return the edits inside one by one, each confined to what the one before left.

        Of several spans the last one comes first, so that the others stay where they are; what an
        edit leaves of a span is told by what lies outside of it, which stays as it is.

        Raises:
            AlignmentError: if the region is not there.
        """
        if not self.is_composite():
            return None
        spans = self.where.resolve(utterance)
        if problem := span_problem(spans, utterance.seconds):
            raise EditError(problem)
        if len(spans) > 1:
            return Chain([Masked(inner=self.inner, spans=(span,)) for span in spans[::-1]])
        (span,) = spans
        inside = self.inner.expand(utterance.slice(span)) or Chain()
        margins = (span.start, max(0.0, utterance.seconds - span.end))
        return Chain([Masked(inner=edit, margins=margins) for edit in inside.unrolled()])

    def prompt(self, utterance: Utterance) -> Prompt:
        """Return the inner edit's prompt; the plan's spans confine what is generated."""
        from stepedit_masked.prompt import inner_prompt

        return inner_prompt(self.of_words(utterance) or self.inner, utterance)

    def plan(self, utterance: Utterance) -> Plan:
        """Return the inner edit's plan inside the spans."""
        problem = self.problem(utterance)
        if problem:
            return Plan(problem=problem, words_after=utterance.transcript)
        if (of_words := self.of_words(utterance)) is not None:
            return of_words.plan(utterance)
        spans = self.where.resolve(utterance)
        plan = Plan.inside(self.inner.plan, spans, utterance, name=self.name)
        plan = plan.but(words_after=self.transcript_after(utterance))
        return plan.but(alignment=align(utterance)) if self.where.needs_words() else plan

    def transcript_after(self, utterance: Utterance) -> str | None:
        """Return the words after the edit: an inner edit may change or hide some."""
        if self.is_composite():
            words = utterance.transcript
            for inner in self.inner.inner_edits():
                alone = self.model_copy(update={"inner": inner})
                words = alone.transcript_after(utterance.replace(transcript=words))
            return words
        if self._changes_words() and utterance.transcript:
            try:
                edit = self.of_words(utterance)
            except AlignmentError:
                return utterance.transcript
            return None if edit is None else edit.transcript_after(utterance)
        if not (self.inner.hides_words() and utterance.transcript):
            return utterance.transcript
        from stepedit_masked.words import hidden_text

        try:
            return hidden_text(utterance, self.where.resolve(utterance), self.inner)
        except AlignmentError:
            return utterance.transcript

    def public_data(self) -> dict[str, Any]:
        """Return the JSON data for records: words that tell the place may be those to hide."""
        data = super().public_data()
        return {**data, "words": "withheld"} if self.words and self.hides_words() else data

    def needs_transcript(self, route: Route) -> bool:
        """Return whether the inner edit's route needs the words."""
        return self.where.needs_words() or self.inner.needs_transcript(route)

    def pieces_problem(self) -> str | None:
        """Return how the region counts in the whole recording; words and speakers do not."""
        if self.spans is not None or self.margins is not None:
            return "names seconds"
        if self.sentences is not None:
            return "counts sentences"
        return None if self.occurrence is None else "counts occurrences"

    def needs_speakers(self) -> bool:
        """Return whether the region is what a speaker says."""
        return self.speaker is not None or super().needs_speakers()

    def shows_transcript(self) -> bool:
        """Return whether the inner edit's prompt repeats the words."""
        return self.inner.shows_transcript()

    def gentler(self) -> Masked | None:
        """Return the same place with the inner edit's gentler setting."""
        inner = self.inner.gentler()
        return None if inner is None else self.model_copy(update={"inner": inner})

    def stronger(self) -> Masked | None:
        """Return the same place with the inner edit's stronger setting."""
        inner = self.inner.stronger()
        return None if inner is None else self.model_copy(update={"inner": inner})

    def draws(self, route: Route) -> bool:
        """Return whether another draw of the inner edit may fare better."""
        return self.inner.draws(route)

    def changes_level(self) -> bool:
        """Return whether the inner edit is about loudness."""
        return self.inner.changes_level()

    def problem(self, utterance: Utterance) -> str | None:
        """Refuse spans outside the utterance, edits of whole utterances, and what inner refuses."""
        problem = self.where.problem(utterance.transcript or "")
        if problem:
            return problem
        if self.is_composite():
            return None  # each of its edits says so by itself
        if self._changes_words():
            try:
                of_words = self.of_words(utterance)
            except AlignmentError as error:
                return str(error)
            problem = None if of_words is None else of_words.problem(utterance)
            return f"{self.inner.name} in the region: {problem}" if problem else None
        keeps = self.inner.transcript_after(utterance) == utterance.transcript
        hides = self.inner.hides_words() and self.inner.route_problem("dsp") is None
        if not keeps and not hides:
            return (
                f"{self.inner.name} changes the words and so works on the whole utterance; "
                "use it outside masked"
            )
        try:
            spans = self.where.resolve(utterance)
        except AlignmentError as error:
            return str(error)
        problem = span_problem(spans, utterance.seconds)
        if problem:
            return problem
        inner = self.inner
        parts = [utterance.slice(span) for span in spans]
        received = parts if isinstance(inner, Masked) else [utterance]
        problem = next(filter(None, map(inner.problem, received)), None)
        return f"{inner.name}: {problem}" if problem else None

    def route_problem(self, route: Route) -> str | None:
        """Pass on the inner edit's lack of a route, or of words by the dsp route."""
        problem = super().route_problem(route) or self.inner.route_problem(route)
        if problem or self._changes_words():
            return problem
        if route == "dsp" and self.inner.needs_transcript("dsp") and not self.inner.hides_words():
            by_llm = self.inner.route_problem("llm") is None
            return (
                f"{self.inner.name} needs the words by the dsp route, and the words of a span "
                f"are not known; {'use the llm route' if by_llm else 'use it outside masked'}"
            )
        return None

    def render(self, utterance: Utterance, rng: np.random.Generator) -> Rendered:
        """Carry out the inner edit on each span by itself and splice the results.

        Each span has a generator of its own, seeded from ``rng`` in the order of the spans.

        Raises:
            RouteError: if the inner edit has no dsp route.
            StepeditError: if it refuses a span, or leaves nothing of it.
        """
        problem = self.route_problem("dsp") or self.problem(utterance)
        if problem:
            raise RouteError(problem)
        if (of_words := self.of_words(utterance)) is not None:
            return of_words.render(utterance, rng)
        spans = self.where.resolve(utterance)
        seeds = rng.integers(2**63, size=len(spans))
        patches: list[Patch] = []
        made: list[Utterance] = []
        reports: list[dict[str, Any]] = []
        for span, seed in zip(spans, seeds, strict=True):
            rendered = self._render_span(utterance, span, np.random.default_rng(int(seed)))
            patches.append(Patch(span, rendered.utterance.samples))
            made.append(rendered.utterance)
            reports.append({"span": list(span), "inner": dict(rendered.details)})
        edited, placed = splice(utterance, patches)
        if self.inner.hides_words() and utterance.transcript:
            from stepedit_masked.words import with_hidden

            edited = with_hidden(utterance, edited, spans, made)
        for report, where in zip(reports, placed, strict=True):
            report["output_span"] = [round(edge, 6) for edge in where]
        details = {
            "backend": self.inner.name,
            "fade_seconds": FADE_SECONDS,
            "spans": reports,
            "output_spans": [report["output_span"] for report in reports],
        }
        said = dict.fromkeys(note for one in reports for note in one["inner"].get("notes", ()))
        return Rendered(edited, {**details, "notes": list(said)} if said else details)

    def _changes_words(self) -> bool:
        """Return whether the inner edit changes words and leaves all else as it is."""
        return self.inner.confined(()) is not None

    def of_words(self, utterance: Utterance) -> Edit | None:
        """Return the inner edit of the whole that touches the words of the region alone.

        None where it works on the samples of spans, and where there are no words.

        Raises:
            AlignmentError: if the region is not there.
        """
        if not (self._changes_words() and (utterance.transcript or "").strip()):
            return None
        return self.inner.confined(self.where.runs_of_words(utterance))

    def _render_span(self, utterance: Utterance, span: Span, rng: np.random.Generator) -> Rendered:
        """Carry out the inner edit on one span, at the utterance's rate."""
        part = utterance.slice(span)
        if self.inner.hides_words() and utterance.transcript:
            from stepedit_masked.words import part_with_words

            part = part_with_words(utterance, span)
        where = f"span ({span.start:g}, {span.end:g}): {self.inner.name}"
        problem = self.inner.problem(part)
        if problem:
            raise StepeditError(f"{where}: {problem}")
        rendered = self.inner.render(part, rng)
        edited = rendered.utterance.resample(utterance.sample_rate)
        if len(edited.samples) == 0:
            raise StepeditError(f"{where} leaves nothing of the span; choose another span")
        return Rendered(edited, rendered.details)
