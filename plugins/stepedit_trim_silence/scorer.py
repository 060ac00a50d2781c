"""Scorer of the silence trimming edit: silence left, speech kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from stepedit_core import (
    Case,
    Measures,
    Prepared,
    Score,
    Scorer,
    StepeditError,
    Utterance,
    words_kept,
)
from stepedit_core.dsp.vad import gaps, total_seconds
from stepedit_trim_silence.room_tone import lengthen

__all__ = ["TrimSilenceScorer", "long_silence"]

MIN_REMOVED = 0.9
"""Share of long silence that must be gone."""
SPEECH_TOLERANCE = 0.05
"""Relative change of speech time that counts as kept: VAD places each edge to 30 ms."""
PAUSE_SECONDS = 0.25
"""Pauses up to this length belong to fluent speech (Goldman-Eisler 1968)."""
_LEAST_SILENCE = 0.1


def long_silence(speech: Sequence[tuple[float, float]], seconds: float) -> float:
    """Return the seconds by which pauses, start and end exceed 0.25 s each."""
    return sum(max(0.0, gap.seconds - PAUSE_SECONDS) for gap in gaps(speech, seconds))


class TrimSilenceScorer(Scorer):
    """Compare long silence and speech time before and after, by Silero VAD.

    Reached: at least 90 % of the long silence is gone, speech time changed by 5 % at most, and the
    words are said as in the source: substitutions and insertions count as deletions do.
    """

    version: ClassVar[int] = 2

    def prepare(self, case: Case, clean: Utterance, rng: np.random.Generator) -> Prepared:
        """Insert room tone by ``{"silence_share": X}``; without it the recording is the input.

        Raises:
            StepeditError: if the recording has no room tone to insert.
        """
        share = case.prepare.get("silence_share")
        if share is None:
            return Prepared(clean)
        source, spans = lengthen(clean, float(share), rng)
        return Prepared(source, facts={"inserted_spans": [list(span) for span in spans]})

    def score(self, case: Case, prepared: Prepared, output: Utterance, measures: Measures) -> Score:
        """Measure what is left of silence and of speech."""
        source = prepared.source
        try:
            before, after = (measures.speech_spans(sound) for sound in (source, output))
        except StepeditError as error:
            return Score.failed(f"speech could not be found: {error}")
        silent = long_silence(before, source.seconds)
        left = long_silence(after, output.seconds)
        values: dict[str, float | None] = {
            "silence_before": silent,
            "silence_left": left,
            "duration_ratio": output.seconds / source.seconds,
        }
        if not before:
            return Score.failed("no speech was found in the input", **values)
        if silent < _LEAST_SILENCE:
            return Score.failed("the input has no long silence to remove", **values)
        removed, kept = 1 - left / silent, total_seconds(after) / total_seconds(before)
        values |= {"silence_removed": removed, "speech_kept": kept}
        said, values["word_error"] = words_kept(measures, source, output)
        trimmed = removed >= MIN_REMOVED and abs(kept - 1) <= SPEECH_TOLERANCE
        return Score(trimmed and said is not False, values)
