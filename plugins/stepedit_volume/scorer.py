"""Scorer of the volume edit: the level that was asked for, no clipping, the same speech."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from stepedit_core import Case, Measures, Prepared, Score, Scorer, Utterance, words_kept
from stepedit_core.dsp.likeness import likeness
from stepedit_core.dsp.loudness import limited, loudness, true_peak
from stepedit_volume.edit import CEILING_DB, Volume

__all__ = ["VolumeScorer"]

TOLERANCE_LU = 0.2
PEAK_TOLERANCE_DB = 0.1
"""Meters of true peak differ by so much (BS.1770-4, annex 2)."""
MIN_LEVEL, MIN_TIMBRE = 0.9, 0.9
"""Least correlations of levels and of spectra with the source's."""
_SAME_SECONDS = 0.005
_LEAST_CHANGE = 0.5


class VolumeScorer(Scorer):
    """Compare loudness (BS.1770) and true peak with what was asked, and the rest with the source.

    Reached: loudness within 0.2 LU, no true peak above -1 dBTP, the same duration, words, course
    of the level and spectra. For ``db`` the loudness asked for is that of the source with the gain
    and the limiter.
    """

    version: ClassVar[int] = 1
    expects_same_duration: ClassVar[bool] = True

    def waives(self, case: Case) -> frozenset[str]:
        """Let loudness and level change: that is the edit."""
        return frozenset({"loudness", "level"})

    def score(self, case: Case, prepared: Prepared, output: Utterance, measures: Measures) -> Score:
        """Measure loudness, true peak, and likeness to the source."""
        edit, source = case.edit, prepared.source
        if not isinstance(edit, Volume):
            return Score.failed(f"the volume scorer was given the edit {edit.name}")
        before, asked = loudness(source), _asked(edit, source)
        if before is None or asked is None:
            return Score.failed("the input is silent")
        if abs(before - asked) < _LEAST_CHANGE:
            return Score.failed("the input has the level that is asked for", lufs_before=before)
        after, alike = loudness(output), likeness(source, output)
        peak = _decibels(true_peak(output.samples, output.sample_rate))
        values: dict[str, float | None] = {
            "lufs_before": before,
            "lufs_after": after,
            "lufs_error": None if after is None else after - asked,
            "true_peak_db": peak,
            "level_likeness": None if alike is None else alike.level,
            "timbre_likeness": None if alike is None else alike.timbre,
        }
        said, values["word_error"] = words_kept(measures, source, output)
        if after is None or alike is None:
            return Score(False, values)
        level = abs(after - asked) <= TOLERANCE_LU and peak <= CEILING_DB + PEAK_TOLERANCE_DB
        if edit.peak is not None:
            level = level and abs(peak - edit.peak) <= PEAK_TOLERANCE_DB
        same = abs(output.seconds - source.seconds) <= _SAME_SECONDS
        same = same and alike.level >= MIN_LEVEL and alike.timbre >= MIN_TIMBRE
        return Score(level and same and said is not False, values)


def _asked(edit: Volume, source: Utterance) -> float | None:
    """Return the loudness that the output should have, in LUFS."""
    if edit.lufs is not None:
        return edit.lufs
    peak = true_peak(source.samples, source.sample_rate)
    if peak == 0:
        return None
    gain = edit.db if edit.db is not None else float(edit.peak or 0) - _decibels(peak)
    loud = source.samples * np.float32(10 ** (gain / 20))
    held, _ = limited(loud, source.sample_rate, 10 ** (CEILING_DB / 20))
    return loudness(source.replace(samples=held))


def _decibels(ratio: float) -> float:
    return 20 * float(np.log10(max(ratio, 1e-6)))
