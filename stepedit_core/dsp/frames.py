"""Frame by frame measurements behind ``stepedit_core.dsp.acoustics``; 16 kHz, 5 ms steps."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "ACTIVE_DB",
    "RATE",
    "SILENCE_DB",
    "STEP",
    "VOICING",
    "WHISPERED",
    "Array",
    "Mask",
    "cut",
    "hnr",
    "level",
    "melody",
    "pitch",
    "spectrum",
    "timing",
]

RATE = 16_000
"""Rate at which everything is measured, in Hz."""
STEP = 0.005
"""Frame period in seconds."""
F0_FLOOR, F0_CEIL = 60.0, 700.0
VOICING = 0.45
"""Least normalised autocorrelation of a voiced frame (Praat's voicing threshold)."""
WHISPERED = 0.08
"""Share of voiced frames below which speech counts as whispered."""
ACTIVE_DB = 25.0
"""Frames this far below the loudest are pauses (de Jong & Wempe 2009)."""
SILENCE_DB = -70.0
PAUSE_SECONDS = 0.15
TILT_BAND = (200.0, 5000.0)

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def cut(samples: Array, window: float) -> Array | None:
    """Cut overlapping frames centred on multiples of ``STEP``; None where there is no sound."""
    size, hop = round(window * RATE), round(STEP * RATE)
    if len(samples) < size or not samples.any():
        return None
    padded = np.pad(samples, size // 2)
    views = np.lib.stride_tricks.sliding_window_view(padded, size)
    return views[::hop][: len(samples) // hop]


def level(frames: Array) -> Array:
    """Return the Hann-weighted level of each frame, in dBFS."""
    window = np.hanning(frames.shape[1])
    power = (frames**2) @ window / window.sum()
    return np.asarray(10 * np.log10(np.maximum(power, 1e-12)))


def pitch(samples: Array, count: int) -> tuple[Array, Array]:
    """Return F0 in Hz (0 where DIO finds none) and periodicity 0..1 for each frame."""
    import pyworld

    quiet = np.ascontiguousarray(samples)
    coarse, times = pyworld.dio(
        quiet, RATE, f0_floor=F0_FLOOR, f0_ceil=F0_CEIL, frame_period=STEP * 1000
    )
    f0 = pyworld.stonemask(quiet, coarse, times, RATE)[:count]
    f0 = np.pad(f0, (0, count - len(f0)))
    f0 = np.where(f0 > F0_FLOOR, f0, 0.0)
    return f0, periodicity(samples, f0)


def periodicity(samples: Array, f0: Array) -> Array:
    """Return the normalised cross-correlation of neighbouring periods, two on either side."""
    out = np.zeros(len(f0))
    hop = round(STEP * RATE)
    for index in np.flatnonzero(f0):
        period = RATE / f0[index]
        half = round(period * 1.5)
        centre = index * hop
        best = 0.0
        for lag in {math.floor(period), math.ceil(period)}:
            start = max(0, centre - half - lag // 2)
            first = samples[start : start + 2 * half]
            second = samples[start + lag : start + lag + 2 * half]
            first = first[: len(second)]
            if len(second) < lag:
                continue
            scale = math.sqrt(float(first @ first) * float(second @ second))
            best = max(best, float(first @ second) / scale if scale > 0 else 0.0)
        out[index] = best
    return out


def hnr(periodicity: Array) -> float | None:
    """Return the median of 10 log10(r / (1 - r)), Boersma 1993, eq. 4."""
    if len(periodicity) < 5:
        return None
    r = np.clip(periodicity, 1e-3, 1 - 1e-4)
    return float(np.median(10 * np.log10(r / (1 - r))))


def melody(f0: Array, voiced: Mask) -> dict[str, Any]:
    """Return level, range, trend and movement of F0; nothing below 50 ms of voicing."""
    if voiced.sum() < 10:
        return {}
    semitones = 12 * np.log2(np.where(voiced, f0, 1.0))
    middle = np.median(semitones[voiced])
    # Octave errors lie a whole octave away from everything else; range must not see them.
    kept = voiced & (np.abs(semitones - middle) < 16)
    low, high = np.percentile(semitones[kept], [5, 95])
    times = np.arange(len(f0)) * STEP
    span = float(np.ptp(times[kept]))
    slope = float(np.polyfit(times[kept], semitones[kept], 1)[0]) if span > 0.3 else None
    inner = kept[1:] & kept[:-1]
    moves = np.abs(np.diff(semitones))[inner] / STEP
    moves = moves[moves < 300]  # faster than any voice: a tracking error
    return {
        "f0": float(2 ** (middle / 12)),
        "f0_range": float(high - low),
        "f0_slope": slope,
        "f0_variability": float(np.mean(moves)) if len(moves) >= 10 else None,
    }


def timing(samples: Array, active: Mask, voiced: Mask) -> dict[str, Any]:
    """Return syllable rates and pauses, leading and trailing silence left out."""
    first, last = np.flatnonzero(active)[[0, -1]]
    inner = active[first : last + 1]
    edges = np.flatnonzero(np.diff(np.concatenate([[True], inner, [True]]).astype(int)))
    gaps = (edges[1::2] - edges[::2]) * STEP
    gaps = gaps[gaps >= PAUSE_SECONDS]
    total = len(inner) * STEP
    nuclei = count_nuclei(samples, voiced) if voiced.sum() >= 10 else 0
    speaking = total - float(gaps.sum())
    return {
        "syllable_rate": nuclei / total if nuclei and total > 0.3 else None,
        "articulation_rate": nuclei / speaking if nuclei and speaking > 0.3 else None,
        "speech_seconds": total,
        "pauses": len(gaps),
        "pause_share": float(gaps.sum()) / total,
    }


def count_nuclei(samples: Array, voiced: Mask) -> int:
    """Count voiced intensity peaks that stand 2 dB above the dips beside them.

    After de Jong & Wempe (2009), Behavior Research Methods 41: intensity with the effective
    window of Praat at a pitch floor of 50 Hz (64 ms), peaks within 25 dB of the loudest.
    """
    from scipy.signal import find_peaks

    frames = cut(samples, window=0.064)
    if frames is None:
        return 0
    levels = level(frames)[: len(voiced)]
    floor = float(np.percentile(levels, 99)) - ACTIVE_DB
    peaks, _ = find_peaks(np.maximum(levels, floor - 1), height=floor, prominence=2.0)
    return int(voiced[peaks].sum())


def spectrum(samples: Array, chosen: Mask, sample_rate: int) -> tuple[float | None, float | None]:
    """Return the tilt in dB per octave and the Hammarberg index in dB of chosen frames."""
    frames = cut(samples, window=0.032)
    top = min(TILT_BAND[1], 0.45 * sample_rate)
    if frames is None or chosen.sum() < 5:
        return None, None
    chosen = chosen[: len(frames)]
    part = frames[: len(chosen)][chosen] * np.hanning(frames.shape[1])
    power = (np.abs(np.fft.rfft(part, 1024)) ** 2).mean(axis=0)
    freqs = np.fft.rfftfreq(1024, 1 / RATE)
    centres = TILT_BAND[0] * 2 ** (np.arange(0, 15) / 3)
    centres = centres[centres * 2 ** (1 / 6) <= top * 1.05]
    levels = []
    for centre in centres:
        inside = (freqs >= centre * 2 ** (-1 / 6)) & (freqs < centre * 2 ** (1 / 6))
        # Mean, not sum: density per Hz, so that white noise has a tilt of 0.
        levels.append(10 * np.log10(max(float(power[inside].mean()), 1e-20)))
    tilt = float(np.polyfit(np.log2(centres), levels, 1)[0])
    if sample_rate < 10_000:
        return tilt, None
    decibels = 10 * np.log10(np.maximum(power, 1e-20))
    low, high = decibels[freqs < 2000].max(), decibels[(freqs >= 2000) & (freqs < 5000)].max()
    return tilt, float(low - high)
