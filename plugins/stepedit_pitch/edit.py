"""The pitch edit: the same words at the same pace, higher or lower, livelier or flatter."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from stepedit_core import Edit, Plan, Rendered, Utterance, conditioning_label

__all__ = ["Formants", "Pitch"]

Formants = Literal["kept", "moved"]


class Pitch(Edit):
    """Make the voice higher or lower, or its melody wider or flatter; duration and words stay."""

    semitones: float = Field(default=0.0, ge=-12, le=12)
    """How much higher; negative is lower, 12 is an octave."""
    formants: Formants = "kept"
    """``kept``: the same mouth and the same person; ``moved``: they move along with the pitch, as
    of a smaller or larger person."""
    range: float = Field(default=1.0, ge=0, le=3)
    """Factor on the distances of the pitch from its median, in semitones: 0 is monotone, 0.5 is
    flatter, 2 is livelier."""

    @model_validator(mode="after")
    def _changes_something(self) -> Pitch:
        """Hold that the pitch or its range changes."""
        if self.semitones == 0 and self.range == 1:
            raise ValueError("give semitones= (such as 3 or -3) or range= (such as 0.5 or 1.5)")
        return self

    @property
    def ratio(self) -> float:
        """The factor on the median F0."""
        return float(2 ** (self.semitones / 12))

    def plan(self, utterance: Utterance) -> Plan:
        """Return the plan: the source at its own tempo."""
        numbers = {"range": self.range} if self.range != 1 else {}
        label = conditioning_label(self.name, semitones=self.semitones, **numbers)
        return super().plan(utterance).but(uniform_tempo=True, label=label)

    def problem(self, utterance: Utterance) -> str | None:
        """Say that silence has no pitch."""
        if not utterance.samples.any():
            return "the recording is silent: it has no pitch to change"
        return None

    def render(self, utterance: Utterance, rng: np.random.Generator) -> Rendered:
        """Shift the pitch by WORLD, or by Rubber Band or Signalsmith where formants move.

        Raises:
            AudioError: if the recording holds no voiced sound.
        """
        from stepedit_pitch.dsp import shifted

        edited, details = shifted(utterance, self, rng)
        return Rendered(edited, details)
