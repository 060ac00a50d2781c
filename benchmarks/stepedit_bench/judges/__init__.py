"""Judges of emotion, style and events; README.md has the validation of each."""

from __future__ import annotations

from stepedit_bench.judges.acoustic import AcousticJudge
from stepedit_bench.judges.events import EventsJudge
from stepedit_bench.judges.gemini import GeminiJudge
from stepedit_bench.judges.openai_chat import OpenAIJudge
from stepedit_bench.judges.trained import TrainedJudge
from stepedit_core.scoring import Judge

__all__ = ["JUDGES", "AcousticJudge", "EventsJudge", "GeminiJudge", "OpenAIJudge", "TrainedJudge"]

JUDGES: tuple[type[Judge], ...] = (
    AcousticJudge,
    EventsJudge,
    TrainedJudge,
    GeminiJudge,
    OpenAIJudge,
)
"""What the hook ``stepedit_judges`` brings."""
