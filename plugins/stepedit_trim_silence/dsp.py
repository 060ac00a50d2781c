"""Cutting silence: Silero VAD says where speech is, the level refines it, cross-fades join it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from stepedit_core import AudioError, Span, Utterance
from stepedit_core.dsp.offset import offset_of
from stepedit_core.dsp.silences import find_silences, find_speech
from stepedit_core.dsp.splicing import time_map

__all__ = ["FADE_SECONDS", "cut", "removable", "trim"]

FloatArray = npt.NDArray[np.float32]

FADE_SECONDS = 0.01
"""Length of a cross-fade, inside the silence that is cut."""
_SEARCH_SECONDS = 0.015


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
    wanted = removable(utterance, speech, keep=keep, min_silence=min_silence)
    edited, removed = cut(utterance, wanted)
    return edited, {
        "backend": "silero-vad",
        "removed_spans": [[round(start, 6), round(end, 6)] for start, end in removed],
        "removed_seconds": round(utterance.seconds - edited.seconds, 4),
    }


def removable(
    utterance: Utterance, speech: Sequence[Span], *, keep: float, min_silence: float
) -> list[Span]:
    """Return the parts of an utterance's silence that are to go.

    Args:
        utterance: any rate and length.
        speech: where there is speech, as `find_speech` tells.
        keep: as of `trim`.
        min_silence: as of `trim`.
    """
    wanted = []
    for silence in find_silences(utterance, speech):
        start = silence.start + (keep if silence.start > 0 else 0.0)
        end = silence.end - (keep if silence.end < utterance.seconds else 0.0)
        if silence.seconds >= min_silence and end - start > 2 * FADE_SECONDS:
            wanted.append(Span(start, end))
    return wanted


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
