"""Replace spans of an utterance and leave every sample outside them as it was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from stepedit_core.dsp.offset import offset_of
from stepedit_core.errors import AudioError
from stepedit_core.utterance import Span, Utterance

__all__ = ["FADE_SECONDS", "Patch", "span_problem", "splice", "time_map"]

FADE_SECONDS = 0.01
"""Length of the cross-fade at each edge of a patch, inside the span."""

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Patch:
    """New samples for one span.

    Attributes:
        span: what is replaced, in seconds of the source; a pair of numbers becomes a `Span`.
        samples: float32, shape ``(n,)``, at the source's rate; the length may differ.
    """

    span: Span
    samples: FloatArray

    def __post_init__(self) -> None:
        """Take any pair of seconds as a span."""
        object.__setattr__(self, "span", Span(*self.span))


def span_problem(spans: Sequence[Span], seconds: float) -> str | None:
    """Return what is wrong with spans of an utterance of so many seconds, or None."""
    if not spans:
        return "no span is given"
    ordered = sorted(spans)
    for span in ordered:
        if not 0 <= span.start < span.end:
            return (
                f"span ({span.start:g}, {span.end:g}) is empty or starts before 0; "
                "a span is (start, end) in seconds"
            )
        if span.end > seconds + 1e-6:
            return f"span ({span.start:g}, {span.end:g}) ends after the utterance ({seconds:.3f} s)"
    for left, right in pairwise(ordered):
        if right.start < left.end:
            return (
                f"spans ({left.start:g}, {left.end:g}) and ({right.start:g}, {right.end:g}) overlap"
            )
    return None


def _with_offset(samples: FloatArray, offset: float) -> FloatArray:
    """Return a patch at the source's constant offset; as it is where it is there already."""
    lacking = offset - float(samples.mean()) if len(samples) and offset else 0.0
    return samples + np.float32(lacking) if abs(lacking) > abs(offset) / 2 else samples


def _cross_faded(original: FloatArray, new: FloatArray, fade: int) -> FloatArray:
    """Fade from the original into the new samples at both edges (raised cosine)."""
    mixed = new.copy()
    n = min(fade, len(new) // 2, len(original) // 2)
    if n == 0:
        return mixed
    ramp = (0.5 - 0.5 * np.cos(np.pi * (np.arange(n) + 0.5) / n)).astype(np.float32)
    # In this form equal samples stay equal to the bit, which nested masks rely on.
    mixed[:n] = original[:n] + (new[:n] - original[:n]) * ramp
    mixed[-n:] = original[-n:] + (new[-n:] - original[-n:]) * ramp[::-1]
    return mixed


def splice(
    source: Utterance, patches: Sequence[Patch], *, fade_seconds: float = FADE_SECONDS
) -> tuple[Utterance, list[Span]]:
    """Put patches into a source; joins are cross-faded inside the spans.

    Args:
        source: the utterance; samples outside all spans are copied bit by bit.
        patches: replacements whose spans do not overlap; one that lacks the source's constant
            offset gets it, or its joins would thump.
        fade_seconds: length of each cross-fade in seconds.

    Returns:
        The new utterance, and where each patch lies in it, in seconds and in time order.

    Raises:
        AudioError: if spans overlap, end before they begin, or lie outside the source.
    """
    rate = source.sample_rate
    fade = round(fade_seconds * rate)
    offset = offset_of(source.samples, rate)
    pieces: list[FloatArray] = []
    placed: list[Span] = []
    at, written = 0, 0
    for patch in sorted(patches, key=lambda item: item.span):
        start, end = round(patch.span.start * rate), round(patch.span.end * rate)
        if not at <= start <= end <= len(source.samples):
            raise AudioError(
                f"the span ({patch.span.start:g}, {patch.span.end:g}) of a patch overlaps the one "
                f"before it, is turned around or lies outside 0..{source.seconds:g} s"
            )
        samples = _with_offset(patch.samples, offset)
        new = _cross_faded(source.samples[start:end], samples, fade)
        pieces += [source.samples[at:start], new]
        written += start - at
        placed.append(Span(written / rate, (written + len(new)) / rate))
        written += len(new)
        at = end
    pieces.append(source.samples[at:])
    edited = source.replace(samples=np.concatenate(pieces))
    if source.alignment is not None:
        replaced = [patch.span for patch in sorted(patches, key=lambda item: item.span)]
        to = time_map(replaced, placed)
        edited = edited.replace(alignment=source.alignment.moved(to))
    return edited, placed


def time_map(spans: Sequence[Span], placed: Sequence[Span]) -> Callable[[float], float]:
    """Return a function from a time in the source to its time after spans were replaced.

    Args:
        spans: what was replaced, in seconds of the source, in order.
        placed: where each lies in the result; time inside runs evenly.
    """
    before = [0.0, *(edge for span in spans for edge in span)]
    after = [0.0, *(edge for span in placed for edge in span)]

    def to(second: float) -> float:
        if second >= before[-1]:
            return after[-1] + second - before[-1]
        return float(np.interp(second, before, after))

    return to
