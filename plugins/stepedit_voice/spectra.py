"""One speaker's spectra given the mean and the spread of another's.

Between two normal distributions the map that moves least is linear (Monge's problem; Pitié &
Kokaram, "The linear Monge-Kantorovitch linear colour mapping for example-based colour transfer",
CVMP 2007, for the colours of pictures). Here the vectors are mel cepstra of frames: their mean is a
voice's colour, and their covariance how far, and in which directions, its vowels lie apart. Which
sound a frame is stays as clear as it was.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.fft import dct, idct
from scipy.ndimage import gaussian_filter1d

__all__ = ["LEAST_FRAMES", "cepstra", "given_spread"]

LEAST_FRAMES = 60
"""Frames from which a covariance is taken: a third of a second."""
_BANDS, _CEPSTRA = 80, 40
_MEL_HZ = 700.0
_SHARED = 0.2
"""Part of both covariances that is their mean: a few seconds say other words, which spread
otherwise, too."""
_FLOOR = 1e-3
"""Least variance, as a share of the mean one."""
_SMOOTH = 1.0
"""Frames over which the change is smoothed."""

Array = npt.NDArray[np.float64]
Frames = npt.NDArray[np.bool_]


def cepstra(logs: Array, frequencies: Array) -> Array:
    """Return mel cepstra of log amplitudes.

    Args:
        logs: natural logarithms, ``(frames, bins)``.
        frequencies: of the bins, in Hz.

    Returns:
        ``(frames, 40)``; the first is the level.
    """
    mel = _mel(frequencies)
    centres = _centres(mel)
    weights = np.maximum(0.0, 1 - np.abs(mel - centres[:, None]) / centres[1])
    weights /= weights.sum(axis=1, keepdims=True)
    return np.asarray(dct(logs @ weights.T, norm="ortho", axis=1)[:, :_CEPSTRA])


def given_spread(
    logs: Array, wanted: Array, frequencies: Array, groups: list[tuple[Frames, Frames, Frames]]
) -> Array:
    """Return spectra with the mean and covariance of others; the level of each frame stays.

    Args:
        logs: natural log amplitudes, ``(frames, bins)``.
        wanted: of the other speaker, ``(other frames, bins)``.
        frequencies: of the bins, in Hz.
        groups: frames that are mapped together, such as the voiced ones: those that move, those of
            them that are measured, and the other speaker's. Too few to be measured stay.
    """
    mine, theirs = cepstra(logs, frequencies), cepstra(wanted, frequencies)
    change = np.zeros((len(logs), _BANDS))
    for moving, measured, others in groups:
        if min(measured.sum(), others.sum()) < LEAST_FRAMES:
            continue
        here, there = mine[measured, 1:], theirs[others, 1:]
        turn = _least_map(np.cov(here.T), np.cov(there.T))
        shape = mine[moving, 1:]
        moved = (shape - here.mean(axis=0)) @ turn + there.mean(axis=0)
        change[moving, 1:_CEPSTRA] = moved - shape
    change = idct(gaussian_filter1d(change, _SMOOTH, axis=0), norm="ortho", axis=1)
    mel = _mel(frequencies)
    centres = _centres(mel)
    return logs + np.stack([np.interp(mel, centres, row) for row in change])


def _mel(hertz: Array) -> Array:
    return np.log1p(hertz / _MEL_HZ)


def _centres(mel: Array) -> Array:
    return np.linspace(0.0, mel[-1], _BANDS)


def _least_map(first: Array, second: Array) -> Array:
    """Return the symmetric matrix that turns one covariance into another and moves least."""
    mean = (first + second) / 2
    least = _FLOOR * np.trace(mean) / len(mean) * np.eye(len(mean))
    first, second = ((1 - _SHARED) * one + _SHARED * mean + least for one in (first, second))
    root = _root(first)
    back = np.linalg.inv(root)
    return np.asarray(back @ _root(root @ second @ root) @ back)


def _root(matrix: Array) -> Array:
    """Return the square root of a symmetric matrix without negative eigenvalues."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)) @ vectors.T)
