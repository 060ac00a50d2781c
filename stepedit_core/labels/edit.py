"""Base class of edits towards a label, such as an emotion or a style."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, ClassVar, Self, get_args

from pydantic import Field, field_validator, model_validator

from stepedit_core.edit import Edit, Route
from stepedit_core.plan import Plan
from stepedit_core.prompt import Prompt
from stepedit_core.utterance import Utterance

__all__ = ["REMOVE", "LabelledEdit", "ScaledLabelledEdit", "span_of"]

REMOVE = "remove"
"""Value of ``to`` that asks for speech without a label."""


STRENGTHS = (0.6, 0.8, 1.0, 1.25, 1.5)
"""Strengths that are tried in turn where a chain has limits."""


def span_of(shift: float) -> tuple[float, float]:
    """Return the span from half of a label's usual shift to all of it, as of its level in dB."""
    return (min(0.5 * shift, shift), max(0.5 * shift, shift))


class LabelledEdit(Edit):
    """Base of edits whose one parameter ``to`` is a choice of labels, or ``remove``.

    A subclass narrows ``to`` to a ``Literal`` of its labels and ``remove``.
    """

    instruction: ClassVar[str]
    """Prompt towards a label, with the places ``{info}`` (the label) and ``{text}``."""
    removal: ClassVar[str]
    """Prompt of ``remove``, with the place ``{text}``."""
    synonyms: ClassVar[Mapping[str, str]] = {}
    """Words that people say, lower case, to the label to suggest for them."""
    without_dsp: ClassVar[Mapping[str, str]] = {}
    """Label to why signal processing cannot render it."""

    to: str
    """The label, or ``remove``."""

    @field_validator("to", mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        """Refuse an unknown label with the nearest known one."""
        known = get_args(cls.model_fields["to"].annotation)
        if value in known:
            return value
        word = str(value).strip().lower()
        close = difflib.get_close_matches(word, known, 1, 0.6)
        near = cls.synonyms.get(word) or next(iter(close), None)
        hint = f"; did you mean {near!r}? There are" if near else "; there are"
        raise ValueError(f"no such {cls.name}{hint} {', '.join(known)}")

    def route_problem(self, route: Route) -> str | None:
        """Return why a label has no dsp route."""
        if route == "dsp" and self.to in self.without_dsp:
            return (
                f"{self.name}: no dsp route to {self.to!r} ({self.without_dsp[self.to]}); "
                f"use the llm route with an engine"
            )
        return super().route_problem(route)

    def plan(self, utterance: Utterance) -> Plan:
        """Return the plan; how far a label moves the level is the subclass's to say."""
        return super().plan(utterance).but(level=None)

    def needs_transcript(self, route: Route) -> bool:
        """Return whether the route needs the words: the prompt says them."""
        return route == "llm"

    def prompt(self, utterance: Utterance) -> Prompt:
        """Return the subclass's words for the label."""
        text = (utterance.transcript or "").strip()
        if self.to == REMOVE:
            return Prompt.edit(self.removal.format(text=text))
        return Prompt.edit(self.instruction.format(info=self.to, text=text))


class ScaledLabelledEdit(LabelledEdit):
    """Base of labelled edits of which some labels know more and less.

    A subclass says which (``scaled``), and scales by ``amount`` what it announces of them and what
    it renders.
    """

    scaled: ClassVar[frozenset[str]]
    """Labels that know more and less."""

    strength: float | None = Field(default=None, ge=0.25, le=2.0)
    """How much of the label's usual shift, as a factor; 1 where none is given. Signal processing
    takes it, and engines whose decoder does the shift to the recording's own codes."""

    @model_validator(mode="after")
    def _takes_a_strength(self) -> Self:
        """Refuse a strength for a label that has none."""
        if self.strength is not None and self.to not in self.scaled:
            raise ValueError(f"strength: {self.to} knows no more or less; leave it out")
        return self

    @property
    def amount(self) -> float:
        """The strength that is asked for, as a factor on the usual shift."""
        return 1.0 if self.strength is None else self.strength

    def gentler(self) -> Self | None:
        """Return the request at the next lower strength."""
        less = [one for one in STRENGTHS if one < self.amount]
        return self._at(less[-1]) if less else None

    def stronger(self) -> Self | None:
        """Return the request at the next higher strength."""
        more = [one for one in STRENGTHS if one > self.amount]
        return self._at(more[0]) if more else None

    def _at(self, strength: float) -> Self | None:
        """Return the request at a strength; None for a label that knows one alone."""
        if self.to not in self.scaled:
            return None
        return self.model_copy(update={"strength": None if strength == 1.0 else strength})

    def plan(self, utterance: Utterance) -> Plan:
        """Return the plan, with the strength for decoders that know the label."""
        plan = super().plan(utterance)
        return plan if self.strength is None else plan.but(strength=self.strength)
