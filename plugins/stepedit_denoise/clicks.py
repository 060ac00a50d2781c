"""Clicks, taken away as what they are: a few milliseconds that are lost, and put in anew.

What linear prediction leaves of speech is soft; a click is not predicted at all. Where that
residual rises far above what is usual in the recording, and only for a moment, the samples are
taken out and interpolated by an autoregressive model of what is on either side (Janssen, Veldhuis &
Vries, "Adaptive interpolation of discrete-time signals that can be modeled as autoregressive
processes", IEEE Trans. ASSP 34, 1986; Godsill & Rayner, "Digital audio restoration", 1998).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from stepedit_core import Utterance

__all__ = ["click_spans", "without_clicks"]

FloatArray = npt.NDArray[np.float64]

_ORDER_PER_KHZ = 1.0
_FRAME_SECONDS, _STEP_SECONDS = 0.064, 0.001
_USUAL = 0.9
"""Share of the moments that are usual: clicks fill a few hundredths of a recording."""
_RISE, _END = 10 ** (22 / 20), 10 ** (6 / 20)
"""How far above the usual a click rises, and down to where it is followed; the sharpest moments of
eight packaged recordings rise by 9 to 20 dB, those of clicks 5 dB below the speech by 32 to 37."""
_FADED = 10 ** (-26 / 20)
"""A click ends where it has faded by so much, too."""
_LONGEST_SECONDS, _MARGIN_SECONDS = 0.025, 0.001
_LEAST_PER_SECOND = 0.3
"""Fewer are left to the networks: a rare one may be the burst of a consonant."""
_CONTEXT_SECONDS, _MODEL_SECONDS = 0.04, 0.004
_LEAST_SECONDS, _PIECE_SECONDS = 0.5, 60.0
_FRAMES_AT_ONCE = 256


def without_clicks(utterance: Utterance) -> tuple[Utterance, int]:
    """Return an utterance without clicks, and how many there were.

    The utterance itself and 0 where none are heard, or less than one in three seconds.
    """
    rate = utterance.sample_rate
    spans = click_spans(utterance.samples, rate)
    if not spans:
        return utterance, 0
    made = utterance.samples.copy()
    context, order = round(_CONTEXT_SECONDS * rate), round(_MODEL_SECONDS * rate)
    for start, end in spans:
        first, last = max(0, start - context), min(len(made), end + context)
        around = made[first:last].astype(np.float64)
        made[start:end] = _interpolated(around, start - first, end - first, order)
    return utterance.replace(samples=made), len(spans)


def click_spans(samples: npt.NDArray[Any], rate: int) -> list[tuple[int, int]]:
    """Return where clicks begin and end, in samples; empty where there are but a few."""
    if len(samples) < _LEAST_SECONDS * rate or not samples.any():
        return []
    step = max(1, round(_STEP_SECONDS * rate))
    moments = _moments(samples, rate, step)
    usual = float(np.quantile(moments, _USUAL))
    if usual <= 0:
        return []
    high = np.flatnonzero(moments > _RISE * usual)
    taken = np.zeros(len(moments), np.bool_)
    for place in high[np.argsort(-moments[high])].tolist():
        if not taken[place]:
            first, end = _extent(moments, place, max(_END * usual, _FADED * moments[place]))
            taken[first:end] = True
    margin = round(_MARGIN_SECONDS * rate)
    spans = [
        (max(0, first * step - margin), min(len(samples), end * step + margin))
        for first, end in _runs(taken)
        if (end - first) * step <= _LONGEST_SECONDS * rate
    ]
    return spans if len(spans) >= _LEAST_PER_SECOND * len(samples) / rate else []


def _extent(moments: FloatArray, place: int, soft: float) -> tuple[int, int]:
    """Return from where to where moments about a place are no softer than ``soft``."""
    below = moments < soft
    before, behind = np.flatnonzero(below[:place]), np.flatnonzero(below[place:])
    first = int(before[-1]) + 1 if len(before) else 0
    return first, place + (int(behind[0]) if len(behind) else len(moments) - place)


def _runs(marked: npt.NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """Yield where runs of marked places begin and end."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], marked, [False]]).astype(np.int8)))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def _moments(samples: npt.NDArray[Any], rate: int, step: int) -> FloatArray:
    """Return the root mean square of the residual in each step, a piece of the recording at a time.

    Args:
        samples: shape ``(n,)``.
        rate: in Hz.
        step: in samples.
    """
    piece, beside = round(_PIECE_SECONDS * rate) // step * step, round(_FRAME_SECONDS * rate)
    found = []
    for start in range(0, len(samples) // step * step, piece):
        first, end = max(0, start - beside), min(start + piece, len(samples) // step * step)
        left = _residual(samples[first : end + beside].astype(np.float64), rate)[start - first :]
        found.append(np.mean(left[: end - start].reshape(-1, step) ** 2, axis=1))
    return np.asarray(np.sqrt(np.concatenate(found)))


def _residual(samples: FloatArray, rate: int) -> FloatArray:
    """Return what linear prediction leaves, frame by frame, shape ``(n,)``."""
    size = round(_FRAME_SECONDS * rate) // 2 * 2
    half, order = size // 2, max(8, round(_ORDER_PER_KHZ * rate / 1000) + 2)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(size) + 0.5) / size)
    padded = np.pad(samples, (half + order, size))
    left = np.zeros(len(padded))
    heard = np.lib.stride_tricks.sliding_window_view(padded[:-1], order + size)[::half]
    for begin in range(0, len(heard), _FRAMES_AT_ONCE):
        frames = heard[begin : begin + _FRAMES_AT_ONCE]
        spectrum = np.abs(np.fft.rfft(frames[:, order:] * window, 2 * size)) ** 2
        products = np.fft.irfft(spectrum)[:, : order + 1]
        for place, model in zip(*_predicting(products), strict=True):
            start = order + (begin + int(place)) * half
            error = np.convolve(frames[place], [1.0, *-model], "valid")
            left[start : start + size] += error * window
    return left[half + order :][: len(samples)]


def _predicting(
    products: npt.NDArray[np.floating[Any]],
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.floating[Any]]]:
    """Return which frames are not silent, and the coefficients that predict these best.

    Args:
        products: autocorrelations of frames, ``(frames, order + 1)``.

    Returns:
        Places, ``(kept,)``, and coefficients of the samples before, the last one first,
        ``(kept, order)``.
    """
    places = np.flatnonzero(products[:, 0] > 1e-12)
    known, order = products[places], products.shape[1] - 1
    lags = np.abs(np.subtract.outer(np.arange(order), np.arange(order)))
    wanted = known[:, 1:, None].copy()
    known[:, 0] *= 1 + 1e-4
    return places, np.linalg.solve(known[:, lags], wanted)[:, :, 0]


def _interpolated(around: FloatArray, start: int, end: int, order: int) -> FloatArray:
    """Return samples between two places that fit what is around them best.

    Args:
        around: with what is to be put in anew.
        start: of that, in samples.
        end: of that.
        order: of the model.
    """
    from scipy.linalg import solve, toeplitz

    known = around.copy()
    known[start:end] = 0.0
    count, order = len(known), min(order, (len(known) - (end - start)) // 3)
    if order < 2:
        return known[start:end]
    for _ in range(2):  # the model, then the samples, then both once more
        spectrum = np.abs(np.fft.rfft(known, 2 * count)) ** 2
        products = np.fft.irfft(spectrum)[: order + 1]
        if products[0] <= 1e-12:
            return known[start:end]
        products[0] *= 1 + 1e-6
        model = solve(toeplitz(products[:-1]), products[1:], assume_a="pos")
        filter_ = np.concatenate([[1.0], -model])
        # The error of prediction is a sum over all places of samples times the filter.
        unknown = end - start
        weights = np.correlate(filter_, filter_, "full")[order:]
        own = toeplitz(np.pad(weights, (0, max(0, unknown - order - 1)))[:unknown])
        known[start:end] = 0.0
        outside = np.convolve(np.convolve(known, filter_), filter_[::-1])[order:][start:end]
        known[start:end] = solve(own + 1e-9 * np.eye(unknown), -outside, assume_a="pos")
    return known[start:end]
