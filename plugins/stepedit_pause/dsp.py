"""Find the pause at a place, and make it longer by room tone or shorter by a cut inside it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from stepedit_core import Alignment, Span, StepeditError, Utterance
from stepedit_core.dsp.cutting import Cut, cut_out
from stepedit_core.dsp.offset import offset_of
from stepedit_core.dsp.room_tone import extend, insert
from stepedit_core.dsp.silences import FRAME_SECONDS, find_speech, frame_levels, quiet_level

__all__ = ["Place", "locate", "paused", "tone_span"]

FloatArray = npt.NDArray[np.float32]

_REACH = 0.04
"""How far from an aligned border a pause may begin or end: aligners err so much."""
_AT_REACH = 0.02
_LEAST_PAUSE = 0.03
"""Shorter stretches of silence belong to a consonant."""
_LEAST_TONE, _TONE = 0.06, 0.1
_EXACT = 0.0005


@dataclass(frozen=True)
class Place:
    """The pause at a place, in seconds of the source.

    Attributes:
        span: where it is quiet; empty where there is no pause yet.
        word: index of the word that follows, or None where it is not known.
    """

    span: Span
    word: int | None = None


def locate(
    utterance: Utterance,
    at: float | Literal["start", "end"] | None,
    word: int | None,
    alignment: Alignment | None,
) -> Place:
    """Return the pause at a place.

    Quiet frames of 10 ms count that touch the gap between the words (40 ms wider on both sides) or
    lie within 20 ms of the second that was given. Where there are none, the place is the quietest
    one there.

    Args:
        utterance: the recording.
        at: the place in seconds, or an end; None where words say it.
        word: index of the word that follows; None where ``at`` says the place.
        alignment: the words of the recording; needed with ``word``.
    """
    seconds = utterance.seconds
    if alignment is None or word is None:
        near = {"start": 0.0, "end": seconds}.get(str(at), at if isinstance(at, float) else 0.0)
        window = Span(max(0.0, near - _AT_REACH), min(seconds, near + _AT_REACH))
        return Place(_quiet_at(utterance, window, near))
    gap = alignment.gap(word, seconds)
    low = alignment.words[word - 1].start if word else 0.0
    high = alignment.words[word].end if word < len(alignment.words) else seconds
    window = Span(max(low, gap.start - _REACH), min(high, gap.end + _REACH))
    return Place(_quiet_at(utterance, window, (gap.start + gap.end) / 2), word)


def paused(
    utterance: Utterance,
    place: Place,
    seconds: float,
    alignment: Alignment | None,
    rng: np.random.Generator,
) -> tuple[Utterance, dict[str, Any]]:
    """Make a pause last so long.

    Args:
        utterance: the recording.
        place: the pause, from `locate`.
        seconds: how long it is to last.
        alignment: the words, where they are known; carried along.
        rng: draws the room tone.

    Returns:
        The recording with its alignment, and what was done: the pause before, and how much was
        put in (positive) or cut out of it.
    """
    rate = utterance.sample_rate
    grown = seconds - place.span.seconds
    middle = (place.span.start + place.span.end) / 2
    details: dict[str, Any] = {
        "pause_before": [round(edge, 4) for edge in place.span],
        "seconds_before": round(place.span.seconds, 4),
        "changed_seconds": round(grown, 4),
    }
    if abs(grown) <= _EXACT:
        return utterance, {**details, "backend": "none"}
    if grown > 0:
        tone = extend(_tone(utterance, place.span), round(grown * rate), rate, rng)
        edited, _ = insert(utterance, [middle], [tone])
        details["backend"] = "room tone"
    else:
        if utterance.seconds + grown < FRAME_SECONDS:
            raise StepeditError("pause: nothing would be left of the recording")
        start = _cut_start(place.span, -grown, utterance.seconds)
        cut = Cut(start, start - grown)
        edited = cut_out(utterance, cut)
        middle = cut.start
        details["backend"] = "cut"
    carried = None if alignment is None else _carried(alignment, place, middle, grown)
    return edited.replace(alignment=carried), details


def _cut_start(pause: Span, removed: float, seconds: float) -> float:
    """Return where to cut: inside the pause, at the outer side of one at an end."""
    if pause.start <= 0:
        return 0.0
    if pause.end >= seconds - FRAME_SECONDS:
        return seconds - removed
    return pause.start + (pause.seconds - removed) / 2


def _quiet_at(utterance: Utterance, window: Span, near: float) -> Span:
    """Return the longest quiet stretch that touches a window, or the quietest place in it."""
    levels = frame_levels(utterance.samples, utterance.sample_rate)
    quiet = levels <= quiet_level(utterance, find_speech(utterance))
    edges = np.flatnonzero(np.diff(np.concatenate([[False], quiet, [False]]).astype(int)))
    first, last = (int(edge / FRAME_SECONDS) for edge in window)
    found = [
        (start, stop)
        for start, stop in zip(edges[::2], edges[1::2], strict=True)
        if start <= last and stop > first and (stop - start) * FRAME_SECONDS >= _LEAST_PAUSE
    ]
    if found:
        start, stop = max(found, key=lambda run: run[1] - run[0])
        return Span(
            float(start) * FRAME_SECONDS, min(float(stop) * FRAME_SECONDS, utterance.seconds)
        )
    if not window.start < near < window.end:
        return Span(near, near)
    inside = levels[first : last + 1]
    place = (first + int(np.argmin(inside)) + 0.5) * FRAME_SECONDS if len(inside) else near
    place = min(max(place, window.start), window.end)
    return Span(place, place)


def tone_span(utterance: Utterance, pause: Span) -> Span:
    """Return where room tone is taken from: the pause itself, or the quietest 0.1 s."""
    if pause.seconds >= _LEAST_TONE + 2 * FRAME_SECONDS:
        return Span(pause.start + FRAME_SECONDS, pause.end - FRAME_SECONDS)
    levels = frame_levels(utterance.samples, utterance.sample_rate)
    whole = len(levels) - 1 if len(levels) > 1 else 1  # the last frame may be a short one
    size = min(whole, round(_TONE / FRAME_SECONDS))
    power = np.convolve(10 ** (levels[:whole] / 10), np.ones(size), mode="valid")
    start = int(np.argmin(power)) * FRAME_SECONDS
    return Span(start, start + size * FRAME_SECONDS)


def _tone(utterance: Utterance, pause: Span) -> FloatArray:
    """Return a stretch of room tone, without the recording's offset."""
    rate = utterance.sample_rate
    flat = utterance.samples - np.float32(offset_of(utterance.samples, rate))
    span = tone_span(utterance, pause)
    return flat[round(span.start * rate) : round(span.end * rate)]


def _carried(alignment: Alignment, place: Place, middle: float, grown: float) -> Alignment:
    """Return the alignment after a pause has grown by some seconds (less than 0: shrunk)."""
    if grown < 0:
        return alignment.moved(Cut(middle, middle - grown).moved)
    words = []
    for index, word in enumerate(alignment.words):
        later = word.start >= middle if place.word is None else index >= place.word
        start, end = word.start, word.end
        if later:
            start, end = max(start, middle) + grown, max(end, middle) + grown
        elif place.word is not None:
            start, end = min(start, middle), min(end, middle)
        elif end > middle:
            end += grown
        words.append(dataclasses.replace(word, start=start, end=end))
    return dataclasses.replace(alignment, words=tuple(words))
