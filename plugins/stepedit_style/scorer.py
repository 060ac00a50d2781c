"""Scorer of the style edit: a judge names the style."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from stepedit_core.labels.scoring import LabelScorer
from stepedit_style.edit import STYLES, Style

__all__ = ["StyleScorer"]


class StyleScorer(LabelScorer):
    """Reached where the judge hears the style asked for."""

    version: ClassVar[int] = 1
    attribute: ClassVar[str] = "style"
    labels: ClassVar[tuple[str, ...]] = STYLES
    # Another vocal tract is another speaker to a speaker model; a whisper has neither the
    # loudness nor, to DNSMOS, which was trained on voiced speech, the quality of speech.
    contradicts: ClassVar[Mapping[str, frozenset[str]]] = {
        "whisper": frozenset({"loudness", "quality", "speaker"}),
        **dict.fromkeys(("child", "girl", "older"), frozenset({"speaker"})),
        **dict.fromkeys(("gentle", "loudly", "murmur", "roar", "shout"), frozenset({"loudness"})),
    }

    def edit_to(self, label: str) -> Style:
        """Return the request for a style."""
        return Style.model_validate({"to": label})
