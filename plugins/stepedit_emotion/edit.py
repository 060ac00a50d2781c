"""The emotion edit: the same words in the same voice, with another emotion or with none."""

from __future__ import annotations

import difflib
from typing import Any, Literal, get_args

import numpy as np
from pydantic import field_validator

from stepedit_core import Edit, Plan, Prompt, Rendered, Route, Utterance, conditioning_label
from stepedit_emotion.prompt import INSTRUCTION, REMOVE
from stepedit_emotion.recipes import NO_RECIPE, RECIPES

__all__ = ["EMOTIONS", "Emotion", "EmotionName"]

EmotionName = Literal[
    "happy",
    "angry",
    "sad",
    "humour",
    "confusion",
    "disgusted",
    "empathy",
    "embarrass",
    "fear",
    "surprised",
    "excited",
    "depressed",
    "coldness",
    "admiration",
    "remove",
]
EMOTIONS: tuple[str, ...] = tuple(name for name in get_args(EmotionName) if name != "remove")
"""The emotions of Step-Audio-EditX, in its order."""
_MEANT = {
    "anger": "angry",
    "happiness": "happy",
    "joy": "happy",
    "sadness": "sad",
    "fearful": "fear",
    "afraid": "fear",
    "surprise": "surprised",
    "disgust": "disgusted",
    "neutral": "remove",
    "none": "remove",
    "cold": "coldness",
    "amused": "humour",
    "humor": "humour",
}


class Emotion(Edit):
    """Make the speech carry an emotion, or remove the one that it carries."""

    to: EmotionName
    """The emotion, or ``remove`` for neutral speech."""

    @field_validator("to", mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        """Refuse an unknown emotion with the nearest known one."""
        known = get_args(EmotionName)
        if value in known:
            return value
        word = str(value).strip().lower()
        near = _MEANT.get(word) or next(iter(difflib.get_close_matches(word, known, 1, 0.6)), None)
        hint = f"did you mean {near!r}? " if near else ""
        raise ValueError(f"no such emotion; {hint}There are {', '.join(known)}")

    def route_problem(self, route: Route) -> str | None:
        """Say why an emotion has no dsp route."""
        if route == "dsp" and self.to not in RECIPES:
            return (
                f"emotion: no dsp route to {self.to!r} ({NO_RECIPE[self.to]}); "
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
                length_ratio=1 / RECIPES[self.to].recipe.rate if self.to in RECIPES else 1.0,
                label=conditioning_label(self.name, self.to),
            )
        )

    def needs_transcript(self, route: Route) -> bool:
        """Return whether the route needs the words: the prompt says them."""
        return route == "llm"

    def prompt(self, utterance: Utterance) -> Prompt:
        """Return the checkpoint's words for the emotion."""
        text = (utterance.transcript or "").strip()
        if self.to == "remove":
            return Prompt.edit(REMOVE.format(text=text))
        return Prompt.edit(INSTRUCTION.format(info=self.to, text=text))

    def render(self, utterance: Utterance, rng: np.random.Generator) -> Rendered:
        """Shift prosody and voice quality by the emotion's usual size (see ``recipes``).

        Raises:
            ValueError: for an emotion without a recipe.
        """
        from stepedit_core.dsp.prosody import transform_with_facts

        problem = self.route_problem("dsp")
        if problem:
            raise ValueError(problem)
        edited, facts = transform_with_facts(utterance, RECIPES[self.to].recipe, rng)
        return Rendered(edited, facts)
