"""What load scripts send, and how they sum up what they saw."""

from __future__ import annotations

import io
import math
import statistics
from collections.abc import Sequence

import numpy as np
import soundfile as sf

from stepedit_core import packaged_speech

__all__ = ["percentile", "recording", "said_again", "spread"]


def recording(seconds: float, number: int = 0) -> tuple[bytes, str]:
    """Return packaged speech of a length in seconds as WAV, and its words.

    Recordings of different numbers differ a little in their levels: nobody's is known already.
    """
    found = packaged_speech("garden")
    count = round(seconds * found.sample_rate)
    samples = np.resize(found.samples, count) * (1 - number % 400 / 800)
    out = io.BytesIO()
    sf.write(out, samples, found.sample_rate, subtype="PCM_16", format="WAV")
    return out.getvalue(), found.transcript or ""


def said_again(seconds: float, number: int = 0) -> tuple[bytes, str]:
    """Return packaged speech as often as gives at least a length, as WAV, and all its words."""
    found = packaged_speech("garden")
    times = math.ceil(seconds / found.seconds)
    content, text = recording(times * found.seconds, number)
    return content, " ".join([text] * times)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which a share of the values lies."""
    return round(sorted(values)[min(len(values) - 1, int(share * len(values)))], 4)


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return median, 99th percentile and the greatest of values."""
    if not values:
        return {}
    return {
        "median": round(statistics.median(values), 4),
        "p99": percentile(values, 0.99),
        "max": round(max(values), 4),
    }
