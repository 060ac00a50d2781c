"""The pause edit: a pause between words, put in, made longer or made shorter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field, model_validator

from stepedit_core import (
    Alignment,
    AlignmentError,
    Edit,
    NotHeardYet,
    Plan,
    Rendered,
    Route,
    StepeditError,
    Utterance,
    find_phrase,
    place_words,
)
from stepedit_core.dsp.words import split_words

if TYPE_CHECKING:
    from stepedit_pause.dsp import Place

__all__ = ["Pause"]

_MAX_TEXT = 2_000


class Pause(Edit):
    """Make the pause at a place so long; every other sample stays as it is.

    Exactly one of ``after``, ``before`` and ``at`` says where. A pause that is there becomes
    longer or shorter; where none is, one is put in. What is put in is the recording's own room
    tone.
    """

    seconds: float = Field(ge=0, le=30)
    """How long the pause is to last."""
    after: str | None = Field(default=None, min_length=1, max_length=_MAX_TEXT)
    """Words before the pause, as they stand in the transcript."""
    before: str | None = Field(default=None, min_length=1, max_length=_MAX_TEXT)
    """Words after the pause."""
    at: float | Literal["start", "end"] | None = None
    """A place in seconds, or the silence before the first or after the last sound."""
    occurrence: int | None = Field(default=None, ge=1)
    """Which one of ``after`` or ``before``, from 1, where it is said several times."""

    @model_validator(mode="after")
    def _one_place(self) -> Pause:
        """Hold that one place is given."""
        if sum(place is not None for place in (self.after, self.before, self.at)) != 1:
            raise ValueError("give exactly one of after=, before= and at=SECONDS|start|end")
        if self.at is not None and self.occurrence is not None:
            raise ValueError("occurrence goes with after= or before=")
        if isinstance(self.at, float) and self.at < 0:
            raise ValueError("at is a place in seconds from the beginning, so not below 0")
        return self

    def needs_transcript(self, route: Route) -> bool:
        """Return whether the place is found by words."""
        return self.at is None

    def pieces_problem(self) -> str | None:
        """Return how the place counts in the whole recording; words alone do not."""
        if self.at is not None:
            return "names a place"
        return None if self.occurrence is None else "counts occurrences"

    def shows_transcript(self) -> bool:
        """Return False: there is no prompt."""
        return False

    def word_index(self, text: str) -> int | None:
        """Return the index of the word that follows the pause; None where ``at`` says the place.

        Raises:
            AlignmentError: if the words are not there; near misses are named.
        """
        if self.at is not None:
            return None
        words = [word.text for word in split_words(text)]
        if self.after is not None:
            return find_phrase(words, self.after, self.occurrence).stop
        return find_phrase(words, str(self.before), self.occurrence).start

    def problem(self, utterance: Utterance) -> str | None:
        """Say that the words are not there, or that the place lies outside the recording."""
        text = utterance.transcript or ""
        if self.at is None and text.strip():
            try:
                self.word_index(text)
            except AlignmentError as error:
                return str(error)
        if isinstance(self.at, float) and self.at > utterance.seconds:
            return f"at={self.at:g} lies after the end of the recording ({utterance.seconds:.2f} s)"
        return None

    def plan(self, utterance: Utterance) -> Plan:
        """Return the plan: how much longer, and when the words are said where they matter."""
        plan = super().plan(utterance)
        if plan.problem or (self.at is None and not (utterance.transcript or "").strip()):
            return plan
        try:
            alignment = self.timed(utterance)
            place = self.place(utterance, alignment)
        except NotHeardYet:
            return plan
        except StepeditError as error:
            return plan.but(problem=str(error))
        grown = self.seconds - place.span.seconds
        ratio = max(1e-3, 1 + grown / max(utterance.seconds, 1e-6))
        return plan.but(length_ratio=ratio, length_is_exact=True, alignment=alignment)

    def timed(self, utterance: Utterance) -> Alignment | None:
        """Return when the words are said; what is known where ``at`` says the place."""
        return utterance.alignment if self.at is not None else place_words(utterance)

    def place(self, utterance: Utterance, alignment: Alignment | None) -> Place:
        """Return the pause that is meant.

        Args:
            utterance: the recording.
            alignment: its words; needed where the place is given by words.

        Raises:
            AlignmentError: if the words are not there.
        """
        from stepedit_pause.dsp import locate

        word = None if alignment is None else self.word_index(alignment.text)
        return locate(utterance, self.at, word, alignment)

    def render(self, utterance: Utterance, rng: np.random.Generator) -> Rendered:
        """Put room tone in, or cut of the pause.

        Raises:
            AlignmentError: if the words cannot be timed.
        """
        from stepedit_pause.dsp import paused

        alignment = self.timed(utterance)
        place = self.place(utterance, alignment)
        edited, details = paused(utterance, place, self.seconds, alignment, rng)
        return Rendered(edited, details)
