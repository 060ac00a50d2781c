"""Analysis of a speaker's voice: pitch, vocal tract, level, and the room behind it.

Pitch and spectral envelopes come from the WORLD vocoder (Morise, Yokomori & Ozawa 2016: DIO,
StoneMask, CheapTrick) at 24 kHz. Vowels are the speaker's own frames that look most like the
vowel, moved half way to its mean formants (Hillenbrand et al. 1995, table V).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from stepedit_core import Utterance
from stepedit_core.dsp.offset import without_offset

__all__ = ["BINS", "FRAME", "RATE", "VOWELS", "Voice", "analyse", "room_tone", "smooth"]

RATE = 24_000
FRAME = 120
"""Samples between frames of envelopes: 5 ms."""
BINS = 513
"""Bins of an envelope: an FFT of 1024."""

FloatArray = npt.NDArray[np.float64]

# First three formants in Hz of men and of women.
VOWELS: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "a": ((768, 1333, 2522), (936, 1551, 2815)),
    "e": ((476, 2089, 2691), (536, 2530, 3047)),
    "i": ((342, 2322, 3000), (437, 2761, 3372)),
    "o": ((497, 910, 2459), (555, 1035, 2828)),
    "u": ((378, 997, 2343), (459, 1105, 2735)),
    "uh": ((623, 1200, 2550), (753, 1426, 2933)),
    # A nasal murmur: one strong low resonance, weak ones above (Fujimura 1962).
    "m": ((270, 1100, 2300), (290, 1200, 2500)),
}
_BANDWIDTHS = (80.0, 110.0, 170.0)
_MAN, _WOMAN = 120.0, 215.0
_DEFAULT_F0 = 160.0
_DEFAULT_LEVEL = 0.05
_LONGEST = 20.0
_BAND_DB, _LEAST_BAND = -7.2, 2000.0


@dataclass(frozen=True)
class Voice:
    """A speaker's voice.

    Attributes:
        f0: median pitch in Hz.
        measured: whether pitch and envelopes were measured; otherwise they are an average voice.
        envelopes: log power spectra of voiced frames, level taken out, shape ``(n, 513)``.
        level: root mean square of active speech, linear.
        highest_hz: up to where the recording has any sound.
    """

    f0: float
    measured: bool
    envelopes: FloatArray
    level: float
    highest_hz: float = RATE / 2

    @property
    def mean(self) -> FloatArray:
        """Mean log envelope of voiced speech, shape ``(513,)``."""
        return np.asarray(self.envelopes.mean(axis=0))

    def vowel(self, name: str) -> FloatArray:
        """Return the log power envelope of a vowel in this voice, shape ``(513,)``.

        Args:
            name: one of ``VOWELS``, or ``mean`` for a neutral vowel.
        """
        if name == "mean":
            return self.mean
        share = float(np.clip(np.log(self.f0 / _MAN) / np.log(_WOMAN / _MAN), -0.2, 1.2))
        man, woman = (np.array(formants) for formants in VOWELS[name])
        target = _formant_curve(man * (woman / man) ** share)
        if name == "m":
            return self._nasal(target)
        detilted = self.envelopes - smooth(self.envelopes)
        pattern = target - smooth(target[None])[0]
        band = slice(round(150 / RATE * 1024), round(4500 / RATE * 1024))
        score = detilted[:, band] @ pattern[band]
        score /= np.linalg.norm(detilted[:, band], axis=1) + 1e-9
        best = np.argsort(score, kind="stable")[-max(5, len(score) // 12) :]
        own = self.envelopes[best].mean(axis=0)
        steer = np.zeros(BINS)
        steer[band] = 0.5 * (pattern - detilted[best].mean(axis=0))[band]
        return np.asarray(own + steer)

    def _nasal(self, target: FloatArray) -> FloatArray:
        """Return a murmur: the voice's tilt, its resonances gone above 500 Hz."""
        hertz = np.arange(BINS) * RATE / 1024
        fall = np.log(10) * np.clip(np.log2(np.maximum(hertz, 1) / 400), 0, 2.0) * -0.9
        return np.asarray(smooth(self.mean[None])[0] + 0.5 * target + fall)


def analyse(utterance: Utterance) -> Voice:
    """Measure a voice; an average one stands in where nothing voiced is found."""
    heard = (
        without_offset(utterance)
        .resample(RATE)
        .samples[: round(_LONGEST * RATE)]
        .astype(np.float64)
    )
    level = _level(heard)
    highest = _highest(heard)
    default = Voice(_DEFAULT_F0, False, _average_envelopes(), level, highest)
    if len(heard) < 0.1 * RATE or np.abs(heard).max() < 1e-5:
        return default
    import pyworld

    f0, times = pyworld.dio(heard, RATE, f0_floor=60.0, f0_ceil=500.0)
    f0 = pyworld.stonemask(heard, f0, times, RATE)
    if (f0 > 0).sum() < 20:
        return default
    spectra = pyworld.cheaptrick(heard, f0, times, RATE, fft_size=1024, f0_floor=71.0)
    power = spectra.mean(axis=1)
    clear = (f0 > 0) & (power > 0.03 * np.percentile(power[f0 > 0], 95))
    logs = np.log(np.maximum(spectra[clear], 1e-16))
    # Bands that a narrow-band recording lacks must not become the loudest part of a log mean.
    logs = np.maximum(logs, logs.max(axis=1, keepdims=True) - 18.0)
    logs -= np.log(np.exp(logs).mean(axis=1, keepdims=True))
    return Voice(float(np.median(f0[clear])), True, logs, level, highest)


def room_tone(utterance: Utterance, count: int, rng: np.random.Generator) -> FloatArray:
    """Return noise with the spectrum of the utterance's quietest tenth, no offset, ``(count,)``."""
    samples = without_offset(utterance).samples.astype(np.float64)
    size = max(16, round(0.032 * utterance.sample_rate))
    if len(samples) < size * 4:
        return np.zeros(count)
    frames = np.lib.stride_tricks.sliding_window_view(samples, size)[:: size // 2]
    power = (frames**2).mean(axis=1)
    quiet = frames[np.argsort(power, kind="stable")[: max(2, len(frames) // 10)]]
    spectrum = (np.abs(np.fft.rfft(quiet * np.hanning(size), axis=1)) ** 2).mean(axis=0)
    impulse = np.fft.irfft(np.sqrt(spectrum / (np.hanning(size) ** 2).sum()))
    impulse = np.roll(impulse, size // 2) * np.hanning(len(impulse))
    noise = rng.standard_normal(count + size)
    from scipy.signal import fftconvolve

    tone = fftconvolve(noise, impulse, mode="same")[size // 2 : size // 2 + count]
    wanted = float(np.sqrt(np.mean(quiet**2)))
    return np.asarray(tone * wanted / max(float(np.sqrt(np.mean(tone**2))), 1e-12))


def _level(samples: FloatArray) -> float:
    """Return the level of frames within 25 dB of the loudest, linear; a default for silence."""
    count = len(samples) // 480
    if count == 0 or not samples.any():
        return _DEFAULT_LEVEL
    power = (samples[: count * 480].reshape(count, 480) ** 2).mean(axis=1)
    active = power > power.max() * 10**-2.5
    return float(max(np.sqrt(power[active].mean()), 1e-4))


def _highest(samples: FloatArray) -> float:
    """Return the frequency in Hz above which nothing lies within 72 dB of the strongest band."""
    size = 1024
    if len(samples) < 4 * size:
        return RATE / 2
    frames = np.lib.stride_tricks.sliding_window_view(samples, size)[:: size // 2]
    power = (np.abs(np.fft.rfft(frames * np.hanning(size), axis=1)) ** 2).mean(axis=0)
    bands = np.convolve(power, np.ones(9) / 9, "same")
    heard = np.flatnonzero(bands > bands.max() * 10**_BAND_DB)
    return float(max(_LEAST_BAND, (heard[-1] if len(heard) else size // 2) * RATE / size))


def smooth(logs: FloatArray) -> FloatArray:
    """Return the broad tilt of log envelopes: their first four cepstral coefficients."""
    basis = _cosines()
    return np.asarray((logs @ basis) @ basis.T)


@cache
def _cosines() -> FloatArray:
    """Return the first four vectors of the orthonormal cosine transform, shape ``(513, 4)``."""
    basis = np.cos(np.pi * np.outer(np.arange(BINS) + 0.5, np.arange(4)) / BINS)
    return np.asarray(basis / np.linalg.norm(basis, axis=0))


def _formant_curve(formants: FloatArray) -> FloatArray:
    """Return the log power of second-order resonators in cascade (Klatt 1980), shape (513,)."""
    z = np.exp(-2j * np.pi * np.arange(BINS) / 1024)
    total = np.zeros(BINS)
    for centre, width in zip(formants, _BANDWIDTHS, strict=True):
        radius = np.exp(-np.pi * width / RATE)
        b, c = 2 * radius * np.cos(2 * np.pi * centre / RATE), -(radius**2)
        total += 2 * np.log(np.abs((1 - b - c) / (1 - b * z - c * z**2)))
    return np.asarray(total - total.mean())


def _average_envelopes() -> FloatArray:
    """Return envelopes of an average voice: a neutral vowel falling by 12 dB per octave."""
    hertz = np.arange(BINS) * RATE / 1024
    tilt = -np.log(np.maximum(hertz, 200) / 200) * 2
    curve = _formant_curve(np.array([560.0, 1500.0, 2600.0])) * 0.5 + tilt
    curve -= np.log(np.exp(curve).mean())
    return np.tile(curve, (12, 1))
