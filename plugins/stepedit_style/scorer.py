"""Scorer of the style edit: a judge names the style."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from stepedit_core import Utterance
from stepedit_core.labels.scoring import LabelScorer
from stepedit_style.edit import STYLES, Style

__all__ = ["MAX_VOICED", "StyleScorer"]

MAX_VOICED = 0.2
"""Share of active frames that may be voiced in a whisper; chance hits in noise included."""


class StyleScorer(LabelScorer):
    """Reached where the judge hears the style asked for."""

    version: ClassVar[int] = 2
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

    def fits(
        self, label: str, source: Utterance, output: Utterance
    ) -> tuple[bool, Mapping[str, float | None]]:
        """Hold that a whisper is not voiced, as the source is."""
        if label != "whisper":
            return True, {}
        from stepedit_core.dsp.acoustics import measure

        before, after = measure(source).voiced, measure(output).voiced
        if before is None or after is None:
            return False, {"voiced_share": after}
        return after <= min(MAX_VOICED, before / 2), {"voiced_share": after}
