"""The silence trimming edit: the same speech without the silence before, between and after."""

from __future__ import annotations

import numpy as np
from pydantic import Field, model_validator

from stepedit_core import Edit, Omission, Plan, Prompt, Rendered, Route, Utterance
from stepedit_trim_silence.prompt import INSTRUCTION

__all__ = ["TrimSilence"]


class TrimSilence(Edit):
    """Remove silence before, between and after the words.

    The parameters steer the dsp route; the llm route's sentence has no words for them, so it
    is open to their defaults alone.
    """

    keep: float = Field(default=0.03, ge=0, le=1)
    """Silence kept on each side of speech, in seconds; dsp route only."""
    min_silence: float = Field(default=0.2, ge=0.1, le=10)
    """Pauses shorter than this stay as they are, in seconds; dsp route only."""
    threshold: float = Field(default=0.5, gt=0, lt=1)
    """Probability from which Silero VAD takes sound for speech; lower keeps more."""

    @model_validator(mode="after")
    def _room_to_cut(self) -> TrimSilence:
        """Hold that the shortest pause that is cut is longer than what is kept of it."""
        if self.min_silence < 2 * self.keep + 0.05:
            raise ValueError(
                f"min_silence={self.min_silence:g} leaves nothing to cut with keep={self.keep:g}; "
                f"use at least {2 * self.keep + 0.05:g}"
            )
        return self

    def problem(self, utterance: Utterance) -> str | None:
        """Say that there is no speech, so that nothing would be left."""
        from stepedit_core.dsp.silences import find_speech

        if find_speech(utterance, self.threshold):
            return None
        return (
            f"no speech was found (Silero VAD, threshold {self.threshold:g}), so nothing would be "
            "left; lower threshold= or give a recording of speech"
        )

    def plan(self, utterance: Utterance) -> Plan:
        """Return the plan: silence goes, up to pauses that are shorter than ``min_silence``."""
        from stepedit_core.dsp.silences import find_speech
        from stepedit_trim_silence.dsp import removable

        plan = super().plan(utterance)
        if plan.problem:
            return plan
        parts = removable(
            utterance,
            find_speech(utterance, self.threshold),
            keep=self.keep,
            min_silence=self.min_silence,
        )
        pause = max(0.0, self.min_silence - 2 * self.keep)
        inner = [span.start > 0 and span.end < utterance.seconds for span in parts]
        return plan.but(
            omissions=tuple(
                Omission(span, pause if is_inner else 0.0)
                for span, is_inner in zip(parts, inner, strict=True)
            )
        )

    def route_problem(self, route: Route) -> str | None:
        """Say that the llm prompt cannot express other than default parameters."""
        if route == "llm" and self != TrimSilence():
            return (
                "trim_silence: the llm prompt has no words for keep=, min_silence= and threshold=; "
                "leave them out or use the dsp route"
            )
        return super().route_problem(route)

    def prompt(self, utterance: Utterance) -> Prompt:
        """Return the checkpoint's sentence, which takes no transcript."""
        return Prompt.edit(INSTRUCTION)

    def render(self, utterance: Utterance, rng: np.random.Generator) -> Rendered:
        """Cut silence found by Silero VAD.

        Raises:
            AudioError: if the recording holds no speech.
        """
        from stepedit_trim_silence.dsp import trim

        edited, details = trim(
            utterance, keep=self.keep, min_silence=self.min_silence, threshold=self.threshold
        )
        return Rendered(edited, details)
