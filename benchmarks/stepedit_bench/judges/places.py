"""Time windows in which the events of a question are expected."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stepedit_bench.judges.features import FRAME_STEP, frame_features, levels
from stepedit_core.dsp.words import split_words
from stepedit_core.utterance import Utterance

__all__ = ["entries_of", "place"]

_TAG = re.compile(r"\[([^\[\]]*)\]")
_SPEECH_DB = -30.0
AT_SLACK, WORD_SLACK = 0.2, 0.5
"""Seconds around a place that is given, and one that is reckoned from the words before it."""


def entries_of(question: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    """Return the sounds that a question asks for, each a mapping with ``tag``."""
    if not question:
        return []
    listed = question.get("events")
    entries = list(listed) if isinstance(listed, Sequence) else [question]
    return [entry for entry in entries if isinstance(entry, Mapping) and entry.get("tag")]


def place(
    entry: Mapping[str, Any],
    number: int,
    question: Mapping[str, Any],
    utterance: Utterance,
    reference: Utterance | None,
) -> tuple[float, float]:
    """Return from and to which second of an utterance a sound is looked for.

    Taken from the entry's ``start`` and ``end`` (seconds of the utterance), its ``at`` (seconds
    of the reference), or the words before it in the question's ``text``, at mean rates of read
    speech; otherwise it may be anywhere.

    Args:
        entry: one of ``entries_of(question)``.
        number: which one, from 0: sounds before it move it back.
        question: as the judge gets it.
        utterance: the edited speech.
        reference: speech before the edit.
    """
    if entry.get("start") is not None:
        start = float(entry["start"])
        return start, float(entry["end"]) if entry.get("end") is not None else start
    count = max(1, len(entries_of(question)))
    grown = max(0.0, utterance.seconds - reference.seconds) / count if reference else 0.0
    if entry.get("at") is not None:
        at, slack = float(entry["at"]), AT_SLACK
    else:
        share = _share_before(entry, str(question.get("text") or ""))
        if share is None:
            return 0.0, utterance.seconds
        first, last = _speech(reference or utterance)
        at, slack = first + share * (last - first), WORD_SLACK
    return at + number * grown - slack, at + (number + 1) * grown + slack


def _share_before(entry: Mapping[str, Any], text: str) -> float | None:
    """Return which share of the text's speaking time lies before a tag, or None."""
    words = split_words(text)
    total = sum(word.seconds for word in words)
    after = [str(word) for word in entry.get("after_words") or ()]
    places = []
    for match in _TAG.finditer(text):
        before = [word for word in words if word.end <= match.start()]
        if match.group(1).strip().casefold() == str(entry["tag"]).strip("[] ").casefold():
            same = [word.text for word in before[len(before) - len(after) :]] == after
            places.append((not same, sum(word.seconds for word in before)))
    return min(places)[1] / total if places and total > 0 else None


def _speech(utterance: Utterance) -> tuple[float, float]:
    """Return when the first and the last loud frame are, in seconds."""
    loud = np.flatnonzero(levels(frame_features(utterance)) > _SPEECH_DB)
    return float(loud[0]) * FRAME_STEP, float(loud[-1] + 1) * FRAME_STEP
