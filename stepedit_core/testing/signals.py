"""Synthetic speech-like audio for tests: seeded, instant, and free of anybody's rights."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from stepedit_core.utterance import Span, Utterance

__all__ = ["DEFAULT_TRANSCRIPT", "add_noise", "clipped", "noise", "silence", "speech_like", "tone"]

DEFAULT_TRANSCRIPT = "You came back at last!"

FloatArray = npt.NDArray[np.float64]

# First three formants of five vowels in Hz (Peterson & Barney 1952, table II, rounded).
_VOWELS = (
    (730.0, 1090.0, 2440.0),
    (530.0, 1840.0, 2480.0),
    (270.0, 2290.0, 3010.0),
    (570.0, 840.0, 2410.0),
    (300.0, 870.0, 2240.0),
)
_BANDWIDTHS = (80.0, 110.0, 160.0)
_SYLLABLE_SECONDS = 0.2
_WORDS_PER_PHRASE = 4


def _resonance(hertz: npt.NDArray[np.floating[Any]], formants: tuple[float, ...]) -> FloatArray:
    """Return the gain of formant resonances at frequencies in Hz."""
    gains = np.full(len(hertz), 0.01)
    for centre, bandwidth in zip(formants, _BANDWIDTHS, strict=True):
        gains += 1.0 / (1.0 + ((hertz - centre) / bandwidth) ** 2)
    return gains


def _vowel(f0: FloatArray, rate: int, formants: tuple[float, ...]) -> FloatArray:
    """Return a voiced sound: harmonics of a gliding f0 (Hz), shaped by formant resonances."""
    phase = 2 * np.pi * np.cumsum(f0) / rate
    count = max(1, int(min(5000.0, 0.45 * rate) / f0.max()))
    order = np.arange(1, count + 1)
    gains = _resonance(order * float(f0.mean()), formants) / np.sqrt(order)
    return np.asarray(gains @ np.sin(order[:, None] * phase[None, :]))


def _breath(n: int, rate: int, formants: tuple[float, ...], rng: np.random.Generator) -> FloatArray:
    """Return a whispered vowel of ``n`` samples: noise, shaped by formant resonances."""
    spectrum = np.fft.rfft(rng.standard_normal(n))
    gains = _resonance(np.fft.rfftfreq(n, 1 / rate), formants)
    return np.asarray(np.fft.irfft(spectrum * gains, n))


def _syllable(
    n: int, rate: int, f0: float, rng: np.random.Generator, *, voiced: bool
) -> FloatArray:
    """Return one syllable of ``n`` samples: a short fricative, then a vowel."""
    onset = n // 5
    fricative = np.diff(rng.standard_normal(onset + 1)) * 0.05
    glide = f0 * np.linspace(1.04, 0.96, n - onset) * (1 + 0.01 * rng.standard_normal())
    formants = _VOWELS[int(rng.integers(len(_VOWELS)))]
    vowel = _vowel(glide, rate, formants) if voiced else _breath(n - onset, rate, formants, rng)
    vowel *= np.hanning(len(vowel)) ** 0.5 / max(1e-9, float(np.abs(vowel).max()))
    return np.concatenate([fricative, vowel])


@lru_cache(maxsize=32)
def speech_like(
    seconds: float = 2.0,
    sample_rate: int = 24_000,
    *,
    seed: int = 0,
    f0: float = 120.0,
    pause_seconds: float = 0.25,
    tempo: float = 1.0,
    melody: float = 1.0,
    peak: float = 0.5,
    voiced: bool = True,
    transcript: str | None = DEFAULT_TRANSCRIPT,
    language: str | None = "en",
) -> Utterance:
    """Return an utterance with the outline of speech: syllables, formants, pauses.

    Args:
        seconds: duration.
        sample_rate: in Hz.
        seed: same seed, same samples.
        f0: mean fundamental frequency in Hz; it falls over each phrase of four syllables.
        pause_seconds: silence after every phrase and at both ends.
        tempo: syllables are 0.2 s long at 1 and shorter above.
        melody: how far f0 falls over a phrase: by a fifth of the mean at 1.
        peak: largest absolute sample.
        voiced: False whispers.
        transcript: words to claim; the sound does not say them.
        language: BCP 47 tag to claim.
    """
    rng = np.random.default_rng(seed)
    total = max(1, round(seconds * sample_rate))
    pause = min(round(pause_seconds * sample_rate), total // 6)
    samples = rng.standard_normal(total) * 1e-4
    length = max(8, min(round(_SYLLABLE_SECONDS / tempo * sample_rate), total - 2 * pause))
    at, count = pause, 0
    while at + length <= total - pause:
        place = count % _WORDS_PER_PHRASE
        pitch = f0 * (1 + melody * (0.1 - 0.06 * place))
        samples[at : at + length] += _syllable(length, sample_rate, pitch, rng, voiced=voiced)
        count += 1
        at += length + (pause if count % _WORDS_PER_PHRASE == 0 else 0)
    samples *= peak / max(1e-9, float(np.abs(samples).max()))
    return Utterance(samples.astype(np.float32), sample_rate, transcript, language)


def tone(hertz: float, seconds: float = 1.0, sample_rate: int = 24_000) -> Utterance:
    """Return a sine of amplitude 0.5."""
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    return Utterance((0.5 * np.sin(2 * np.pi * hertz * time)).astype(np.float32), sample_rate)


def noise(seconds: float = 1.0, sample_rate: int = 24_000, *, seed: int = 0) -> Utterance:
    """Return white Gaussian noise with a standard deviation of 0.1."""
    rng = np.random.default_rng(seed)
    samples = 0.1 * rng.standard_normal(round(seconds * sample_rate))
    return Utterance(samples.astype(np.float32), sample_rate)


def silence(seconds: float = 1.0, sample_rate: int = 24_000) -> Utterance:
    """Return digital silence."""
    return Utterance(np.zeros(round(seconds * sample_rate), np.float32), sample_rate)


def clipped(utterance: Utterance, gain: float = 8.0) -> Utterance:
    """Return an utterance driven into hard clipping at full scale."""
    return utterance.replace(samples=np.clip(utterance.samples * gain, -1.0, 1.0))


def add_noise(
    utterance: Utterance, snr_db: float, *, seed: int = 0, span: Span | None = None
) -> Utterance:
    """Return an utterance with white noise at a signal-to-noise ratio in dB.

    Args:
        utterance: the clean signal.
        snr_db: power of the signal over power of the noise, in dB.
        seed: draws the noise.
        span: where the noise is, in seconds; everywhere by default.
    """
    clean = utterance.samples.astype(np.float64)
    hiss = np.random.default_rng(seed).standard_normal(len(clean))
    hiss *= np.sqrt(np.mean(clean**2) / 10 ** (snr_db / 10))
    if span is not None:
        time = np.arange(len(clean)) / utterance.sample_rate
        hiss[(time < span.start) | (time >= span.end)] = 0.0
    return utterance.replace(samples=(clean + hiss).astype(np.float32))
