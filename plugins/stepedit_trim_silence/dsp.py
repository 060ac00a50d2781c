"""Cutting silence: Silero VAD says where speech is, the level refines it, cross-fades join it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from stepedit_core import AudioError, Span, Utterance
from stepedit_core.dsp.offset import offset_of
from stepedit_core.dsp.splicing import time_map
from stepedit_core.dsp.vad import gaps, speech_spans

__all__ = ["FADE_SECONDS", "cut", "find_silences", "find_speech", "frame_levels", "trim"]

FloatArray = npt.NDArray[np.float32]

FADE_SECONDS = 0.01
"""Length of a cross-fade, inside the silence that is cut."""
FRAME_SECONDS = 0.01
# A one-syllable word lasts 0.1 s; Silero's own default of 0.25 s would drop it.
_MIN_SPEECH, _MIN_GAP = 0.1, 0.064
# Silero ends speech early at soft fricatives and breathy ends: sound this much above the quiet
# part of the pauses, and not too far below speech to be heard, belongs to the word it touches.
_ABOVE_QUIET_DB, _BELOW_SPEECH_DB, _MAX_TAIL = 6.0, 40.0, 0.25
_SEARCH_SECONDS = 0.015


def find_speech(utterance: Utterance, threshold: float = 0.5) -> list[Span]:
    """Return where speech is, one-syllable words included."""
    return speech_spans(
        utterance, threshold=threshold, min_speech=_MIN_SPEECH, min_silence=_MIN_GAP, pad=0.0
    )


def frame_levels(samples: FloatArray, rate: int) -> npt.NDArray[np.float64]:
    """Return the level of each 10 ms frame in dBFS, -120 at least; the last one may be shorter.

    A constant offset is no level.
    """
    samples = samples - np.float32(offset_of(samples, rate))
    size = max(1, round(FRAME_SECONDS * rate))
    starts = np.arange(0, len(samples), size)
    sums = np.add.reduceat(np.square(samples, dtype=np.float64), starts)
    counts = np.minimum(size, len(samples) - starts)
    return np.asarray(10 * np.log10(np.maximum(sums / counts, 1e-12)))


def find_silences(utterance: Utterance, speech: Sequence[Span]) -> list[Span]:
    """Return the quiet part of each gap between spans of speech, both ends included."""
    levels = frame_levels(utterance.samples, utterance.sample_rate)
    free = gaps(speech, utterance.seconds)
    inside = [levels[_frames(gap)] for gap in free]
    heard = np.concatenate([np.zeros(0), *inside])
    if not len(heard):
        return []
    quiet = max(
        float(np.percentile(heard, 25)) + _ABOVE_QUIET_DB,
        float(np.percentile(levels, 95)) - _BELOW_SPEECH_DB,
    )
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


def trim(
    utterance: Utterance, *, keep: float = 0.03, min_silence: float = 0.2, threshold: float = 0.5
) -> tuple[Utterance, dict[str, Any]]:
    """Cut silence out of an utterance.

    Args:
        utterance: any rate and length.
        keep: silence left on each side of speech, in seconds.
        min_silence: pauses shorter than this are left alone, in seconds.
        threshold: probability from which sound is speech.

    Returns:
        The utterance and what was done: ``removed_spans`` in seconds of the input.

    Raises:
        AudioError: if there is no speech.
    """
    speech = find_speech(utterance, threshold)
    if not speech:
        raise AudioError(
            f"trim_silence: no speech was found (Silero VAD, threshold {threshold:g}); lower "
            "threshold= or give a recording of speech"
        )
    wanted = []
    for silence in find_silences(utterance, speech):
        start = silence.start + (keep if silence.start > 0 else 0.0)
        end = silence.end - (keep if silence.end < utterance.seconds else 0.0)
        if silence.seconds >= min_silence and end - start > 2 * FADE_SECONDS:
            wanted.append(Span(start, end))
    edited, removed = cut(utterance, wanted)
    return edited, {
        "backend": "silero-vad",
        "removed_spans": [[round(start, 6), round(end, 6)] for start, end in removed],
        "removed_seconds": round(utterance.seconds - edited.seconds, 4),
    }


def cut(utterance: Utterance, spans: Sequence[Span]) -> tuple[Utterance, list[Span]]:
    """Cut spans out and cross-fade each join at quiet points, inside the span.

    Samples outside the spans stay bit-identical. The cross-fade has equal power, because the
    noise on its two sides is uncorrelated.

    Returns:
        What is left, and the spans that were cut, their edges moved to quiet points.
    """
    rate, samples = utterance.sample_rate, utterance.samples
    offset = np.float32(offset_of(samples, rate))
    flat = samples - offset
    fade = max(1, round(FADE_SECONDS * rate))
    rise = np.sin(0.5 * np.pi * (np.arange(fade) + 0.5) / fade).astype(np.float32)
    pieces, removed, at = [], [], 0
    for start, end in sorted(spans):
        first, last = round(start * rate), min(round(end * rate), len(samples))
        if first > 0:
            first = _quietest(flat, first, first + round(_SEARCH_SECONDS * rate), fade)
        if last < len(samples):
            last = _quietest(flat, last - round(_SEARCH_SECONDS * rate), last, fade)
        if last - first < 2 * fade:
            continue
        join = np.zeros(fade, dtype=np.float32)
        if first > 0:
            join += flat[first : first + fade] * rise[::-1]
        if last < len(samples):
            join += flat[last - fade : last] * rise
        pieces += [samples[at:first], join + offset]
        removed.append(Span(first / rate, last / rate))
        at = last
    pieces.append(samples[at:])
    edited = utterance.replace(samples=np.concatenate(pieces))
    if utterance.alignment is not None:
        # Of each span, the cross-fade stays: its first half before, its second half after.
        kept = fade / rate
        starts = [sum(span.seconds - kept for span in removed[:n]) for n in range(len(removed))]
        placed = [
            Span(span.start - gone, span.start - gone + kept)
            for span, gone in zip(removed, starts, strict=True)
        ]
        edited = edited.replace(alignment=utterance.alignment.moved(time_map(removed, placed)))
    return edited, removed


def _quietest(samples: FloatArray, low: int, high: int, width: int) -> int:
    """Return where in ``low..high`` the samples around are quietest."""
    low, high = max(0, low), min(len(samples), high)
    if high - low < 2:
        return low
    begin = max(0, low - width // 2)
    power = np.square(samples[begin : high + width // 2], dtype=np.float64)
    smooth = np.convolve(power, np.ones(width), mode="same")[low - begin : high - begin]
    return low + int(np.argmin(smooth))
