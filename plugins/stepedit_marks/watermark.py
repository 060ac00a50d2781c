"""Perth (Resemble AI, MIT): an inaudible mark in the spectrum below 2 kHz, found by a network.

Its weights lie in the wheel. It carries one bit: marked, or not. The mark is made at 32 kHz; the
difference that it makes is added at the recording's own rate, so that what lies above 16 kHz
stays, and inside the edited spans alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from functools import cache
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from stepedit_core import (
    Finding,
    Mark,
    MissingDependencyError,
    Patch,
    Span,
    StepeditError,
    Utterance,
    splice,
)

__all__ = ["THRESHOLD", "Watermark", "confidence", "marked"]

RATE = 32_000
THRESHOLD = 0.9
"""Confidence from which on a window counts as marked."""
_WINDOW, _HOP = 1.0, 0.5
_LEAST_SECONDS = 0.1
_MOST_SECONDS = 3600.0
_CURE = "resemble-perth is not installed: pip install 'stepedit[watermark]'"

FloatArray = npt.NDArray[np.float32]


class Watermark(Mark):
    """The Perth watermark in what was edited."""

    name: ClassVar[str] = "watermark"
    marks_sound: ClassVar[bool] = True

    @classmethod
    def missing(cls) -> str | None:
        """Return a hint on what to install where the library is absent, or None."""
        return None if find_spec("perth") else _CURE

    def in_sound(self, edited: Utterance, spans: Sequence[Span]) -> Utterance:
        """Mark the edited spans."""
        return marked(edited, spans)

    def find(self, path: Path) -> Finding:
        """Look for the mark in windows of a second."""
        speech = Utterance.read(path, max_seconds=_MOST_SECONDS)
        sure, at = confidence(speech)
        facts = {"confidence": round(sure, 4), "threshold": THRESHOLD, "at_seconds": round(at, 2)}
        if sure < THRESHOLD:
            return Finding(self.name, "absent", f"no watermark (confidence {sure:.2f})", facts)
        says = f"a watermark at {at:.1f} s (confidence {sure:.2f})"
        return Finding(self.name, "holds", says, facts)


def marked(utterance: Utterance, spans: Sequence[Span]) -> Utterance:
    """Return an utterance with the mark inside spans; every other sample keeps its bits.

    Args:
        utterance: any rate.
        spans: in seconds; those shorter than 0.1 s are left out.
    """
    long = [span for span in spans if span.seconds >= _LEAST_SECONDS]
    if not long or utterance.seconds < _LEAST_SECONDS:
        return utterance
    plain = utterance.resample(RATE)
    with_mark = np.asarray(_perth().apply_watermark(plain.samples.copy(), sample_rate=RATE))
    count = min(len(with_mark), len(plain.samples))
    difference = np.zeros(len(plain.samples), np.float32)
    difference[:count] = with_mark[:count] - plain.samples[:count]
    added = plain.replace(samples=difference).resample(utterance.sample_rate).samples
    added = np.resize(np.append(added, np.zeros(1, np.float32)), len(utterance.samples))
    peak = max(1.0, float(np.abs(utterance.samples).max(initial=0.0)))
    whole = np.clip(utterance.samples + added, -peak, peak)
    rate = utterance.sample_rate
    patches = [
        Patch(span, whole[round(span.start * rate) : round(span.end * rate)]) for span in long
    ]
    known = utterance.alignment
    made, _ = splice(utterance.replace(alignment=None), patches)
    return made.replace(alignment=known)


def confidence(utterance: Utterance) -> tuple[float, float]:
    """Return the highest confidence of any window, 0..1, and where it begins, in seconds."""
    samples = utterance.resample(RATE).samples
    size, hop = round(_WINDOW * RATE), round(_HOP * RATE)
    best, at = 0.0, 0.0
    for start in range(0, max(1, len(samples) - size + hop), hop):
        window = samples[start : start + size]
        if len(window) < round(_LEAST_SECONDS * RATE) or not window.any():
            continue
        sure = float(np.max(_perth().get_watermark(window, RATE, round=False)))
        if sure > best:
            best, at = sure, start / RATE
    return best, at


@cache
def _perth() -> Any:
    """Load the network from the wheel, on the CPU.

    Raises:
        MissingDependencyError: if a library is missing.
        StepeditError: if it cannot be loaded.
    """
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")  # pkg_resources says that it is old
            import perth

            return perth.PerthImplicitWatermarker()
    except ImportError as error:
        raise MissingDependencyError(f"{_CURE} ({error})") from error
    except Exception as error:
        text = " ".join(str(error).split())[:200]
        raise StepeditError(f"mark watermark: resemble-perth cannot be loaded: {text}") from error
