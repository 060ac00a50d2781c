"""Pitch and energy targets, on 10 ms frames."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["FRAME_SECONDS", "measure_prosody"]

RATE = 16_000
FRAME_SECONDS = 0.01
F0_RANGE = (60.0, 600.0)
"""Hz."""
ALLOWED_RANGE = 0.2
"""``allowed_range`` of DIO, whose default of 0.1 misses a quarter of voiced frames (low: half)."""
SPAN = 2.2
"""Factor from the median that the second pass searches within; octave errors lie outside."""
FLOOR_DB = -100.0


def measure_prosody(speech: npt.NDArray[np.float32]) -> npt.NDArray[np.float16]:
    """Return fundamental frequency and level of a signal.

    Source of the pitch: DIO and StoneMask (Morise et al. 2009), by the WORLD library, in two passes
    of which the second looks around the median of the first. Harvest takes fifteen times as long
    and calls most breaths voiced.

    Args:
        speech: float32 at 16 kHz, shape ``(n,)``.

    Returns:
        float16, shape ``(2, frames)`` at 10 ms: Hz (0 where unvoiced), and level in dB of full
        scale over 20 ms.
    """
    f0, times = _f0(speech.astype(np.float64), *F0_RANGE)
    if (f0 > 0).any():
        median = float(np.median(f0[f0 > 0]))
        low, high = max(F0_RANGE[0], median / SPAN), min(F0_RANGE[1], median * SPAN)
        f0, times = _f0(speech.astype(np.float64), low, high)
    power = np.pad(speech.astype(np.float64) ** 2, RATE // 100)
    sums = np.concatenate([[0.0], np.cumsum(power)])
    centres = np.minimum((times * RATE).astype(int) + RATE // 100, len(power) - RATE // 100)
    means = (sums[centres + RATE // 100] - sums[centres - RATE // 100]) / (RATE // 50)
    level = np.maximum(10 * np.log10(np.maximum(means, 1e-12)), FLOOR_DB)
    return np.stack([f0, level]).astype(np.float16)


def _f0(
    speech: npt.NDArray[np.float64], low: float, high: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return Hz and the frames' times in seconds."""
    import pyworld

    coarse, times = pyworld.dio(
        speech,
        RATE,
        f0_floor=low,
        f0_ceil=high,
        frame_period=FRAME_SECONDS * 1000,
        allowed_range=ALLOWED_RANGE,
    )
    return pyworld.stonemask(speech, coarse, times, RATE), times
