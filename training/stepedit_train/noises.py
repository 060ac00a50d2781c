"""Noise of many colours, drawn for augmentation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["coloured_noise", "uneven_noise"]

FloatArray = npt.NDArray[np.float32]

POINTS, BENDS_DB, SWELLS_DB = 8, 6.0, 4.0
"""Of uneven noise: points of its curve over frequency, and deviations over frequency and time."""
SWELL_SECONDS = 0.5


def _shaped(spectrum: npt.NDArray[np.complex128], count: int, slope: float) -> FloatArray:
    wave = np.fft.irfft(spectrum / np.arange(1, len(spectrum) + 1) ** slope, count)
    return (wave / max(float(wave.std()), 1e-9)).astype(np.float32)


def coloured_noise(rng: np.random.Generator, count: int) -> FloatArray:
    """Return noise with a spectrum between white and brown, power 1, shape ``(count,)``."""
    spectrum = np.fft.rfft(rng.standard_normal(count))
    return _shaped(spectrum, count, rng.uniform(0.0, 1.0))


def uneven_noise(rng: np.random.Generator, count: int, rate: int) -> FloatArray:
    """Return coloured noise with hills over frequency that swells over time, power 1.

    Args:
        rng: source of all choices.
        count: samples.
        rate: Hz.
    """
    spectrum = np.fft.rfft(rng.standard_normal(count))
    octaves = np.log2(np.arange(1, len(spectrum) + 1))
    bends = rng.normal(0.0, BENDS_DB, POINTS)
    curve = np.interp(octaves, np.linspace(0, octaves[-1], POINTS), bends)
    noise = _shaped(spectrum * 10 ** (curve / 20), count, rng.uniform(0.0, 1.0))
    points = 2 + int(count / rate / SWELL_SECONDS)
    swells = rng.normal(0.0, SWELLS_DB, points)
    level = 10 ** (np.interp(np.linspace(0, points - 1, count), np.arange(points), swells) / 20)
    swollen = noise * level
    return (swollen / max(float(swollen.std()), 1e-9)).astype(np.float32)
