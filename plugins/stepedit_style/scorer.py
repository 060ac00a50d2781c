"""Scorer of the style edit: a judge names the style."""

from __future__ import annotations

from typing import ClassVar

from stepedit_core.labelled_scoring import LabelScorer
from stepedit_style.edit import STYLES, Style

__all__ = ["StyleScorer"]


class StyleScorer(LabelScorer):
    """Reached where the judge hears the style asked for."""

    version: ClassVar[int] = 1
    attribute: ClassVar[str] = "style"
    labels: ClassVar[tuple[str, ...]] = STYLES

    def edit_to(self, label: str) -> Style:
        """Return the request for a style."""
        return Style.model_validate({"to": label})
