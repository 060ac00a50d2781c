"""Loudness and true peak by ITU-R BS.1770, active level after P.56, and a true-peak limiter.

Loudness is pyloudnorm's (Steinmetz & Reiss 2021, AES 150). No kept package limits the true peak
under a licence that an Apache-2.0 project can take, so the limiter is ours: the gain that each
moment needs, held for the look-ahead and smoothed over it (the design of Giannoulis, Massberg &
Reiss 2012, J. AES 60(6), without their recursive smoothing, as the whole recording is known).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stepedit_core.utterance import Utterance

__all__ = [
    "LOOK_AHEAD",
    "active_level",
    "level_like",
    "limited",
    "limited_at_level",
    "loudness",
    "true_peak",
]

FloatArray = npt.NDArray[np.float32]

LOOK_AHEAD = 0.02
"""Seconds before and after a peak over which the limiter lowers the gain: two periods of a low
voice, so that the gain does not follow single periods."""
_BLOCK_SECONDS = 0.4
_HIGHEST_RATE = 192_000
_CHUNK = 1 << 20
_EDGE = 64
_ROUNDS = 6
_LEVEL_TRIES, _NEAR_DB = 4, 0.1
"""A limiter takes some of the level away: it is made up for, until it is as near as this."""
_FRAME_SECONDS, _MARGIN_DB, _LEVEL_ROUNDS, _SILENT_POWER = 0.02, 15.9, 8, 1e-10


def level_like(samples: FloatArray, source: FloatArray) -> tuple[FloatArray, float]:
    """Undo a backend's change of level, by 6 dB at most, never beyond full scale.

    Args:
        samples: what the backend made, ``(n,)``.
        source: what it was made from, ``(m,)``.

    Returns:
        The samples, and the gain in dB.
    """
    before, after = (float(np.sqrt(np.mean(np.square(x, dtype=float)))) for x in (source, samples))
    if after == 0:
        return samples, 0.0
    ceiling = max(1.0, float(np.abs(source).max())) / max(1e-9, float(np.abs(samples).max()))
    gain = min(float(np.clip(before / after, 0.5, 2.0)), ceiling)
    return samples * np.float32(gain), 20 * float(np.log10(gain))


def loudness(utterance: Utterance) -> float | None:
    """Return the integrated loudness in LUFS (ITU-R BS.1770-4), or None of silence.

    What is shorter than one 0.4 s block is measured as a single block. None is what lies below the
    absolute gate of -70 LUFS.
    """
    import pyloudnorm

    samples = utterance.samples.astype(np.float64)
    seconds = min(_BLOCK_SECONDS, utterance.seconds * 0.999)
    if len(samples) < 2 or not samples.any():
        return None
    meter = pyloudnorm.Meter(utterance.sample_rate, block_size=seconds)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(meter.integrated_loudness(samples))
    return value if np.isfinite(value) else None


def active_level(utterance: Utterance) -> float | None:
    """Return the power of active speech in dB of a full-scale square wave, or None of silence.

    Frames of 20 ms count that come within 15.9 dB of the active level itself, the margin of
    ITU-T P.56 (12/2011), found by iteration from the level of the whole recording; pauses do not
    lower it, so that it tells a change of gain that an edit of pauses or tempo hides.
    """
    size = max(1, round(_FRAME_SECONDS * utterance.sample_rate))
    count = max(1, len(utterance.samples) // size)
    samples = utterance.samples[: count * size].astype(np.float64)
    power = np.square(samples).reshape(-1, min(size, max(1, len(samples)))).mean(axis=1)
    level = float(power.mean()) if power.size else 0.0
    if level <= _SILENT_POWER:
        return None
    for _ in range(_LEVEL_ROUNDS):
        level = float(power[power >= level * 10 ** (-_MARGIN_DB / 10)].mean())
    return float(10 * np.log10(level))


def true_peak(samples: FloatArray, rate: int) -> float:
    """Return the true peak as a fraction of full scale, at least that of the samples.

    Oversampled eightfold up to 24 kHz, fourfold up to 48 kHz, and to 192 kHz above: at least as
    finely as ITU-R BS.1770-4, annex 2 asks for, and by a longer filter (soxr).

    Args:
        samples: shape ``(n,)``, full scale 1.
        rate: in Hz.
    """
    return float(_envelope(samples, rate).max(initial=0.0))


def limited(samples: FloatArray, rate: int, ceiling: float) -> tuple[FloatArray, float]:
    """Hold the true peak under a ceiling.

    The gain falls and rises over ``LOOK_AHEAD`` seconds; samples further from any peak stay as
    they are, and what is under the ceiling everywhere is returned as it came.

    Args:
        samples: shape ``(n,)``.
        rate: in Hz.
        ceiling: highest true peak, as a fraction of full scale.

    Returns:
        The samples, and the largest reduction of the gain in dB, 0 or more.
    """
    from scipy.ndimage import minimum_filter1d

    held = np.asarray(samples, dtype=np.float32)
    deepest = 1.0
    reach = max(1, round(LOOK_AHEAD * rate))
    window = np.hanning(2 * reach + 3)[1:-1]
    window /= window.sum()
    # A gain that moves between samples moves the peaks between them a little: once more, then.
    for _ in range(_ROUNDS):
        peaks = _envelope(held, rate)
        if float(peaks.max(initial=0.0)) <= ceiling:
            break
        # A hair under the ceiling, or the rounds would creep up to it for ever.
        needed = np.minimum(1.0, 0.9999 * ceiling / np.maximum(peaks, 1e-9))
        lowest = minimum_filter1d(needed, 2 * reach + 1, mode="nearest")
        gain = 1.0 - _smoothed(1.0 - lowest, window)
        held = (held * np.minimum(gain, 1.0)).astype(np.float32)
        deepest *= float(gain.min())
    peak = true_peak(held, rate)
    if peak > ceiling:
        held = held * np.float32(ceiling / peak)
        deepest *= ceiling / peak
    return held, max(0.0, -20 * float(np.log10(deepest)))


def limited_at_level(
    utterance: Utterance, gain: float, ceiling: float, wanted: float | None
) -> FloatArray:
    """Return samples under a ceiling whose active level is the wanted one, as near as that goes.

    Args:
        utterance: what is to be heard.
        gain: factor on its samples that brings it to the level, a limiter aside.
        ceiling: highest true peak, as a fraction of full scale.
        wanted: active level, dB; None: as the limiter leaves it.
    """
    more = 1.0
    for _ in range(_LEVEL_TRIES):
        held, _ = limited(
            utterance.samples * np.float32(gain * more), utterance.sample_rate, ceiling
        )
        level = None if wanted is None else active_level(utterance.replace(samples=held))
        if level is None or wanted is None or wanted - level <= _NEAR_DB:
            break
        more *= 10 ** (min(wanted - level, 3.0) / 20)
    return held


def _smoothed(values: npt.NDArray[np.float64], window: npt.NDArray[np.float64]) -> FloatArray:
    """Return values smoothed by a window; exactly 0 where all of them are 0 under it."""
    from scipy.ndimage import maximum_filter1d
    from scipy.signal import oaconvolve

    half = len(window) // 2
    padded = np.pad(values, half, mode="edge")
    smooth = np.asarray(oaconvolve(padded, window, mode="valid"))
    touched = maximum_filter1d(values, len(window), mode="nearest") > 0
    return np.where(touched, np.maximum(smooth, 0.0), 0.0).astype(np.float32)


def _envelope(samples: FloatArray, rate: int) -> npt.NDArray[np.float64]:
    """Return the true peak around each sample: the largest of those between its neighbours."""
    import soxr

    factor = 8 if rate <= 24_000 else 4 if rate <= 48_000 else max(1, -(-_HIGHEST_RATE // rate))
    plain = np.abs(samples.astype(np.float64))
    if factor == 1 or not len(samples):
        return plain
    for start in range(0, len(samples), _CHUNK):
        low, high = max(0, start - _EDGE), min(len(samples), start + _CHUNK + _EDGE)
        # What ends abruptly rings beyond its ends, too.
        part = np.pad(samples[low:high], _EDGE)
        dense = np.abs(soxr.resample(part, rate, factor * rate, quality="VHQ"))
        dense = np.pad(dense, (0, max(0, factor * len(part) - len(dense))))
        after = dense[: factor * len(part)].reshape(-1, factor).max(axis=1)
        # A peak between two samples needs the lower gain at both, one beyond an end at that end.
        around = np.maximum(after, np.concatenate([after[:1], after[:-1]]))
        inner = around[_EDGE : _EDGE + high - low].copy()
        inner[:1] = np.maximum(inner[:1], around[:_EDGE].max())
        inner[-1:] = np.maximum(inner[-1:], around[_EDGE + high - low :].max())
        if low > 0:
            inner[0] = 0.0
        if high < len(samples):
            inner[-1] = 0.0
        stop = min(len(samples), start + _CHUNK)
        plain[start:stop] = np.maximum(plain[start:stop], inner[start - low : stop - low])
    return plain
