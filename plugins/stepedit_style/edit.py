"""The style edit: the same words in the same voice, in another manner of speaking."""

from __future__ import annotations

import difflib
from typing import Any, Literal, get_args

import numpy as np
from pydantic import field_validator

from stepedit_core import Edit, Plan, Prompt, Rendered, Route, Utterance, conditioning_label
from stepedit_style.prompt import INSTRUCTION, REMOVE
from stepedit_style.recipes import RATES, RECIPES, reason_without

__all__ = ["STYLES", "Style", "StyleName"]

StyleName = Literal[
    "serious",
    "arrogant",
    "child",
    "older",
    "girl",
    "pure",
    "sister",
    "sweet",
    "ethereal",
    "whisper",
    "gentle",
    "recite",
    "generous",
    "act_coy",
    "warm",
    "shy",
    "comfort",
    "authority",
    "chat",
    "radio",
    "soulful",
    "story",
    "vivid",
    "program",
    "news",
    "advertising",
    "roar",
    "murmur",
    "shout",
    "deeply",
    "loudly",
    "exaggerated",
    "remove",
]
STYLES: tuple[str, ...] = tuple(name for name in get_args(StyleName) if name != "remove")
"""The styles of Step-Audio-EditX."""
_MEANT = {
    "whispering": "whisper",
    "loud": "loudly",
    "deep": "deeply",
    "old": "older",
    "elderly": "older",
    "kid": "child",
    "coy": "act_coy",
    "act coy": "act_coy",
    "act_cute": "act_coy",
    "cute": "act_coy",
    "soft": "gentle",
    "neutral": "remove",
    "none": "remove",
    "storytelling": "story",
}


class Style(Edit):
    """Make the speech take on a speaking style, or remove the one that it has."""

    to: StyleName
    """The style, or ``remove`` for plain speech."""

    @field_validator("to", mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        """Refuse an unknown style with the nearest known one."""
        known = get_args(StyleName)
        if value in known:
            return value
        word = str(value).strip().lower()
        near = _MEANT.get(word) or next(iter(difflib.get_close_matches(word, known, 1, 0.6)), None)
        hint = f"did you mean {near!r}? " if near else ""
        raise ValueError(f"no such style; {hint}There are {', '.join(known)}")

    def route_problem(self, route: Route) -> str | None:
        """Say why a style has no dsp route."""
        if route == "dsp" and self.to not in RECIPES:
            return (
                f"style: no dsp route to {self.to!r} ({reason_without(self.to)}); "
                f"use the llm route with an engine"
            )
        return super().route_problem(route)

    def plan(self, utterance: Utterance) -> Plan:
        """Return the plan, with the inverse of the usual tempo where studies give one.

        The label goes to the decoder: each moves level and pitch in its own way.
        """
        return (
            super()
            .plan(utterance)
            .but(
                length_ratio=1 / RATES.get(self.to, 1.0),
                label=conditioning_label(self.name, self.to),
            )
        )

    def needs_transcript(self, route: Route) -> bool:
        """Return whether the route needs the words: the prompt says them."""
        return route == "llm"

    def prompt(self, utterance: Utterance) -> Prompt:
        """Return the checkpoint's words for the style."""
        text = (utterance.transcript or "").strip()
        if self.to == "remove":
            return Prompt.edit(REMOVE.format(text=text))
        return Prompt.edit(INSTRUCTION.format(info=self.to, text=text))

    def render(self, utterance: Utterance, rng: np.random.Generator) -> Rendered:
        """Shift prosody, voice quality and vocal tract as the style asks (see ``recipes``).

        Raises:
            ValueError: for a style without a recipe.
        """
        from stepedit_core.dsp.acoustics import measure
        from stepedit_core.dsp.prosody import transform_with_facts

        problem = self.route_problem("dsp")
        if problem:
            raise ValueError(problem)
        recipe = RECIPES[self.to].recipe(measure(utterance).f0)
        edited, facts = transform_with_facts(utterance, recipe, rng)
        return Rendered(edited, facts)
