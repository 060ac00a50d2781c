"""Room tone: the sound of a recording where nobody speaks, found, extended and inserted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from stepedit_core import Span, StepeditError, Utterance
from stepedit_core.dsp.offset import offset_of
from stepedit_trim_silence.dsp import (
    FADE_SECONDS,
    FRAME_SECONDS,
    find_silences,
    find_speech,
    frame_levels,
)

__all__ = ["dips", "extend", "insert", "lengthen", "pauses", "quietest_stretch"]

FloatArray = npt.NDArray[np.float32]

_STRETCH_SECONDS = 0.3
_LEAST_STRETCH = 0.06
_GRAIN_SECONDS = 0.04
_MIN_BELOW_SPEECH_DB = 20.0
_MIN_PAUSE = 0.06
_DIP_BELOW_SPEECH_DB, _DIP_SPACING, _MOST_INSIDE = 15.0, 0.35, 3


def quietest_stretch(utterance: Utterance) -> FloatArray:
    """Return the quietest 0.3 s, or less where no pause lasts so long, without an offset.

    Raises:
        StepeditError: if there is no pause of 60 ms, or if none lies 20 dB below speech.
    """
    rate = utterance.sample_rate
    speech = find_speech(utterance)
    flat = utterance.samples - np.float32(offset_of(utterance.samples, rate))
    best: tuple[float, FloatArray] | None = None
    for silence in find_silences(utterance, speech):
        size = min(silence.seconds, _STRETCH_SECONDS)
        if size < _LEAST_STRETCH:
            continue
        for start in np.arange(silence.start, silence.end - size + 1e-6, FRAME_SECONDS):
            part = flat[round(start * rate) : round((start + size) * rate)]
            power = float(np.mean(np.square(part, dtype=np.float64)))
            if best is None or power < best[0]:
                best = (power, part)
    if best is None:
        raise StepeditError("no pause of 60 ms to take room tone from")
    loud = np.percentile(frame_levels(utterance.samples, rate), 90)
    below = float(loud - 10 * np.log10(max(best[0], 1e-12)))
    if below < _MIN_BELOW_SPEECH_DB:
        raise StepeditError(f"the quietest pause is only {below:.0f} dB below speech")
    return best[1]


def extend(tone: FloatArray, length: int, rate: int, rng: np.random.Generator) -> FloatArray:
    """Return so many samples that sound like a short stretch of room tone, without a loop.

    Grains of 40 ms from random places of the stretch keep their spectrum, get random phases,
    and are overlapped at equal power, so that nothing in them recurs.

    Args:
        tone: the stretch.
        length: number of samples wanted.
        rate: in Hz.
        rng: draws places and phases.
    """
    size = max(2, min(len(tone), round(_GRAIN_SECONDS * rate)) // 2 * 2)
    window = np.sin(np.pi * (np.arange(size) + 0.5) / size)
    out = np.zeros(length + 2 * size)
    for at in range(0, length + size, size // 2):
        start = int(rng.integers(len(tone) - size + 1))
        # The analysis window has a mean square of one half.
        spectrum = np.fft.rfft(tone[start : start + size] * window * np.sqrt(2))
        phases = np.exp(2j * np.pi * rng.random(len(spectrum)))
        out[at : at + size] += np.fft.irfft(np.abs(spectrum) * phases, size) * window
    return out[size : size + length].astype(np.float32)


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


def insert(
    utterance: Utterance, places: Sequence[float], tones: Sequence[FloatArray]
) -> tuple[Utterance, list[Span]]:
    """Insert tones at places; all samples of the utterance stay, in order.

    Over the first and last 10 ms each tone is cross-faded with what went on before and what
    leads up to what comes after.

    Args:
        utterance: what to lengthen.
        places: in seconds, ascending.
        tones: samples for each place, at the utterance's rate, without its offset.

    Returns:
        The longer utterance, and where the tones lie in it.
    """
    rate, samples = utterance.sample_rate, utterance.samples
    offset = np.float32(offset_of(samples, rate))
    flat = samples - offset
    pieces, inserted, at, written = [], [], 0, 0
    for place, tone in zip(places, tones, strict=True):
        here = min(round(place * rate), len(samples))
        blended = _blended(flat, here, tone, round(FADE_SECONDS * rate))
        pieces += [samples[at:here], blended + offset]
        written += here - at
        inserted.append(Span(written / rate, (written + len(tone)) / rate))
        written += len(tone)
        at = here
    pieces.append(samples[at:])
    return utterance.replace(samples=np.concatenate(pieces)), inserted


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


def _blended(samples: FloatArray, here: int, tone: FloatArray, fade: int) -> FloatArray:
    """Fade from the sound after a place into a tone, and out of it into the sound before."""
    mixed = np.array(tone, dtype=np.float32)
    rise = np.sin(0.5 * np.pi * (np.arange(fade) + 0.5) / fade).astype(np.float32)
    after, before = samples[here : here + fade], samples[max(0, here - fade) : here]
    if len(after) == fade and here > 0 and len(mixed) >= 2 * fade:
        mixed[:fade] = mixed[:fade] * rise + after * rise[::-1]
    if len(before) == fade and here < len(samples) and len(mixed) >= 2 * fade:
        mixed[-fade:] = mixed[-fade:] * rise[::-1] + before * rise
    return mixed
