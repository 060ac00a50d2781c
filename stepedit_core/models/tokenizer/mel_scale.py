"""The mel scale of Slaney's Auditory Toolbox (1998), and filters on it.

The same numbers as librosa's, whose import takes longer than encoding an utterance.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["mel_filters", "mel_frequencies"]

_LINEAR_HZ = 200.0 / 3
"""Hz of a mel below the corner."""
_CORNER_HZ = 1000.0
_CORNER_MEL = _CORNER_HZ / _LINEAR_HZ
_LOG_STEP = np.log(6.4) / 27.0


def _to_mel(hz: float) -> float:
    if hz < _CORNER_HZ:
        return hz / _LINEAR_HZ
    return float(_CORNER_MEL + np.log(hz / _CORNER_HZ) / _LOG_STEP)


def mel_frequencies(count: int, fmin: float, fmax: float) -> npt.NDArray[np.float64]:
    """Return frequencies evenly spaced in mel, both ends included, Hz, ``(count,)``."""
    mels = np.linspace(_to_mel(fmin), _to_mel(fmax), count)
    hz = _LINEAR_HZ * mels
    above = mels >= _CORNER_MEL
    hz[above] = _CORNER_HZ * np.exp(_LOG_STEP * (mels[above] - _CORNER_MEL))
    return hz


def mel_filters(
    rate: int, n_fft: int, n_mels: int, fmin: float = 0.0, fmax: float | None = None
) -> npt.NDArray[np.float32]:
    """Return triangular filters of equal area, float32 ``(n_mels, n_fft // 2 + 1)``.

    Args:
        rate: sample rate, Hz.
        n_fft: length of the transform.
        n_mels: filters.
        fmin: lower end of the first, Hz.
        fmax: upper end of the last, Hz; None is half the rate.
    """
    edges = mel_frequencies(n_mels + 2, fmin, rate / 2 if fmax is None else fmax)
    width = np.diff(edges)
    ramps = np.subtract.outer(edges, np.fft.rfftfreq(n_fft, 1.0 / rate))
    rising = -ramps[:-2] / width[:-1, None]
    falling = ramps[2:] / width[1:, None]
    filters: npt.NDArray[np.float32] = np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
    filters *= (2.0 / (edges[2:] - edges[:-2]))[:, None]
    return filters
