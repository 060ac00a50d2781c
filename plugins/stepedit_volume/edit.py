"""The volume edit: the same recording, louder or softer, and never clipped."""

from __future__ import annotations

import numpy as np
from pydantic import Field, model_validator

from stepedit_core import Edit, Plan, Rendered, Utterance, conditioning_label
from stepedit_volume.dsp import CEILING_DB, levelled

__all__ = ["CEILING_DB", "Volume"]


class Volume(Edit):
    """Make the recording louder or softer, by so much or to a level.

    Exactly one of ``db``, ``lufs`` and ``peak`` is given. A limiter holds the true peak at
    -1 dBTP; nothing else changes.
    """

    db: float | None = Field(default=None, ge=-60, le=40)
    """By how much, in dB: 6 is twice the amplitude, -6 half of it."""
    lufs: float | None = Field(default=None, ge=-60, le=-8)
    """To which loudness, in LUFS (ITU-R BS.1770): -16 for podcasts, -23 for broadcast."""
    peak: float | None = Field(default=None, ge=-60, le=CEILING_DB)
    """To which true peak, in dBTP."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Volume:
        """Hold that one target is given, and that it changes something."""
        if sum(value is not None for value in (self.db, self.lufs, self.peak)) != 1:
            raise ValueError("give exactly one of db=, lufs= and peak=")
        if self.db == 0:
            raise ValueError("db=0 changes nothing; 6 is twice the amplitude, -6 half of it")
        return self

    def changes_level(self) -> bool:
        """Return True: loudness is what the edit is about."""
        return True

    def at_level(self, loudness: float | None, true_peak: float) -> Volume:
        """Return the gain that brings all of a long recording to what is asked for."""
        if self.lufs is not None and loudness is not None:
            gain = self.lufs - loudness
        elif self.peak is not None and true_peak > 0:
            gain = self.peak - 20 * float(np.log10(true_peak))
        else:
            return self
        # No gain at all is refused as a request; this is none that anybody hears.
        return Volume(db=round(float(np.clip(gain, -60, 40)), 2) or 0.01)

    def plan(self, utterance: Utterance) -> Plan:
        """Return the plan: nothing but the level changes."""
        asked = self.model_dump(exclude_none=True)
        label = conditioning_label(self.name, **asked)
        return super().plan(utterance).but(uniform_tempo=True, label=label)

    def problem(self, utterance: Utterance) -> str | None:
        """Say that silence has no loudness, and no peak to bring anywhere."""
        from stepedit_core.dsp.loudness import loudness

        if not utterance.samples.any():
            return "the recording is silent: it has no level to change"
        if self.lufs is not None and loudness(utterance) is None:
            return "the recording is softer than -70 LUFS and so has no loudness; give db= instead"
        return None

    def render(self, utterance: Utterance, rng: np.random.Generator) -> Rendered:
        """Apply the gain, and a look-ahead limiter where the true peak asks for it.

        Raises:
            AudioError: if the recording is silent.
        """
        edited, details = levelled(utterance, self)
        return Rendered(edited, details)
