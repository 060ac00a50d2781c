"""Take words out of the samples, and carry the times of the others along."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from stepedit_core import Alignment, StepeditError, Utterance
from stepedit_core.dsp.cutting import cut_out, join_steps, plan_cut
from stepedit_text.changes import Change, applied

__all__ = ["without"]

_UNSURE = 0.1
"""Confidence below which a word was hardly heard where it is cut out."""


def without(
    utterance: Utterance, alignment: Alignment, changes: Sequence[Change]
) -> tuple[Utterance, dict[str, Any]]:
    """Return an utterance without some of its words.

    Args:
        utterance: the recording.
        alignment: its words.
        changes: stretches of words that go.

    Returns:
        The utterance with its new transcript and alignment, and facts for the report: the
        aligner, the spans cut out in seconds of the source, and the steps at the joins in dB.

    Raises:
        StepeditError: if a change puts words in, which signal processing cannot.
    """
    if any(change.by for change in changes):
        raise StepeditError("signal processing can only take words out; use the llm route")
    facts: list[dict[str, Any]] = []
    words, speakers = list(alignment.words), list(alignment.speakers)
    edited, current, taken = utterance, alignment, 0.0
    for change in sorted(changes, reverse=True):
        # From the end, so that the times of the words before hold.
        cut = plan_cut(edited, current, change.first, change.stop)
        edited = cut_out(edited, cut)
        level, high = join_steps(edited, cut.start)
        del words[change.first : change.stop]
        del speakers[change.first : change.stop]
        words = [
            dataclasses.replace(word, start=cut.moved(word.start), end=cut.moved(word.end))
            for word in words
        ]
        current = Alignment(
            " ".join(word.text for word in words), tuple(words), alignment.aligner, tuple(speakers)
        )
        facts.append(
            {
                "span": [round(cut.start, 4), round(cut.end, 4)],
                "words": " ".join(w.text for w in alignment.words[change.first : change.stop]),
                "join_level_db": round(level, 1),
                "join_high_db": round(high, 1),
            }
        )
        taken += cut.seconds
    text = applied(alignment.text, changes)
    final = dataclasses.replace(current, text=text, notes=alignment.notes)
    details = {
        "backend": "cut",
        "aligner": alignment.aligner,
        "cuts": facts[::-1],
        "seconds_removed": round(taken, 4),
        "notes": [*alignment.notes, *_doubts(alignment, changes)],
    }
    return edited.replace(transcript=text, alignment=final), details


def _doubts(alignment: Alignment, changes: Sequence[Change]) -> list[str]:
    """Say which of the words that went were hardly heard: others may have been cut instead."""
    words = [word for one in changes for word in alignment.words[one.first : one.stop]]
    doubtful = [w.text for w in words if w.confidence is not None and w.confidence < _UNSURE]
    if not doubtful:
        return []
    named = ", ".join(repr(text) for text in doubtful[:3])
    more = f" and {len(doubtful) - 3} more" if len(doubtful) > 3 else ""
    return [f"hardly heard where it was cut out: {named}{more}; listen, is the transcript right?"]
