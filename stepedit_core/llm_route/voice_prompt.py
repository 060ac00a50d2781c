"""The part of a recording that a language model is shown as the voice to speak in.

Small models lose their words beside voice prompts that are longer than those they were taught by.
They are shown a few seconds: whole words between pauses, with what is said there. The decoder's
reference stays the whole recording.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from stepedit_core.codes import GROUP_SECONDS, DualCodes
from stepedit_core.dsp.words import split_words
from stepedit_core.llm_route.stretches import word_times
from stepedit_core.utterance import Span, Utterance

__all__ = ["voice_stretch"]

_SHORTEST = 0.6
"""Share of the longest stretch that one has at least, where words allow it."""
_PAUSE = 0.3
"""Seconds from which on a pause is as good as any."""
_KEPT = 0.12
"""Seconds of a pause that are kept with the word beside it."""


def voice_stretch(
    utterance: Utterance, codes: DualCodes, seconds: float
) -> tuple[Utterance, DualCodes]:
    """Return the part of a recording that is shown, with its words, and its codes.

    Of the runs of words that last no longer, it is the one that is long and lies between long
    pauses, the earliest of equals. The whole recording comes back where it is short enough, and
    where its words are not timed: no aligner is installed, or it does not know the language.

    Args:
        utterance: with its transcript.
        codes: of all of it.
        seconds: longest stretch.
    """
    text = utterance.transcript or ""
    if codes.seconds <= seconds or not text.strip():
        return utterance, codes
    places = split_words(text)
    spans = word_times(utterance, places)
    if spans is None or len(places) < 2:
        return utterance, codes
    first, stop = _best_run(spans, codes, seconds)
    groups = _groups(spans, codes, first, stop)
    begin = places[first].start if first else 0
    end = places[stop].start if stop < len(places) else len(text)
    own = codes.slice_groups(*groups)
    speech = utterance.slice(Span(max(0.0, own.start), own.start + own.seconds))
    shown = DualCodes(own.linguistic, own.semantic)
    return speech.replace(transcript=text[begin:end].strip()), shown


def _groups(spans: Sequence[Span], codes: DualCodes, first: int, stop: int) -> tuple[int, int]:
    """Return the groups of a run of words, with a little of the pauses around them."""
    begin, end = 0.0, codes.start + codes.seconds
    if first:
        begin = max((spans[first - 1].end + spans[first].start) / 2, spans[first].start - _KEPT)
    if stop < len(spans):
        end = min((spans[stop - 1].end + spans[stop].start) / 2, spans[stop - 1].end + _KEPT)
    start = 0 if not first else round((begin - codes.start) / GROUP_SECONDS)
    start = min(max(0, start), codes.groups - 1)
    last = codes.groups if stop == len(spans) else round((end - codes.start) / GROUP_SECONDS)
    return start, min(max(start + 1, last), codes.groups)


def _best_run(spans: Sequence[Span], codes: DualCodes, seconds: float) -> tuple[int, int]:
    """Return the first word of the best run, and the word after its last one."""
    gaps = [_PAUSE, *(min(_PAUSE, max(0.0, b.start - a.end)) for a, b in pairwise(spans)), _PAUSE]
    best, chosen = -np.inf, (0, 1)
    for first in range(len(spans)):
        for stop in range(first + 1, len(spans) + 1):
            start, last = _groups(spans, codes, first, stop)
            share = (last - start) * GROUP_SECONDS / seconds
            if share > 1 and stop > first + 1:
                break
            score = (gaps[first] + gaps[stop]) / (2 * _PAUSE) + min(1.0, share)
            score -= 2.0 * (share < _SHORTEST) + 2.0 * (share > 1)
            if score > best + 1e-9:
                best, chosen = score, (first, stop)
    return chosen
