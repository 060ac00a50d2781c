"""Silent parts of a recording: speech by Silero VAD, pauses refined by their level."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from stepedit_core.dsp.offset import offset_of
from stepedit_core.dsp.vad import gaps, speech_spans
from stepedit_core.utterance import Span, Utterance

__all__ = ["FRAME_SECONDS", "find_silences", "find_speech", "frame_levels", "quiet_level"]

FloatArray = npt.NDArray[np.float32]

FRAME_SECONDS = 0.01
# A one-syllable word lasts 0.1 s; Silero's own default of 0.25 s would drop it.
_MIN_SPEECH, _MIN_GAP = 0.1, 0.064
# Silero ends speech early at soft fricatives and breathy ends: sound this much above the quiet
# part of the pauses, and not too far below speech to be heard, belongs to the word it touches.
_ABOVE_QUIET_DB, _BELOW_SPEECH_DB, _MAX_TAIL = 6.0, 40.0, 0.25


def find_speech(utterance: Utterance, threshold: float = 0.5) -> list[Span]:
    """Return the spans of speech, those of one-syllable words included."""
    return speech_spans(
        utterance, threshold=threshold, min_speech=_MIN_SPEECH, min_silence=_MIN_GAP, pad=0.0
    )


def frame_levels(samples: FloatArray, rate: int) -> npt.NDArray[np.float64]:
    """Return the level of each 10 ms frame in dBFS, -120 at least; the last one may be shorter.

    A constant offset is no level.
    """
    samples = samples - np.float32(offset_of(samples, rate))
    # At 22,050 Hz a frame has no whole number of samples, and a rounded one would drift.
    size = max(1.0, FRAME_SECONDS * rate)
    starts = np.round(np.arange(np.ceil(len(samples) / size)) * size).astype(int)
    starts = starts[starts < len(samples)]
    sums = np.add.reduceat(np.square(samples, dtype=np.float64), starts)
    counts = np.diff(starts, append=len(samples))
    return np.asarray(10 * np.log10(np.maximum(sums / counts, 1e-12)))


def quiet_level(utterance: Utterance, speech: Sequence[Span]) -> float:
    """Return the level in dBFS up to which a frame belongs to a pause.

    Args:
        utterance: the recording.
        speech: where speech is, as `find_speech` tells; without a gap, level alone decides.
    """
    levels = frame_levels(utterance.samples, utterance.sample_rate)
    if not len(levels):
        return -120.0
    inside = [levels[_frames(gap)] for gap in gaps(speech, utterance.seconds)]
    heard = np.concatenate([np.zeros(0), *inside])
    below = float(np.percentile(levels, 95)) - _BELOW_SPEECH_DB
    if not len(heard):
        return below
    return max(float(np.percentile(heard, 25)) + _ABOVE_QUIET_DB, below)


def find_silences(utterance: Utterance, speech: Sequence[Span]) -> list[Span]:
    """Return the quiet part of each gap between spans of speech, both ends included."""
    levels = frame_levels(utterance.samples, utterance.sample_rate)
    free = gaps(speech, utterance.seconds)
    inside = [levels[_frames(gap)] for gap in free]
    quiet = quiet_level(utterance, speech)
    if not any(map(len, inside)):
        return []
    silences = []
    for gap, part in zip(free, inside, strict=True):
        head = 0 if gap.start == 0 else _loud_frames(part, quiet)
        tail = 0 if gap.end >= utterance.seconds else _loud_frames(part[::-1], quiet)
        start, end = gap.start + head * FRAME_SECONDS, gap.end - tail * FRAME_SECONDS
        if end > start:
            silences.append(Span(start, end))
    return silences


def _frames(span: Span) -> slice:
    """Return the whole frames inside a span."""
    return slice(int(np.ceil(span.start / FRAME_SECONDS)), int(span.end / FRAME_SECONDS))


def _loud_frames(levels: npt.NDArray[np.float64], quiet: float) -> int:
    """Count frames from the start that are louder than the quiet part of the pauses."""
    limit = round(_MAX_TAIL / FRAME_SECONDS)
    soft = np.flatnonzero(levels[:limit] <= quiet)
    return int(soft[0]) if len(soft) else min(limit, len(levels))
