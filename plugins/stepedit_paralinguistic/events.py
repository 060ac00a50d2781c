"""Synthesise non-verbal sounds in a given voice.

Voicing is WORLD synthesis from the speaker's envelopes (Morise, Yokomori & Ozawa 2016), breath is
noise through the same envelopes; ``recipes`` says when there is how much of either.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from stepedit_paralinguistic.recipes import OFF, RECIPES, Segment
from stepedit_paralinguistic.voice import BINS, FRAME, RATE, Voice, smooth

__all__ = ["synthesise"]

FloatArray = npt.NDArray[np.float64]


def synthesise(tag: str, voice: Voice, rng: np.random.Generator) -> FloatArray:
    """Return a sound at 24 kHz, levels relative to the voice's active speech.

    Args:
        tag: a key of ``RECIPES``.
        voice: whose pitch, envelopes and level it takes.
        rng: draws lengths, pitches and noise.
    """
    segments = RECIPES[tag](rng)
    tracks = [_track(segment, voice) for segment in segments]
    f0, voiced, breath, logs = (np.concatenate(parts) for parts in zip(*tracks, strict=True))
    f0 *= np.exp(_wander(len(f0), 0.012, rng))
    count = len(f0) * FRAME
    out = _breathe(logs, breath, count, rng) * voice.level
    if (voiced > OFF + 1).any():
        out += _voice(f0, logs, count) * _gain(voiced, count) * voice.level
    edge = min(count // 4, round(0.015 * RATE))
    ramp = 0.5 - 0.5 * np.cos(np.pi * np.arange(edge) / max(edge, 1))
    out[:edge] *= ramp
    out[count - edge :] *= ramp[::-1]
    return out


def _track(segment: Segment, voice: Voice) -> tuple[FloatArray, ...]:
    """Return pitch in Hz, both levels in dB and log envelopes for each 5 ms of a segment."""
    n = max(1, round(segment.seconds * RATE / FRAME))
    along = (np.arange(n) + 0.5) / n

    def glide(ends: Sequence[float]) -> FloatArray:
        return np.asarray(ends[0] + (ends[1] - ends[0]) * along)

    first, last = (voice.vowel(name) for name in segment.vowels)
    logs = first[None] * (1 - along[:, None]) + last[None] * along[:, None]
    return glide(segment.f0) * voice.f0, glide(segment.voiced), glide(segment.breath), logs


def _wander(count: int, spread: float, rng: np.random.Generator) -> FloatArray:
    """Return slow random movement: white noise smoothed over 50 ms, of a given deviation."""
    window = np.hanning(12)[1:-1]
    noise = np.convolve(rng.standard_normal(count + 9), window / np.linalg.norm(window), "valid")
    return np.asarray(noise[:count] * spread)


def _gain(levels: FloatArray, count: int) -> FloatArray:
    """Return linear gains for each sample from levels in dB for each frame."""
    at = (np.arange(len(levels)) + 0.5) * FRAME
    gains = np.where(levels <= OFF + 1, 0.0, 10 ** (levels / 20))
    return np.asarray(np.interp(np.arange(count), at, gains))


def _voice(f0: FloatArray, logs: FloatArray, count: int) -> FloatArray:
    """Return voicing of unit level by WORLD synthesis, shape ``(count,)``."""
    import pyworld

    power = np.exp(logs)
    # Slightly aperiodic above 3 kHz, as modal voices are (D4C, Morise 2016, typical values).
    hertz = np.arange(BINS) * RATE / 1024
    noise = np.clip(0.05 + 0.35 * (hertz - 3000) / 5000, 0.02, 0.5)
    spread = np.tile(noise, (len(f0), 1))
    sound = pyworld.synthesize(f0, np.ascontiguousarray(power), spread, RATE, 1000 * FRAME / RATE)
    sound = (
        np.resize(sound, count) if len(sound) >= count else np.pad(sound, (0, count - len(sound)))
    )
    return np.asarray(sound / _running_level(sound))


def _breathe(
    logs: FloatArray, levels: FloatArray, count: int, rng: np.random.Generator
) -> FloatArray:
    """Return breath noise through envelopes, shape ``(count,)``.

    Turbulence at the glottis and in the mouth is nearly flat where voicing falls by 12 dB per
    octave (Klatt & Klatt 1990), so the vowel's resonances, at 0.7 of their height, stand on a
    tilt of their own: rising to 1 kHz, flat to 3 kHz, falling by 6 dB per octave above.
    """
    from scipy.signal import istft, stft

    hertz = np.maximum(np.arange(BINS) * RATE / 1024, 100.0)
    tilt = 2 * np.log(np.minimum(hertz, 1000.0) / np.maximum(hertz, 3000.0))
    level = 0.7 * (logs - smooth(logs)) + tilt
    level -= np.log(np.exp(level).mean(axis=1, keepdims=True))
    noise = rng.standard_normal(count + 1024)
    _, _, bins = stft(noise, nperseg=1024, noverlap=1024 - FRAME, boundary="even")
    index = np.clip(np.arange(bins.shape[1]), 0, len(level) - 1)
    _, sound = istft(
        bins * np.exp(0.5 * level[index].T), nperseg=1024, noverlap=1024 - FRAME, boundary=True
    )
    sound = np.asarray(sound[:count])
    return np.asarray(sound / max(float(np.sqrt(np.mean(sound**2))), 1e-9) * _gain(levels, count))


def _running_level(samples: FloatArray) -> FloatArray:
    """Return the level over 40 ms around each sample, at least a tenth of the overall level."""
    size = round(0.04 * RATE)
    window = np.hanning(size)
    power = np.convolve(samples**2, window / window.sum(), "same")
    floor = 0.1 * float(np.sqrt(np.mean(samples**2))) + 1e-9
    return np.asarray(np.maximum(np.sqrt(np.maximum(power, 0.0)), floor))
