"""Pairs for the style edit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from stepedit_core.labels.pairs import LabelledPairs
from stepedit_core.labels.profile import Profile
from stepedit_style.edit import STYLES, Style
from stepedit_style.profiles import PROFILES

__all__ = ["StylePairs"]


class StylePairs(LabelledPairs):
    """Pair plain speech with speech of a style by one speaker."""

    version: ClassVar[int] = 1
    attribute: ClassVar[str] = "style"
    known: ClassVar[tuple[str, ...]] = STYLES
    profiles: ClassVar[Mapping[str, Profile]] = PROFILES
    aliases: ClassVar[Mapping[str, str]] = {
        "whispered": "whisper",
        "whispering": "whisper",
        "shouted": "shout",
        "shouting": "shout",
        "loud": "loudly",
        "soft": "gentle",
        "deep": "deeply",
        "newscast": "news",
        "narration": "story",
        "act_cute": "act_coy",
    }

    def edit_to(self, label: str) -> Style:
        """Return the request for a style, or for ``remove``."""
        return Style.model_validate({"to": label})
