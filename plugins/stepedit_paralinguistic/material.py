"""Parts of pairs: tagged texts, trimmed events, and the audibility of an event."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stepedit_core import Span, Utterance
from stepedit_core.dsp.offset import without_offset
from stepedit_core.dsp.words import split_words, without_tags
from stepedit_paralinguistic.tags import TagSet, canonical, tags_of

__all__ = ["audibility", "in_version", "known_tags", "tagged_text", "trimmed"]

FloatArray = npt.NDArray[np.float64]

LONGEST_EVENT = 3.0
"""Longest event recording that is used, in seconds."""


def tagged_text(text: str, word: int, tag: str) -> str:
    """Return a text with a tag put before a word, or at its end."""
    words = split_words(text)
    if word >= len(words):
        return f"{text.rstrip()} [{tag}]"
    at = words[word].start
    return f"{text[:at].rstrip()} [{tag}] {text[at:]}".lstrip()


def audibility(target: Utterance, span: Span) -> tuple[float, float]:
    """Return an event's audibility: margin 1..10, and its level over the quiet in dB.

    The margin grows with the event's level over the quietest tenth of the recording, full at
    20 dB, and with its length, full at 0.25 s.
    """
    target = without_offset(target)
    event = target.slice(span).samples.astype(np.float64)
    size = max(8, round(0.02 * target.sample_rate))
    count = max(1, len(target.samples) // size)
    frames = np.resize(target.samples.astype(np.float64), count * size).reshape(count, size)
    quiet = float(np.percentile((frames**2).mean(axis=1), 10)) + 1e-9
    level = 10 * np.log10((float(np.mean(event**2)) if len(event) else 0.0) / quiet + 1e-12)
    share = float(np.clip(level / 20, 0, 1)) * min(1.0, span.seconds / 0.25)
    return 1.0 + 9.0 * share, float(level)


def trimmed(event: Utterance) -> FloatArray | None:
    """Return an event without its silent edges, or None where it is too short or too long."""
    samples = without_offset(event).samples.astype(np.float64)
    size = max(8, round(0.01 * event.sample_rate))
    count = len(samples) // size
    if count == 0:
        return None
    power = (samples[: count * size].reshape(count, size) ** 2).mean(axis=1)
    active = np.flatnonzero(power > power.max() * 10**-3.5)
    kept = samples[active[0] * size : (active[-1] + 1) * size].copy()
    if not 0.1 <= len(kept) / event.sample_rate <= LONGEST_EVENT:
        return None
    edge = min(len(kept) // 4, round(0.02 * event.sample_rate))
    ramp = 0.5 - 0.5 * np.cos(np.pi * np.arange(edge) / edge)
    kept[:edge] *= ramp
    kept[len(kept) - edge :] *= ramp[::-1]
    return kept


def known_tags(text: str) -> str:
    """Return a text without the brackets that are no tags."""
    out, at = "", 0
    for tag in tags_of(text):
        out += without_tags(text[at : tag.start]) + f" [{tag.tag}] "
        at = tag.end
    return (out + without_tags(text[at:])).strip()


def in_version(tag: str, tags: TagSet) -> bool:
    """Return whether a model version knows a tag."""
    try:
        canonical(tag, tags)
    except ValueError:
        return False
    return True
