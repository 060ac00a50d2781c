"""The emotion edit: the same words in the same voice, with another emotion or with none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, get_args

import numpy as np

from stepedit_core import Plan, Rendered, Utterance, conditioning_label
from stepedit_core.labels.edit import ScaledLabelledEdit, span_of
from stepedit_core.labels.spelling import by_spelling
from stepedit_emotion.prompt import INSTRUCTION, REMOVE
from stepedit_emotion.recipes import NO_RECIPE, RECIPES

__all__ = ["EMOTIONS", "SPELLINGS", "Emotion", "EmotionName"]

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
SPELLINGS: Mapping[str, tuple[str, ...]] = {
    "neutral": ("neu", "normal", "none"),
    "angry": ("anger", "ang"),
    "happy": ("happiness", "hap", "joy", "joyful"),
    "sad": ("sadness", "sadnes"),
    "fear": ("fearful", "fea", "afraid", "scared"),
    "disgusted": ("disgust", "dis"),
    "surprised": ("surprise", "sur", "pleasant_surprise"),
    "excited": ("excitement", "exc"),
    "calm": (),
    "bored": ("boredom",),
    "anxious": ("anxiety",),
    "amused": ("amusement", "amu"),
    "contempt": ("contemptuous",),
    "depressed": ("depression",),
    "embarrass": ("embarrassed", "embarrassment"),
    "confusion": ("confused",),
    "humour": ("humor", "humorous"),
    "empathy": ("empathetic",),
    "admiration": ("admiring",),
    "coldness": ("cold",),
    "apologetic": (),
    "assertive": (),
    "concerned": ("concern",),
    "encouraging": (),
}
"""Emotions in corpora of acted speech, and how these and judges spell them besides."""
_MEANT = {
    **{name: own for name, own in by_spelling(SPELLINGS).items() if own in EMOTIONS},
    "melancholic": "depressed",
    "calm": "remove",
    "neutral": "remove",
    "none": "remove",
    "amused": "humour",
}


class Emotion(ScaledLabelledEdit):
    """Make the speech carry an emotion, or remove the one that it carries."""

    instruction: ClassVar[str] = INSTRUCTION
    removal: ClassVar[str] = REMOVE
    synonyms: ClassVar[Mapping[str, str]] = _MEANT
    scaled: ClassVar[frozenset[str]] = frozenset(RECIPES)
    without_dsp: ClassVar[Mapping[str, str]] = NO_RECIPE

    to: EmotionName
    """The emotion, or ``remove`` for neutral speech."""

    def plan(self, utterance: Utterance) -> Plan:
        """Return the plan, with the inverse of the usual tempo where studies give one.

        The label goes to the decoder: each moves level and pitch in its own way, the level by
        half to all of what studies say.
        """
        recipe = RECIPES[self.to].recipe if self.to in RECIPES else None
        if recipe is not None and self.strength is not None:
            recipe = recipe.at(self.strength)
        level = span_of(0.0 if recipe is None else recipe.level)
        return (
            super()
            .plan(utterance)
            .but(
                length_ratio=1.0 if recipe is None else 1 / recipe.rate,
                label=conditioning_label(self.name, self.to),
                level=None if self.to == "remove" else level,
            )
        )

    def render(self, utterance: Utterance, rng: np.random.Generator) -> Rendered:
        """Shift prosody and voice quality by the emotion's usual size (see ``recipes``).

        Raises:
            ValueError: for an emotion without a recipe.
        """
        from stepedit_core.dsp.prosody import transform_with_facts

        problem = self.route_problem("dsp")
        if problem:
            raise ValueError(problem)
        edited, facts = transform_with_facts(
            utterance, RECIPES[self.to].recipe.at(self.amount), rng
        )
        return Rendered(edited, facts)
