"""Hide words in the samples: find borders beyond the sound of each word, and mask between them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stepedit_core import (
    Alignment,
    AlignmentError,
    Patch,
    Span,
    TimedWord,
    Utterance,
    counted,
    place_words,
    splice,
)
from stepedit_core.dsp.silences import FRAME_SECONDS, frame_levels
from stepedit_redact.finding import Hit
from stepedit_redact.text import hidden_text

if TYPE_CHECKING:
    from stepedit_redact.edit import Mask

__all__ = ["hidden", "hidden_spans"]

FloatArray = npt.NDArray[np.float32]

# How far beyond a word's aligned border its sound may reach: at least, and at most, in seconds.
# Forced alignment errs by a few hundredths, other word times by more.
_FINE, _COARSE = (0.04, 0.12), (0.10, 0.30)
_FINE_ALIGNERS = frozenset({"pocketsphinx", "ctc"})
_UNSURE = 0.3
_AT_THE_ENDS = 0.5
_PER_SECOND_DB = 60.0
"""What a border costs for each second it lies beyond the aligned one."""
_NEIGHBOUR = 0.5
"""The share of a neighbouring word that a border may take at most."""
_JOINED = 0.15
_TONE_HZ, _BLOCK = 1000.0, 512
_LEAST_DB = -45.0


def hidden(
    utterance: Utterance, hits: Sequence[Hit], by: Mask, rng: np.random.Generator
) -> tuple[Utterance, dict[str, Any]]:
    """Return an utterance with its private words hidden; length and other samples stay.

    Args:
        utterance: with its transcript.
        hits: indices of private words among those of the transcript.
        by: ``silence``, ``bleep`` or ``noise``.
        rng: draws the noise.

    Returns:
        The utterance, its transcript and alignment without the private words, and facts for the
        report in which none occurs.

    Raises:
        AlignmentError: if the words cannot be timed.
    """
    text = utterance.transcript or ""
    details: dict[str, Any] = {"backend": by, "hidden": [], "seconds_hidden": 0.0, "notes": []}
    if not hits:
        return utterance, {**details, "notes": ["no private word is found"]}
    try:
        alignment = place_words(utterance)
    except AlignmentError:
        # The message of an aligner may hold a private word.
        raise AlignmentError(
            "the words of the transcript cannot be timed in the recording, so nothing is hidden; "
            "check the transcript and the language"
        ) from None
    spans = hidden_spans(utterance, alignment, hits)
    joined = _joined(spans, 1 / utterance.sample_rate)
    patches = [Patch(span, _sound(utterance, span, by, rng)) for span in joined]
    edited, _ = splice(utterance.replace(alignment=None), patches)
    gone = {n for hit in hits for n in range(hit.first, hit.stop)}
    after = hidden_text(text, hits)
    details["aligner"] = alignment.aligner
    details["hidden"] = [
        {"kind": hit.kind, "span": [round(span.start, 4), round(span.end, 4)]}
        for hit, span in zip(hits, spans, strict=True)
    ]
    details["seconds_hidden"] = round(sum(span.seconds for span in joined), 4)
    unsure = sum(_is_unsure(alignment.words[n]) for n in gone)
    if unsure:
        details["notes"] = [
            f"{unsure} of {counted(len(gone), 'hidden word')} hardly heard where it should be; the "
            "borders are wide: listen"
        ]
    kept = _without(alignment, gone, after)
    return edited.replace(transcript=after, alignment=kept), details


def hidden_spans(utterance: Utterance, alignment: Alignment, hits: Sequence[Hit]) -> list[Span]:
    """Return the span to hide for each hit, so that no rest of its words is heard.

    Each border lies beyond the aligned one, where it is quiet, and nearer rather than farther; at
    most half of a neighbouring word is taken.

    Args:
        utterance: the recording.
        alignment: its words.
        hits: which of them.
    """
    levels = frame_levels(utterance.samples, utterance.sample_rate)
    words = alignment.words
    fine = alignment.aligner in _FINE_ALIGNERS
    spans = []
    for hit in hits:
        start, end = words[hit.first].start, words[hit.stop - 1].end
        before = words[hit.first - 1] if hit.first else None
        after = words[hit.stop] if hit.stop < len(words) else None
        near, far = _reach(fine, words[hit.first], before)
        low = 0.0 if before is None else before.end - _NEIGHBOUR * (before.end - before.start)
        left = _quietest(levels, max(low, start - far), start - near, start)
        near, far = _reach(fine, words[hit.stop - 1], after)
        high = utterance.seconds
        if after is not None:
            high = after.start + _NEIGHBOUR * (after.end - after.start)
        right = _quietest(levels, end + near, min(high, end + far), end)
        spans.append(Span(max(0.0, min(left, start)), min(utterance.seconds, max(right, end))))
    return spans


def _reach(fine: bool, word: TimedWord, neighbour: TimedWord | None) -> tuple[float, float]:
    """Return the seconds beyond a border that may belong to a word, at least and at most."""
    near, far = _FINE if fine else _COARSE
    if _is_unsure(word) or (neighbour is not None and _is_unsure(neighbour)):
        near, far = _COARSE
    return near, _AT_THE_ENDS if neighbour is None else far


def _is_unsure(word: TimedWord) -> bool:
    return word.confidence is not None and word.confidence < _UNSURE


def _quietest(levels: npt.NDArray[np.float64], low: float, high: float, border: float) -> float:
    """Return the time between two at which it is quiet, and near the border."""
    if high < low:
        low, high = (low, low) if low <= border else (high, high)
    times = np.arange(low, high + 1e-9, FRAME_SECONDS / 2)
    frames = np.clip((times / FRAME_SECONDS).astype(int), 0, len(levels) - 1)
    cost = levels[frames] + _PER_SECOND_DB * np.abs(times - border)
    return float(times[int(np.argmin(cost))])


def _joined(spans: Sequence[Span], least: float) -> list[Span]:
    """Return spans in order, those that touch or nearly do made one; none shorter than given."""
    result: list[Span] = []
    for span in sorted(spans):
        if result and span.start - result[-1].end < _JOINED:
            result[-1] = Span(result[-1].start, max(result[-1].end, span.end))
        elif span.seconds >= least:
            result.append(span)
    return result


def _without(alignment: Alignment, gone: set[int], text: str) -> Alignment | None:
    """Return the alignment without the words that are gone, or None where none is left."""
    kept = [n for n in range(len(alignment.words)) if n not in gone]
    if not kept:
        return None
    speakers = tuple(alignment.speakers[n] for n in kept) if alignment.speakers else ()
    words = tuple(alignment.words[n] for n in kept)
    return dataclasses.replace(alignment, text=text, words=words, speakers=speakers, notes=())


# What is heard instead ---------------------------------------------------------------------


def _sound(utterance: Utterance, span: Span, by: Mask, rng: np.random.Generator) -> FloatArray:
    """Return the samples that hide a span; none depends on what is said there."""
    rate = utterance.sample_rate
    count = round(span.end * rate) - round(span.start * rate)
    if by == "silence":
        return np.zeros(count, np.float32)
    level = _level(utterance)
    peak = max(0.05, min(1.0, float(np.abs(utterance.samples).max(initial=0.0))))
    if by == "bleep":
        times = np.arange(count) / rate
        tone = np.sin(2 * np.pi * _TONE_HZ * times) * min(level * np.sqrt(2), peak)
        return np.asarray(tone, np.float32)
    noise = _shaped(utterance.samples, rng.standard_normal(count))
    scaled = noise * level / max(float(np.sqrt(np.mean(noise**2))), 1e-9)
    return np.asarray(np.clip(scaled, -peak, peak), np.float32)


def _level(utterance: Utterance) -> float:
    """Return the RMS of the recording's louder frames, at least -45 dBFS."""
    levels = frame_levels(utterance.samples, utterance.sample_rate)
    loud = levels[levels >= levels.max() - 20] if len(levels) else levels
    mean = 10 * np.log10(np.mean(10 ** (loud / 10))) if len(loud) else _LEAST_DB
    return float(10 ** (max(mean, _LEAST_DB) / 20))


def _shaped(samples: FloatArray, white: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return noise with the mean spectrum of a recording, steady over time."""
    count = max(1, len(samples) // _BLOCK)
    blocks = np.resize(samples.astype(np.float64), count * _BLOCK).reshape(count, _BLOCK)
    power = (np.abs(np.fft.rfft(blocks * np.hanning(_BLOCK), axis=1)) ** 2).mean(axis=0)
    size = len(white)
    grid = np.linspace(0, 1, size // 2 + 1)
    gains = np.sqrt(np.interp(grid, np.linspace(0, 1, len(power)), power))
    return np.asarray(np.fft.irfft(np.fft.rfft(white) * gains, size))
