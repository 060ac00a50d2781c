"""Sounds that no tag names: beeps, buzzes, bursts of noise, clicks, speech backwards."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["other_sound"]

RATE = 16_000
FloatArray = npt.NDArray[np.float64]


def other_sound(speech: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Return a sound of 0.2 to 1.5 s that is neither laugh, breath nor interjection.

    Args:
        speech: at 16 kHz; what is cut and turned round is taken from it.
        rng: draws kind, length and everything else.

    Returns:
        Samples at 16 kHz, shape ``(n,)``, never silent.
    """
    length = round(rng.uniform(0.2, 1.5) * RATE)
    makers = (_tone, _chord, _sweep, _buzz, _noise, _noise, _clicks, _backwards, _modulated)
    sound = makers[int(rng.integers(len(makers)))](length, speech, rng)
    return sound * _envelope(len(sound), rng) + 1e-6 * rng.standard_normal(len(sound))


def _envelope(length: int, rng: np.random.Generator) -> FloatArray:
    """Return a level along the sound: steady, fading, swelling, swelling and fading, pulsed."""
    along = np.linspace(0, 1, length)
    pulses = 0.5 + 0.5 * np.sign(np.sin(2 * np.pi * rng.uniform(2, 9) * along * length / RATE))
    shapes = (
        np.ones(length),
        np.exp(-rng.uniform(1, 6) * along),
        along ** rng.uniform(0.5, 2),
        np.sin(np.pi * along) ** rng.uniform(0.5, 2),
        pulses + 0.01,
    )
    return np.asarray(shapes[int(rng.integers(len(shapes)))])


def _times(length: int) -> FloatArray:
    return np.arange(length) / RATE


def _tone(length: int, speech: FloatArray, rng: np.random.Generator) -> FloatArray:
    return np.asarray(np.sin(2 * np.pi * np.exp(rng.uniform(5.0, 8.4)) * _times(length)))


def _chord(length: int, speech: FloatArray, rng: np.random.Generator) -> FloatArray:
    pitches = np.exp(rng.uniform(5.0, 8.0, size=int(rng.integers(2, 5))))
    waves = np.sin(2 * np.pi * pitches[:, None] * _times(length) + rng.uniform(0, 6))
    return np.asarray(waves.sum(axis=0))


def _sweep(length: int, speech: FloatArray, rng: np.random.Generator) -> FloatArray:
    start, stop = np.exp(rng.uniform(4.6, 8.2, size=2))
    return np.asarray(np.sin(2 * np.pi * np.cumsum(np.geomspace(start, stop, length)) / RATE))


def _buzz(length: int, speech: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Return a saw-tooth or square wave of steady pitch, or mains hum."""
    phase = rng.uniform(45, 400) * _times(length) % 1.0
    wave = 2 * phase - 1 if rng.random() < 0.5 else np.sign(phase - rng.uniform(0.2, 0.8))
    return np.asarray(wave)


def _noise(length: int, speech: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Return noise with a straight slope, or of one band."""
    spectrum = np.fft.rfft(rng.standard_normal(length))
    hertz = np.maximum(np.fft.rfftfreq(length, 1 / RATE), 40.0)
    spectrum *= (hertz / 1000.0) ** rng.uniform(-1.0, 0.5)
    if rng.random() < 0.4:
        centre, width = np.exp(rng.uniform(5.5, 8.6)), rng.uniform(0.15, 0.7)
        spectrum *= np.exp(-((np.log(hertz / centre) / width) ** 2))
    return np.asarray(np.fft.irfft(spectrum, length))


def _clicks(length: int, speech: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Return impulses, a few or a rattle of them, each ringing shortly."""
    pulses = np.zeros(length)
    places = rng.integers(0, length, size=int(rng.integers(1, 40)))
    pulses[places] = rng.choice([-1.0, 1.0], size=len(places))
    ring = np.exp(-np.arange(400) / rng.uniform(5, 120))
    ring *= np.cos(2 * np.pi * rng.uniform(300, 5000) * _times(400))
    return np.asarray(np.convolve(pulses, ring)[:length])


def _backwards(length: int, speech: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Return a stretch of speech, turned round."""
    size = min(length, len(speech))
    start = int(rng.integers(0, len(speech) - size + 1))
    return speech[start : start + size][::-1].copy()


def _modulated(length: int, speech: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Return noise or a tone that beats as fast as laughter or a motor does."""
    carrier = (_noise, _tone, _buzz)[int(rng.integers(3))](length, speech, rng)
    beat = np.sin(2 * np.pi * rng.uniform(3, 30) * _times(length))
    return np.asarray(carrier * (1 + rng.uniform(0.3, 1.0) * beat))
