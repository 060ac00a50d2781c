"""The emotion edit: the same words in the same voice, with another emotion or with none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, get_args

import numpy as np

from stepedit_core import Rendered, Route, Utterance
from stepedit_core.labels.edit import LabelledEdit
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


class Emotion(LabelledEdit):
    """Make the speech carry an emotion, or remove the one that it carries."""

    transcript_routes: ClassVar[frozenset[Route]] = frozenset({"llm"})
    instruction: ClassVar[str] = INSTRUCTION
    removal: ClassVar[str] = REMOVE
    synonyms: ClassVar[Mapping[str, str]] = _MEANT
    without_dsp: ClassVar[Mapping[str, str]] = NO_RECIPE

    to: EmotionName
    """The emotion, or ``remove`` for neutral speech."""

    def decoded_as(self) -> str:
        """Return the name with its label: each moves level and pitch in its own way."""
        return f"{self.name}:{self.to}"

    def length_ratio(self, utterance: Utterance) -> float:
        """Return the inverse of the emotion's usual tempo, where studies give one."""
        return 1 / RECIPES[self.to].recipe.rate if self.to in RECIPES else 1.0

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
