"""Time map between two recordings of the same words."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from stepedit_core import Utterance

__all__ = ["time_map"]

RATE = 16_000
HOP = 320
"""Samples between frames: 20 ms."""

FloatArray = npt.NDArray[np.float64]


def time_map(source: Utterance, target: Utterance) -> tuple[FloatArray, FloatArray, str]:
    """Return matching moments of two utterances of the same words.

    Equal lengths are taken to be in step. Otherwise the two are aligned by dynamic time
    warping of 20 mel cepstra every 20 ms (Sakoe & Chiba 1978; librosa).

    Returns:
        Moments of the source and of the target in seconds, both float64, shape ``(n,)``,
        non-decreasing; and ``identity`` or ``dtw``.
    """
    if abs(source.seconds - target.seconds) < 0.5 / source.sample_rate:
        ends = np.array([0.0, source.seconds])
        return ends, ends, "identity"
    import librosa

    first, second = _cepstra(source), _cepstra(target)
    _, path = librosa.sequence.dtw(first, second, metric="euclidean")
    steps = path[::-1].astype(np.float64) * HOP / RATE
    # One moment of the target for each source frame: the mean over its matches.
    frames = np.arange(first.shape[1]) * HOP / RATE
    order = np.round(steps[:, 0] * RATE / HOP).astype(int)
    total = np.bincount(order, weights=steps[:, 1], minlength=len(frames))
    count = np.maximum(np.bincount(order, minlength=len(frames)), 1)
    moments = np.maximum.accumulate(total / count)
    ends = np.append(frames, source.seconds)
    return ends, np.append(moments, max(target.seconds, moments[-1])), "dtw"


def _cepstra(utterance: Utterance) -> npt.NDArray[Any]:
    """Return normalised mel cepstra, shape ``(20, frames)``."""
    import librosa

    samples = utterance.resample(RATE).samples
    cepstra = librosa.feature.mfcc(
        y=samples, sr=RATE, n_mfcc=20, hop_length=HOP, n_fft=512, n_mels=40
    )
    spread = np.maximum(cepstra.std(axis=1, keepdims=True), 1e-6)
    return np.asarray((cepstra - cepstra.mean(axis=1, keepdims=True)) / spread)
