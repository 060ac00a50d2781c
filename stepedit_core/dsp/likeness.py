"""Similarity of two recordings of one duration: level contours and spectra."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stepedit_core.dsp.offset import without_offset
from stepedit_core.utterance import Utterance

__all__ = ["Likeness", "likeness"]

_RATE, _HOP, _WINDOW = 16_000, 160, 400
_BANDS, _LOWEST, _HIGHEST = 24, 100.0, 7_000.0
_LEVEL_RANGE_DB, _ACTIVE_DB, _BAND_RANGE_DB = 50.0, 25.0, 60.0

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Likeness:
    """Similarity of an output to its source, frame by frame; gain does not count.

    Attributes:
        level: correlation of the levels in dB, -1..1; steady sounds have none with speech.
        timbre: mean correlation of the spectra in dB over 24 bands from 100 Hz to 7 kHz, -1..1.
    """

    level: float
    timbre: float


def likeness(source: Utterance, output: Utterance) -> Likeness | None:
    """Compare two recordings frame by frame (10 ms); None where there is too little sound.

    Levels are held to the 50 dB below the loudest frame, spectra are compared in the frames in
    which the source is within 25 dB of its loudest.

    Args:
        source: any rate.
        output: of the same duration; what one of the two has more is left out.
    """
    before, after = _bands(source), _bands(output)
    count = min(len(before), len(after))
    if count < 10:
        return None
    before, after = before[:count], after[:count]
    levels = [_levels(bands) for bands in (before, after)]
    active = levels[0] > levels[0].max() - _ACTIVE_DB
    if levels[0].max() <= -100 or not active.any():
        return None
    shapes = [_decibels(bands[active], _BAND_RANGE_DB) for bands in (before, after)]
    return Likeness(_correlation(*levels), float(np.mean(_correlations(*shapes))))


def _bands(utterance: Utterance) -> Array:
    """Return the power in each band, ``(frames, 24)``."""
    samples = without_offset(utterance).resample(_RATE).samples.astype(np.float64)
    if len(samples) < _WINDOW:
        return np.zeros((0, _BANDS))
    frames = np.lib.stride_tricks.sliding_window_view(samples, _WINDOW)[::_HOP]
    spectra = np.abs(np.fft.rfft(frames * np.hanning(_WINDOW), 512)) ** 2
    edges = np.geomspace(_LOWEST, _HIGHEST, _BANDS + 1) * 512 / _RATE
    lows = np.floor(edges[:-1]).astype(int)
    highs = np.maximum(lows + 1, np.ceil(edges[1:]).astype(int))
    total = np.concatenate([np.zeros((len(spectra), 1)), np.cumsum(spectra, axis=1)], axis=1)
    return np.asarray((total[:, highs] - total[:, lows]) / (highs - lows))


def _decibels(power: Array, depth: float) -> Array:
    """Return dB, each row held to a depth below its largest value."""
    logs = 10 * np.log10(np.maximum(power, 1e-12))
    return np.asarray(np.maximum(logs, logs.max(axis=-1, keepdims=True) - depth), dtype=np.float64)


def _levels(bands: Array) -> Array:
    """Return the level of each frame in dB, held to a depth below the loudest."""
    return _decibels(bands.sum(axis=1), _LEVEL_RANGE_DB)


def _correlation(first: Array, second: Array) -> float:
    return float(_correlations(first[None], second[None])[0])


def _correlations(first: Array, second: Array) -> Array:
    """Return Pearson's correlation of each row with its counterpart; 0 where one is constant."""
    a = first - first.mean(axis=1, keepdims=True)
    b = second - second.mean(axis=1, keepdims=True)
    scale = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return np.asarray((a * b).sum(axis=1) / np.maximum(scale, 1e-9))
