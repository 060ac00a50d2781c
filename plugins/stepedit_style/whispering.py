"""Speech made a whisper: its own spectral envelope, filled with noise instead of voice.

The envelope is WORLD's (CheapTrick, Morise 2015, Speech Commun. 67), taken with a window of three
periods wherever a tracker might hear a voice, so that no pulses of the glottis are left in it. In
formerly voiced frames the spectrum is flattened, its formants are widened, and they are lowered
against the voiceless ones: these stay within 3.5 dB in a whisper, voiced consonants lose 25 dB
(Jovicic & Saric 2008, J. Voice 22; read at the abstract). The tilt is that of more vocal effort
(Traunmueller & Eriksson 2000, JASA 107); the first formant rises (Niekrasz 2002, read at the
abstract). All other sizes are our choice: steps of level as in the source, and no pitch left to
trackers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stepedit_core import Utterance
from stepedit_core.dsp.offset import around_offset
from stepedit_core.dsp.prosody import match_level

__all__ = ["WhisperRecipe", "whispered"]

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

STEP = 0.005
"""Frame period in seconds."""
F0_FLOOR, F0_CEIL = 60.0, 800.0
LOWEST_RATE, HIGHEST_RATE, LONG_RATE = 16_000, 48_000, 24_000
LONG_SECONDS = 60.0
"""Above, the work is held to ``LONG_RATE``, for memory's sake."""
LEAST_SECONDS = 0.5
_REACH, _HOLE, _FADE = 0.02, 0.06, 0.03
_CHUNK = 1000
"""Frames to work on at once, for memory's sake."""


@dataclass(frozen=True)
class WhisperRecipe:
    """Sizes of a whisper beside plain speech.

    Attributes:
        level: dB added to the active level of the whole.
        voiced: dB added to formerly voiced frames, against voiceless ones.
        tilt: dB per octave added to them, around 1 kHz up to 4 kHz.
        low_cut: frequency in Hz below which they are rolled off by 12 dB per octave.
        first_formant: factor on frequencies up to 1 kHz, going to 1 at 3 kHz.
        bandwidth: width in Hz over which their spectrum is averaged: formants of a whisper are
            wider, as the glottis stands open, and noise through a narrow one sounds like a pitch.
    """

    level: float = -10.0
    voiced: float = -2.0
    tilt: float = 3.0
    low_cut: float = 150.0
    first_formant: float = 1.05
    bandwidth: float = 300.0


def whispered(
    utterance: Utterance, recipe: WhisperRecipe, rng: np.random.Generator
) -> tuple[Utterance, dict[str, Any]]:
    """Return an utterance as a whisper of the same timing, and what was done.

    Args:
        utterance: any rate and length; the rate and the length stay.
        recipe: the sizes.
        rng: draws the noise.
    """
    return around_offset(utterance, lambda flat: _whispered(flat, recipe, rng))


def _whispered(
    utterance: Utterance, recipe: WhisperRecipe, rng: np.random.Generator
) -> tuple[Utterance, dict[str, Any]]:
    """Whisper an utterance without a constant offset."""
    facts: dict[str, Any] = {"backend": "noise through the WORLD envelope (pyworld)"}
    if not utterance.samples.any():
        return utterance, {**facts, "silent": True}
    highest = LONG_RATE if utterance.seconds > LONG_SECONDS else HIGHEST_RATE
    working = min(max(utterance.sample_rate, LOWEST_RATE), highest)
    samples = utterance.resample(working).samples.astype(np.float64)
    count = len(samples)
    samples = np.pad(samples, (0, max(0, round(LEAST_SECONDS * working) - count)))
    f0 = _voicing(samples, working)
    envelope = _envelope(samples, working, f0)
    made = _noise_through(envelope, working, len(samples), _soft(f0 > 0), recipe, rng)[:count]
    again = utterance.replace(samples=made.astype(np.float32), sample_rate=working)
    resampled = again.resample(utterance.sample_rate).samples[: len(utterance.samples)]
    final = np.pad(resampled, (0, len(utterance.samples) - len(resampled)))
    levelled, gains = match_level(
        utterance.samples, final.astype(np.float32), utterance.sample_rate, recipe.level
    )
    facts["voiced_before"] = round(float(np.mean(f0 > 0)), 3)
    return utterance.replace(samples=levelled), {**facts, **gains, "working_rate": working}


def _voicing(samples: Array, rate: int) -> Array:
    """Return F0 in Hz wherever there may be a voice, and 0 elsewhere.

    A voice that is missed leaves its pulses in the whisper, and a voiceless frame that is taken for
    a voice only gets a longer window; so frames count whose sound is low, holes of 60 ms are
    filled, and 20 ms are added on both sides.
    """
    import pyworld

    samples = np.ascontiguousarray(samples)
    coarse, times = pyworld.dio(
        samples,
        rate,
        f0_floor=F0_FLOOR,
        f0_ceil=F0_CEIL,
        frame_period=STEP * 1000,
        allowed_range=0.2,
    )
    f0 = pyworld.stonemask(samples, coarse, times, rate)
    tracked = f0 > 0
    f0 = np.where(tracked, f0, np.median(f0[tracked]) if tracked.any() else 150.0)
    f0 = np.where(tracked | _sonorant(samples, rate, len(f0)), f0, 0.0)
    heard = np.flatnonzero(f0 > 0)
    if not len(heard):
        return np.zeros_like(f0)
    places = np.arange(len(f0))
    nearest = np.interp(places, heard, f0[heard])
    before = places - heard[np.clip(np.searchsorted(heard, places, "right") - 1, 0, None)]
    after = heard[np.clip(np.searchsorted(heard, places), None, len(heard) - 1)] - places
    before, after = np.abs(before) * STEP, np.abs(after) * STEP
    near = np.minimum(before, after) <= _REACH
    inside = (before + after <= _HOLE) & (places > heard[0]) & (places < heard[-1])
    return np.where((f0 > 0) | near | inside, nearest, 0.0)


def _sonorant(samples: Array, rate: int, count: int) -> Mask:
    """Return the frames whose sound lies below 1 kHz, as a voice's does."""
    hop, size = round(STEP * rate), round(0.03 * rate)
    padded = np.pad(samples, (size // 2, size // 2 + 2 * hop))
    windows = np.lib.stride_tricks.sliding_window_view(padded, size)
    starts = np.round(np.arange(count) * STEP * rate).astype(int)
    starts = starts[starts < len(windows)]
    freqs = np.fft.rfftfreq(size, 1 / rate)
    low, high = np.zeros(count), np.zeros(count)
    for first in range(0, count, _CHUNK):
        part = windows[starts[first : first + _CHUNK]]
        power = np.abs(np.fft.rfft(part * np.hanning(size))) ** 2
        low[first : first + len(part)] = power[:, (freqs >= 60) & (freqs < 1000)].sum(axis=1)
        high[first : first + len(part)] = power[:, freqs >= 2000].sum(axis=1)
    return np.asarray((low > np.percentile(low, 99) * 1e-4) & (low > 4 * high))


def _envelope(samples: Array, rate: int, f0: Array) -> Array:
    """Return the power envelope, shape (frames, bins)."""
    import pyworld

    times = np.arange(len(f0)) * STEP
    size = pyworld.get_cheaptrick_fft_size(rate, F0_FLOOR)
    return np.asarray(
        pyworld.cheaptrick(
            np.ascontiguousarray(samples), f0, times, rate, f0_floor=F0_FLOOR, fft_size=size
        )
    )


def _soft(mask: Mask) -> Array:
    """Return a mask with edges of 30 ms, so that no gain jumps."""
    window = np.hanning(round(_FADE / STEP) * 2 + 1)
    padded = np.pad(mask.astype(np.float64), len(window) // 2, mode="edge")
    return np.convolve(padded, window / window.sum(), mode="valid")


def _shaped(envelope: Array, rate: int, voiced: Array, recipe: WhisperRecipe) -> Array:
    """Return the envelope of a whisper; ``voiced`` says how far each frame was voiced, 0..1."""
    freqs = np.linspace(0, rate / 2, envelope.shape[1])
    octaves = np.log2(np.clip(freqs, 100.0, 4000.0) / 1000.0)
    ratio = np.interp(freqs, [0, 1000.0, 3000.0], [recipe.first_formant] * 2 + [1.0])
    logs = 10 * np.log10(np.maximum(envelope, 1e-16))
    width = round(recipe.bandwidth / freqs[1]) | 1
    padded = np.pad(envelope, ((0, 0), (width // 2 + 1, width // 2)), mode="edge")
    sums = np.cumsum(padded, axis=1)
    wide = 10 * np.log10(np.maximum((sums[:, width:] - sums[:, :-width]) / width, 1e-16))
    where = (freqs / ratio) / freqs[1]
    low = np.minimum(where.astype(int), len(freqs) - 2)
    moved = wide[:, low] * (1 - (where - low)) + wide[:, low + 1] * (where - low)
    cut = -10 * np.log10(1 + (recipe.low_cut / np.maximum(freqs, 1.0)) ** 4)
    gain = recipe.voiced + recipe.tilt * octaves + cut
    out = logs + voiced[:, None] * (moved - logs + gain[None, :])
    return np.asarray(10 ** (out / 10))


def _noise_through(
    envelope: Array,
    rate: int,
    count: int,
    voiced: Array,
    recipe: WhisperRecipe,
    rng: np.random.Generator,
) -> Array:
    """Return white noise through one zero-phase filter per frame, cross-faded by Hann windows."""
    hop = round(STEP * rate)
    size = 2 * (envelope.shape[1] - 1)
    # At 44,100 Hz a step has no whole number of samples, and rounded steps would drift.
    starts = np.round(np.arange(len(envelope)) * STEP * rate).astype(int)
    starts = starts[starts <= count]
    frames = len(starts)
    noise = rng.standard_normal(int(starts[-1]) + 3 * hop)
    pieces = np.lib.stride_tricks.sliding_window_view(noise, 2 * hop)[starts]
    window = np.hanning(2 * hop + 1)[:-1]
    out = np.zeros(int(starts[-1]) + hop + 2 * size)
    for first in range(0, frames, _CHUNK):
        part = slice(first, min(first + _CHUNK, frames))
        power = _shaped(envelope[part], rate, voiced[part], recipe)
        spectrum = np.fft.rfft(pieces[part] * window, size) * np.sqrt(power)
        shaped = np.roll(np.fft.irfft(spectrum, size), size // 2 - hop, axis=1)
        for start, frame in zip(starts[part].tolist(), shaped, strict=True):
            out[start : start + size] += frame
    return out[size // 2 : size // 2 + count]
