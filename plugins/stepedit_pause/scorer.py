"""Scorer of the pause edit: the pause lasts as long as asked, and all other samples are kept."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from stepedit_core import (
    Case,
    Measures,
    Prepared,
    Score,
    Scorer,
    Span,
    StepeditError,
    Utterance,
    words_kept,
)
from stepedit_core.dsp.silences import frame_levels
from stepedit_pause.dsp import tone_span
from stepedit_pause.edit import Pause

__all__ = ["PauseScorer"]

TOLERANCE_SECONDS = 0.010
SLACK_SECONDS = 0.03
"""How far around the pause samples may differ: cross-fades, and the search for its place."""
MAX_TONE_DB = 10.0
"""How far the level of the new pause may lie from that of the recording's pauses."""
_LEAST_CHANGE = 0.02
_DIGITAL_SILENCE_DB = -100.0


class PauseScorer(Scorer):
    """Compare the samples around the pause with the source's, and its sound with room tone.

    Reached: the pause lasts as long as asked within 10 ms, it sounds as loud as the recording's own
    pauses within 10 dB, and all samples before and after it are the source's, bit for bit.
    """

    version: ClassVar[int] = 1

    def score(self, case: Case, prepared: Prepared, output: Utterance, measures: Measures) -> Score:
        """Measure the length of the pause, its level, and what is kept."""
        edit, source = case.edit, prepared.source
        if not isinstance(edit, Pause):
            return Score.failed(f"the pause scorer was given the edit {edit.name}")
        try:
            pause = edit.place(source, edit.timed(source)).span
        except StepeditError as error:
            return Score.failed(f"the place was not found: {error}")
        if abs(edit.seconds - pause.seconds) < _LEAST_CHANGE:
            return Score.failed("the pause has the length that is asked for")
        lasts = pause.seconds + output.seconds - source.seconds
        head, tail = _kept(source, output)
        level = _tone_difference(source, output, pause, edit.seconds)
        values: dict[str, float | None] = {
            "pause_before": pause.seconds,
            "pause_after": lasts,
            "pause_error": lasts - edit.seconds,
            "head_kept": head,
            "tail_kept": tail,
            "tone_difference_db": level,
        }
        exact = abs(lasts - edit.seconds) <= TOLERANCE_SECONDS
        untouched = head >= pause.start - SLACK_SECONDS
        untouched = untouched and tail >= source.seconds - pause.end - SLACK_SECONDS
        said, values["word_error"] = words_kept(measures, source, output)
        sounds = level is None or abs(level) <= MAX_TONE_DB
        return Score(exact and untouched and sounds and said is not False, values)


def _kept(source: Utterance, output: Utterance) -> tuple[float, float]:
    """Return the seconds at the beginning and at the end that are the source's, bit for bit."""
    if source.sample_rate != output.sample_rate:
        return 0.0, 0.0
    count = min(len(source.samples), len(output.samples))
    lengths = []
    for old, new in (
        (source.samples[:count], output.samples[:count]),
        (source.samples[::-1][:count], output.samples[::-1][:count]),
    ):
        differs = np.flatnonzero(old != new)
        lengths.append((int(differs[0]) if len(differs) else count) / source.sample_rate)
    return lengths[0], lengths[1]


def _tone_difference(
    source: Utterance, output: Utterance, pause: Span, seconds: float
) -> float | None:
    """Return how much louder the pause is than the room tone of the source, in dB.

    None where the pause is too short to tell, or both are digital silence.
    """
    inside = output.slice((pause.start + SLACK_SECONDS, pause.start + seconds - SLACK_SECONDS))
    if seconds <= 4 * SLACK_SECONDS or inside.seconds < SLACK_SECONDS:
        return None
    tone = source.slice(tone_span(source, pause))
    new, own = (
        float(np.median(frame_levels(sound.samples, sound.sample_rate))) for sound in (inside, tone)
    )
    return None if max(new, own) <= _DIGITAL_SILENCE_DB else new - own
