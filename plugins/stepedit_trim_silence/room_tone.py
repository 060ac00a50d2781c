"""Pauses of a recording made longer by its own room tone."""

from __future__ import annotations

import numpy as np

from stepedit_core import Span, StepeditError, Utterance
from stepedit_core.dsp.room_tone import extend, insert, quietest_stretch
from stepedit_core.dsp.silences import FRAME_SECONDS, find_silences, find_speech, frame_levels

__all__ = ["dips", "lengthen", "pauses"]

_MIN_PAUSE = 0.06
_DIP_BELOW_SPEECH_DB, _DIP_SPACING, _MOST_INSIDE = 15.0, 0.35, 3


def pauses(utterance: Utterance) -> list[float]:
    """Return the quietest point of each pause in seconds, start and end of the recording too."""
    silences = find_silences(utterance, find_speech(utterance))
    levels = frame_levels(utterance.samples, utterance.sample_rate)
    inner = []
    for silence in silences:
        first, last = (int(edge / FRAME_SECONDS) for edge in silence)
        is_inner = silence.start > 0 and silence.end < utterance.seconds
        if is_inner and silence.seconds >= _MIN_PAUSE and last - first > 2:
            quiet = first + 1 + int(np.argmin(levels[first + 1 : last - 1]))
            inner.append((quiet + 0.5) * FRAME_SECONDS)
    return [0.0, *inner, utterance.seconds]


def dips(utterance: Utterance) -> list[float]:
    """Return quiet moments inside speech in seconds: between words or in a closed consonant.

    They lie 15 dB below the loud part of the speech, 0.35 s from each other and from its ends.
    """
    speech = find_speech(utterance)
    levels = frame_levels(utterance.samples, utterance.sample_rate)
    if not speech or len(levels) < 3:
        return []
    smooth = np.convolve(levels, np.full(3, 1 / 3), mode="same")
    limit = float(np.percentile(levels, 95)) - _DIP_BELOW_SPEECH_DB
    edge = round(_DIP_SPACING / FRAME_SECONDS)
    first = round(speech[0].start / FRAME_SECONDS) + edge
    last = round(speech[-1].end / FRAME_SECONDS) - edge
    chosen: list[int] = []
    for frame in sorted(range(first, min(last, len(smooth))), key=lambda f: smooth[f]):
        if smooth[frame] <= limit and all(abs(frame - other) >= edge for other in chosen):
            chosen.append(frame)
    return sorted((frame + 0.5) * FRAME_SECONDS for frame in chosen)


def lengthen(
    utterance: Utterance, share: float, rng: np.random.Generator, *, inside: bool = False
) -> tuple[Utterance, list[Span]]:
    """Lengthen the pauses, the start and the end of an utterance by its own room tone.

    Args:
        utterance: speech with a pause to take the tone from.
        share: silence to put in over the duration of the utterance.
        rng: divides it among the pauses and draws the tone.
        inside: put it at one to three quiet moments inside the speech instead.

    Returns:
        The longer utterance, and where the inserted silence lies in it.

    Raises:
        StepeditError: if there is no room tone to be had, or no quiet moment inside.
    """
    tone = quietest_stretch(utterance)
    places, rate = pauses(utterance), utterance.sample_rate
    if inside:
        places = dips(utterance)
        if not places:
            raise StepeditError("no quiet moment inside the speech")
        count = int(rng.integers(1, min(_MOST_INSIDE, len(places)) + 1))
        places = sorted(places[int(place)] for place in rng.permutation(len(places))[:count])
    parts = rng.dirichlet(np.full(len(places), 4.0)) * share * utterance.seconds
    return insert(
        utterance, places, [extend(tone, round(part * rate), rate, rng) for part in parts]
    )
