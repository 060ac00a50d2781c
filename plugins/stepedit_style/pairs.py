"""Pairs for the style edit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from stepedit_core.labels.pairs import LabelledPairs
from stepedit_core.labels.profile import Profile
from stepedit_style.edit import SPELLINGS, STYLES, Style
from stepedit_style.profiles import PROFILES

__all__ = ["StylePairs"]


class StylePairs(LabelledPairs):
    """Pair plain speech with speech of a style by one speaker."""

    version: ClassVar[int] = 1
    attribute: ClassVar[str] = "style"
    known: ClassVar[tuple[str, ...]] = STYLES
    profiles: ClassVar[Mapping[str, Profile]] = PROFILES
    aliases: ClassVar[Mapping[str, str]] = {"narration": "story"}
    spellings: ClassVar[Mapping[str, tuple[str, ...]]] = SPELLINGS

    def edit_to(self, label: str) -> Style:
        """Return the request for a style, or for ``remove``."""
        return Style.model_validate({"to": label})
