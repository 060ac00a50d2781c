"""The style edit: the same words in the same voice, in another manner of speaking."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, get_args

import numpy as np

from stepedit_core import Plan, Rendered, Utterance, conditioning_label
from stepedit_core.labels.edit import ScaledLabelledEdit, span_of
from stepedit_core.labels.spelling import by_spelling
from stepedit_style.prompt import INSTRUCTION, REMOVE
from stepedit_style.recipes import LEVELS, RATES, RECIPES, RENDERED, WHISPER, reason_without

__all__ = ["SPELLINGS", "STYLES", "Style", "StyleName"]

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
SPELLINGS: Mapping[str, tuple[str, ...]] = {
    "whisper": ("whispered", "whispering"),
    "shout": ("shouting", "shouted"),
    "murmur": ("murmuring",),
    "child": (),
    "older": ("elderly", "old"),
    "exaggerated": (),
    "recite": ("recitation", "reciting"),
    "generous": (),
    "act_coy": ("coy", "act_cute", "act_coquettish"),
    "drunk": (),
    "sleepy": ("sleepiness",),
    "loudly": ("loud",),
    "serious": (),
    "gentle": ("soft",),
    "deeply": ("deep",),
    "news": ("newscast",),
}
"""Styles in corpora, and how these and judges spell them besides."""
_MEANT = {
    **{name: own for name, own in by_spelling(SPELLINGS).items() if own in STYLES},
    "kid": "child",
    "act coy": "act_coy",
    "cute": "act_coy",
    "neutral": "remove",
    "none": "remove",
    "storytelling": "story",
}


class Style(ScaledLabelledEdit):
    """Make the speech take on a speaking style, or remove the one that it has."""

    instruction: ClassVar[str] = INSTRUCTION
    removal: ClassVar[str] = REMOVE
    synonyms: ClassVar[Mapping[str, str]] = _MEANT
    scaled: ClassVar[frozenset[str]] = frozenset(RECIPES)
    without_dsp: ClassVar[Mapping[str, str]] = {
        name: reason_without(name) for name in (*STYLES, "remove") if name not in RENDERED
    }

    to: StyleName
    """The style, or ``remove`` for plain speech."""

    def plan(self, utterance: Utterance) -> Plan:
        """Return the plan, with the inverse of the usual tempo where studies give one.

        The label goes to the decoder: each moves level and pitch in its own way, the level by
        half to all of what the recipe for signal processing does.
        """
        level = min(1.0, self.amount) * LEVELS.get(self.to, 0.0)
        return (
            super()
            .plan(utterance)
            .but(
                length_ratio=RATES.get(self.to, 1.0) ** -self.amount,
                label=conditioning_label(self.name, self.to),
                level=None if self.to == "remove" else span_of(level),
            )
        )

    def render(self, utterance: Utterance, rng: np.random.Generator) -> Rendered:
        """Shift prosody, voice quality and vocal tract as the style asks (see ``recipes``).

        Raises:
            ValueError: for a style without a recipe.
        """
        from stepedit_core.dsp.acoustics import measure
        from stepedit_core.dsp.prosody import transform_with_facts
        from stepedit_style.whispering import whispered

        problem = self.route_problem("dsp")
        if problem:
            raise ValueError(problem)
        if self.to == "whisper":
            edited, facts = whispered(utterance, WHISPER, rng)
        else:
            recipe = RECIPES[self.to].recipe(measure(utterance).f0).at(self.amount)
            edited, facts = transform_with_facts(utterance, recipe, rng)
        return Rendered(edited, facts)
