"""The redact edit: private words are found in the transcript and hidden in sound and text."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, get_args

import numpy as np
from pydantic import Field, field_validator, model_validator

from stepedit_core import (
    AlignmentError,
    Edit,
    NotHeardYet,
    Plan,
    Prompt,
    Rendered,
    Replacement,
    Route,
    Utterance,
    place_words,
)
from stepedit_core.dsp.words import split_words
from stepedit_redact.finding import Hit, PatternKind, find_patterns, find_phrases, merged
from stepedit_redact.names import find_names, presidio_finds, presidio_missing
from stepedit_redact.spoken import tokens_of
from stepedit_redact.text import hidden_text, standing_in

__all__ = ["Mask", "Redact"]

Mask = Literal["silence", "bleep", "noise", "replace"]
MAX_TEXT = 2_000
"""Most characters of a phrase."""
MAX_PHRASES = 1_000


class Redact(Edit):
    """Hide private words: in the sound, in the transcript and in every record of the edit."""

    prompts_like: ClassVar[str | None] = "clone"

    words: tuple[str, ...] = Field(default=(), max_length=MAX_PHRASES)
    """Words and phrases to hide wherever they are said."""
    patterns: tuple[PatternKind, ...] = ("email", "phone", "card")
    """What to find by itself: ``email``, ``phone``, ``card``; ``number`` is any of four digits."""
    names: Literal["auto", "rules", "presidio", "off"] = "auto"
    """Names of people: by ``rules``; by ``presidio`` too; ``auto`` takes it where installed."""
    by: Mask = "silence"
    """What is heard instead: silence, a tone, noise; ``replace`` has a model say other words."""

    @field_validator("words", "patterns", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        """Take a single word or pattern for a list of one."""
        return (value,) if isinstance(value, str) else value

    @field_validator("words")
    @classmethod
    def _with_words(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """Refuse phrases without a word, and those that are too long."""
        if any(not split_words(phrase) or len(phrase) > MAX_TEXT for phrase in value):
            raise ValueError(f"each phrase holds a word, in at most {MAX_TEXT} characters")
        return value

    @field_validator("patterns")
    @classmethod
    def _once(cls, value: tuple[PatternKind, ...]) -> tuple[PatternKind, ...]:
        """Keep each pattern once, in one order."""
        return tuple(kind for kind in get_args(PatternKind) if kind in value)

    @model_validator(mode="after")
    def _something(self) -> Redact:
        """Hold that something is to be hidden."""
        if not (self.words or self.patterns) and self.names == "off":
            raise ValueError("nothing to hide: give words=, patterns= or names=")
        return self

    # What is private ---------------------------------------------------------------------

    def hits(self, text: str, language: str | None = None) -> list[Hit]:
        """Return the private words of a transcript, in order, none overlapping.

        Raises:
            MissingDependencyError: if ``names="presidio"`` and Presidio is not installed.
        """
        tokens = tokens_of(text)
        found = [*find_phrases(tokens, self.words), *find_patterns(tokens, self.patterns)]
        if self.names != "off":
            found += find_names(tokens)
        if self.finder == "presidio":
            found += presidio_finds(text, self.patterns, self.names != "off", language)
        return merged(found)

    @property
    def finder(self) -> str:
        """What finds names: ``presidio`` beside the rules, ``rules`` alone, or ``off``."""
        if self.names == "auto":
            return "rules" if presidio_missing() else "presidio"
        return self.names

    def hides_words(self) -> bool:
        """Return True: no record holds what is hidden here."""
        return True

    def public_data(self) -> dict[str, Any]:
        """Return the edit as JSON data, its private words counted instead of named."""
        data = self.to_data()
        return {**data, "words": f"{len(self.words)} withheld"} if self.words else data

    # The contract ------------------------------------------------------------------------

    def needs_transcript(self, route: Route) -> bool:
        """Return True: private words are found in the transcript."""
        return True

    def transcript_after(self, utterance: Utterance) -> str | None:
        """Return the transcript with tags, or other words, in place of what is private."""
        text = utterance.transcript
        if not (text or "").strip():
            return text
        assert text is not None
        hits = self.hits(text, utterance.language)
        return standing_in(text, hits) if self.by == "replace" else hidden_text(text, hits)

    def problem(self, utterance: Utterance) -> str | None:
        """Return that no word is left to replace, or what has to be installed, or None."""
        missing = presidio_missing() if self.names == "presidio" else None
        if missing:
            return missing
        text = utterance.transcript or ""
        if self.by == "replace" and text.strip() and not self.hits(text, utterance.language):
            return "no private word is found, so there is nothing to say anew"
        return None

    def route_problem(self, route: Route) -> str | None:
        """Return why a mask has one route alone: sounds by dsp, other words by a model."""
        if self.by == "replace" and route == "dsp":
            return "redact by=replace needs the llm route with an engine, which says other words"
        if self.by != "replace" and route == "llm":
            return f"redact by={self.by} has no llm route: the dsp route hides the words"
        return None

    def plan(self, utterance: Utterance) -> Plan:
        """Return the plan: the length stays, or what is said anew where."""
        plan = super().plan(utterance)
        text = utterance.transcript or ""
        if plan.problem or self.by != "replace" or not text.strip():
            return plan.but(length_is_exact=self.by != "replace")
        hits = self.hits(text, utterance.language)
        replacements = tuple(
            Replacement(hit.first, hit.stop, *standing_in_after(text, hits, number))
            for number, hit in reversed(list(enumerate(hits)))
        )
        try:
            alignment = place_words(utterance)
        except NotHeardYet:
            alignment = None
        except AlignmentError:
            return plan.but(problem="the words cannot be timed, so none can be replaced")
        return plan.but(replacements=replacements, alignment=alignment, rules=("clone", self.name))

    def prompt(self, utterance: Utterance) -> Prompt:
        """Return the clone prompt of the new text, with the recording as its own speaker."""
        text = (utterance.transcript or "").strip()
        return Prompt.clone(text, self.transcript_after(utterance) or "")

    def render(self, utterance: Utterance, rng: np.random.Generator) -> Rendered:
        """Hide the private words; every sample outside keeps its bits.

        Raises:
            AlignmentError: if the words cannot be timed; nothing is hidden then.
        """
        from stepedit_redact.dsp import hidden

        hits = self.hits(utterance.transcript or "", utterance.language)
        edited, details = hidden(utterance, hits, self.by, rng)
        return Rendered(edited, {**details, "names_by": self.finder})


def standing_in_after(text: str, hits: list[Hit], number: int) -> tuple[str, str]:
    """Return what is said for one hit, and the whole text once it and all later ones are."""
    from stepedit_redact.text import STAND_INS

    return STAND_INS[hits[number].kind], standing_in(text, hits[number:])
