"""Pairs for the emotion edit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from stepedit_core.labels.pairs import LabelledPairs
from stepedit_core.labels.profile import Profile
from stepedit_emotion.edit import EMOTIONS, SPELLINGS, Emotion
from stepedit_emotion.profiles import PROFILES

__all__ = ["EmotionPairs"]


class EmotionPairs(LabelledPairs):
    """Pair neutral speech with emotional speech by one speaker."""

    version: ClassVar[int] = 1
    attribute: ClassVar[str] = "emotion"
    known: ClassVar[tuple[str, ...]] = EMOTIONS
    profiles: ClassVar[Mapping[str, Profile]] = PROFILES
    aliases: ClassVar[Mapping[str, str]] = {"anxious": "fear"}
    spellings: ClassVar[Mapping[str, tuple[str, ...]]] = SPELLINGS

    def edit_to(self, label: str) -> Emotion:
        """Return the request for an emotion, or for ``remove``."""
        return Emotion.model_validate({"to": label})
