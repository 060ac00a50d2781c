"""Room tone: the sound of a recording where nobody speaks, found, extended and inserted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from stepedit_core.dsp.offset import offset_of
from stepedit_core.dsp.silences import FRAME_SECONDS, find_silences, find_speech, frame_levels
from stepedit_core.errors import StepeditError
from stepedit_core.utterance import Span, Utterance

__all__ = ["extend", "insert", "quietest_stretch"]

FloatArray = npt.NDArray[np.float32]

FADE_SECONDS = 0.01
_STRETCH_SECONDS = 0.3
_LEAST_STRETCH = 0.06
_GRAIN_SECONDS = 0.04
_MIN_BELOW_SPEECH_DB = 20.0


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
