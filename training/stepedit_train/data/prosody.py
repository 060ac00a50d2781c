"""Pitch and energy targets, on 10 ms frames."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["FRAME_SECONDS", "measure_prosody"]

RATE = 16_000
FRAME_SECONDS = 0.01
F0_RANGE = (60.0, 600.0)
"""Hz. Harvest rather than DIO: DIO loses low voices."""
FLOOR_DB = -100.0


def measure_prosody(speech: npt.NDArray[np.float32]) -> npt.NDArray[np.float16]:
    """Return fundamental frequency and level of a signal.

    Source of the pitch: Harvest (Morise 2017), by the WORLD library.

    Args:
        speech: float32 at 16 kHz, shape ``(n,)``.

    Returns:
        float16, shape ``(2, frames)`` at 10 ms: Hz (0 where unvoiced), and level in dB of full
        scale over 20 ms.
    """
    import pyworld

    f0, times = pyworld.harvest(
        speech.astype(np.float64),
        RATE,
        f0_floor=F0_RANGE[0],
        f0_ceil=F0_RANGE[1],
        frame_period=FRAME_SECONDS * 1000,
    )
    power = np.pad(speech.astype(np.float64) ** 2, RATE // 100)
    sums = np.concatenate([[0.0], np.cumsum(power)])
    centres = np.minimum((times * RATE).astype(int) + RATE // 100, len(power) - RATE // 100)
    means = (sums[centres + RATE // 100] - sums[centres - RATE // 100]) / (RATE // 50)
    level = np.maximum(10 * np.log10(np.maximum(means, 1e-12)), FLOOR_DB)
    return np.stack([f0, level]).astype(np.float16)
