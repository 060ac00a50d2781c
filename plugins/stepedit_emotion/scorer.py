"""Scorer of the emotion edit: a judge names the emotion."""

from __future__ import annotations

from typing import ClassVar

from stepedit_core.labels.scoring import LabelScorer
from stepedit_emotion.edit import EMOTIONS, Emotion

__all__ = ["EmotionScorer"]


class EmotionScorer(LabelScorer):
    """Reached where the judge hears the emotion asked for."""

    version: ClassVar[int] = 2
    attribute: ClassVar[str] = "emotion"
    labels: ClassVar[tuple[str, ...]] = EMOTIONS

    def edit_to(self, label: str) -> Emotion:
        """Return the request for an emotion."""
        return Emotion.model_validate({"to": label})
