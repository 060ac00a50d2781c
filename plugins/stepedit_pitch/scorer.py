"""Scorer of the pitch edit: pitch, range and formants as asked, all else as it was."""

from __future__ import annotations

from typing import ClassVar

from stepedit_core import Case, Measures, Prepared, Score, Scorer, Utterance, words_kept
from stepedit_core.dsp.likeness import likeness
from stepedit_pitch.edit import Pitch
from stepedit_pitch.measuring import PitchShift, formant_ratio, pitch_shift

__all__ = ["PitchScorer"]

TOLERANCE_CENTS = 20.0
RANGE_TOLERANCE = 0.15
"""Relative error of the range: trackers find other frames voiced at its ends. A range of 0 may come
out as that share of the source's."""
FORMANT_TOLERANCE = 0.03
"""Two per cent, and one for the measure."""
MAX_SPREAD_CENTS = 60.0
"""Median distance of single frames from the one shift."""
MIN_VOICED = 0.4
"""Least share of the source's voiced frames that are voiced in the output, too."""
MIN_LEVEL = 0.85
"""Least correlation of the levels with the source's; the dsp route stays above 0.9."""
_SAME_SECONDS = 0.005


class PitchScorer(Scorer):
    """Compare F0 and formants frame by frame with the source's, and the rest with the source.

    Reached: the median F0 within 20 cents and its range within 15 % of what was asked, frame by
    frame the source's melody, formants kept or moved within 3 %, and the same duration, words and
    course of the level.
    """

    version: ClassVar[int] = 1
    expects_same_duration: ClassVar[bool] = True
    expects_same_speaker: ClassVar[bool] = False

    def score(self, case: Case, prepared: Prepared, output: Utterance, measures: Measures) -> Score:
        """Measure pitch, range, formants and likeness to the source."""
        edit, source = case.edit, prepared.source
        if not isinstance(edit, Pitch):
            return Score.failed(f"the pitch scorer was given the edit {edit.name}")
        if pitch_shift(source, source) is None:
            return Score.failed("no voiced sound was found in the input")
        shift = pitch_shift(source, output, edit.semitones, edit.range)
        alike = likeness(source, output)
        formants = None if shift is None else formant_ratio(source, output)
        values: dict[str, float | None] = {
            "cents_error": None if shift is None else 100 * (shift.semitones - edit.semitones),
            "melody_spread": None if shift is None else shift.spread,
            "range_factor": None if shift is None else shift.range,
            "voiced_share": None if shift is None else shift.share,
            "formant_ratio": formants,
            "level_likeness": None if alike is None else alike.level,
        }
        said, values["word_error"] = words_kept(measures, source, output)
        if shift is None or alike is None or formants is None:
            return Score(False, values)
        same = abs(output.seconds - source.seconds) <= _SAME_SECONDS and alike.level >= MIN_LEVEL
        asked = edit.ratio if edit.formants == "moved" else 1.0
        shaped = abs(formants / asked - 1) <= FORMANT_TOLERANCE
        return Score(_pitched(edit, shift) and shaped and same and said is not False, values)


def _pitched(edit: Pitch, shift: PitchShift) -> bool:
    """Say whether pitch, range and melody are as asked."""
    close = abs(shift.semitones - edit.semitones) * 100 <= TOLERANCE_CENTS
    wide = abs(shift.range - edit.range) <= RANGE_TOLERANCE * max(1.0, edit.range)
    follows = shift.spread <= MAX_SPREAD_CENTS * max(1.0, edit.range)
    return close and wide and follows and shift.share >= MIN_VOICED
