"""A source's spectra moved to those of another voice: vocal tract, mean, covariance, sounds."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.linalg import sqrtm
from scipy.ndimage import gaussian_filter1d

from stepedit_core.dsp.world import warp_frequency
from stepedit_voice.measured import (
    FLOOR,
    RATE,
    Measured,
    cepstra,
    features_of,
    louder_voiced,
    shared_classes,
)

__all__ = ["towards_voice", "vocal_tract"]

NEIGHBOURS = 20
_NEARNESS = 0.2
"""Mean squared difference of features at which a neighbour counts 1/e of the nearest."""
_TRACT = np.linspace(0.84, 1.19, 36)
"""Factors on the frequencies of the vocal tract, about those between women and men."""
_TRACT_BAND = (200.0, 5000.0)
_TRACT_OF_PITCH = 0.18
"""Octaves by which formants usually move with one of pitch: women's are about 15 % higher than
men's, and their voices about an octave."""
_DEAR = 5.0
"""Cost of another size of the vocal tract than pitch lets expect, per squared natural logarithm:
mean spectra of a few seconds say other words, and alone name sizes that no speaker has."""
_SHARED = 0.2
"""Part of both covariances that is taken from their mean: seconds of speech hold few sounds."""
_LEAST_FOR_COVARIANCE = 60
_ROWS = 256
"""Frames whose neighbours are held at once."""

Array = npt.NDArray[np.float64]


def towards_voice(own: Measured, target: Measured, tract: float, share: float) -> Array:
    """Return the source's log amplitudes in the voice of the target; frames keep their power.

    Args:
        own: the source, with a pitch.
        target: the voice, with a pitch.
        tract: factor on frequencies, `vocal_tract`.
        share: how far a frame goes to what its neighbours sound like, 0 to 1.

    Returns:
        ``(frames, bins)``.
    """
    power = np.maximum(own.speech.envelope, FLOOR)
    logs = 0.5 * np.log(warp_frequency(power, own.speech.frequencies, tract))
    louder = louder_voiced(own.speech, own.spoken)
    logs = logs + _smooth(target.mean - logs[louder].mean(axis=0))
    logs = logs + _as_spread(logs, own, target)
    logs = logs + share * _towards_neighbours(logs, own, target)
    return np.asarray(logs + (_level(own.logs) - _level(logs))[:, None])


def vocal_tract(own: Measured, target: Measured) -> float:
    """Return the factor on frequencies by which mean spectra look most alike, tilt aside.

    A factor that does not fit the difference in pitch has to be much better to be taken.
    """
    assert own.pitch is not None and target.pitch is not None
    expected = _TRACT_OF_PITCH * np.log(2) * (target.pitch[0] - own.pitch[0])
    expected = np.clip(expected, np.log(_TRACT[0]), np.log(_TRACT[-1]))
    freqs = own.speech.frequencies
    band = (freqs > _TRACT_BAND[0]) & (freqs < _TRACT_BAND[1])
    octaves = np.log(freqs[band])
    mine, wanted = _smooth(own.mean), _smooth(target.mean)

    def cost(factor: float) -> float:
        gap = (np.interp(freqs / factor, freqs, mine) - wanted)[band]
        gap = gap - np.polyval(np.polyfit(octaves, gap, 1), octaves)
        return float(np.mean(gap**2) + _DEAR * (np.log(factor) - expected) ** 2)

    return float(min(_TRACT, key=cost))


def _smooth(curve: Array) -> Array:
    """Smooth a spectrum over about 200 Hz."""
    return np.asarray(gaussian_filter1d(curve, 8))


def _level(logs: Array) -> Array:
    """Return the log amplitude of whole frames, ``(frames,)``."""
    return np.asarray(0.5 * np.log(np.exp(2 * logs).sum(axis=1)))


def _as_spread(logs: Array, own: Measured, target: Measured) -> Array:
    """Return what gives the cepstra the target's mean and covariance, ``(frames, bins)``.

    The least change that does so for normal distributions (the Monge map, as in linear
    histogram transfer by Pitie & Kokaram 2007), with voice and without it apart. A sound stays
    where it is among the others, so that words are kept.
    """
    coded = cepstra(logs)
    moved = coded.copy()
    for mine, theirs in shared_classes(own, target):
        if min(len(mine), len(theirs)) < _LEAST_FOR_COVARIANCE:
            continue
        here, there = coded[mine, 1:], target.cepstra[theirs, 1:]
        change = _least_map(np.cov(here.T), np.cov(there.T))
        moved[mine, 1:] = (here - here.mean(axis=0)) @ change.T + there.mean(axis=0)
    change = gaussian_filter1d(moved - coded, 1.0, axis=0)
    change[:, 0] = 0.0
    return _decoded(coded + change, logs.shape[1]) - _decoded(coded, logs.shape[1])


def _least_map(here: Array, there: Array) -> Array:
    """Return the symmetric matrix that gives one covariance the other's form, both shrunk."""
    both = (here + there) / 2
    little = 1e-3 * np.trace(both) / len(both) * np.eye(len(both))
    mine, theirs = ((1 - _SHARED) * one + _SHARED * both + little for one in (here, there))
    root = np.real(sqrtm(mine))
    back = np.linalg.inv(root)
    return np.asarray(back @ np.real(sqrtm(root @ theirs @ root)) @ back)


def _decoded(coded: Array, bins: int) -> Array:
    """Return the log amplitudes of mel cepstra, ``(frames, bins)``."""
    import pyworld

    size = 2 * (bins - 1)
    power = pyworld.decode_spectral_envelope(np.ascontiguousarray(coded), RATE, size)
    return np.asarray(0.5 * np.log(np.maximum(power, FLOOR)))


def _towards_neighbours(logs: Array, own: Measured, target: Measured) -> Array:
    """Return what makes frames the target's that sound most alike, ``(frames, bins)``."""
    here = features_of(cepstra(logs), own.spoken).astype(np.float32)
    there = target.features.astype(np.float32)
    shapes = target.logs - target.logs.mean(axis=1, keepdims=True)
    change = np.zeros_like(logs)
    for mine, theirs in shared_classes(own, target):
        known, count = there[theirs], min(NEIGHBOURS, len(theirs))
        for rows in np.array_split(mine, -(-len(mine) // _ROWS)):
            asked = here[rows]
            squares = (asked**2).sum(1)[:, None] + (known**2).sum(1) - 2 * asked @ known.T
            near = np.argpartition(squares, count - 1, axis=1)[:, :count]
            far = np.take_along_axis(squares, near, axis=1) / here.shape[1]
            weights = np.exp((far.min(axis=1, keepdims=True) - far) / _NEARNESS)
            weights /= weights.sum(axis=1, keepdims=True)
            shape = np.einsum("fk,fkb->fb", weights, shapes[theirs[near]])
            level = logs[rows].mean(axis=1, keepdims=True)
            change[rows] = shape + level - logs[rows]
    return np.asarray(gaussian_filter1d(change, 2.0, axis=0))
