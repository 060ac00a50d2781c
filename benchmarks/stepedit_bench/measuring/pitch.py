"""Fundamental frequency with WORLD's Harvest (Morise 2017)."""

from __future__ import annotations

import numpy as np

from stepedit_bench.measuring.extras import need
from stepedit_core.utterance import Utterance

__all__ = ["median_f0"]

FLOOR_HZ, CEILING_HZ = 60.0, 600.0
_FRAME_MS = 10.0


def median_f0(utterance: Utterance) -> float | None:
    """Return the median of voiced frames in Hz, or None where under 50 ms are voiced."""
    world = need("pyworld", "pyworld-prebuilt", "fundamental frequency")
    speech = utterance.resample(16_000)
    if speech.seconds < 0.1 or not speech.samples.any():
        return None
    f0, _ = world.harvest(
        speech.samples.astype(np.float64), 16_000, FLOOR_HZ, CEILING_HZ, _FRAME_MS
    )
    voiced = f0[f0 > 0]
    return float(np.median(voiced)) if len(voiced) >= 5 else None
