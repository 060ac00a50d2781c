"""Pairs for the pause edit: a recording, and itself with one pause longer, shorter or new."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

import numpy as np

from stepedit_core import (
    AlignmentError,
    BuildContext,
    EditPair,
    MissingDependencyError,
    PairBuilder,
    PairJob,
    PairOptions,
    Rejected,
    find_phrase,
    place_words,
)
from stepedit_core.dsp.words import split_words
from stepedit_pause.dsp import paused
from stepedit_pause.edit import Pause

__all__ = ["PausePairs", "margin_of"]

_LEAST_WORDS = 4
_MOST_TRIES = 20


def margin_of(change: float) -> float:
    """Return the margin 1..10 of a change in seconds: ten for each, and 6 at 0.6 s.

    Pauses of fluent speech end at 0.25 s (Goldman-Eisler 1968), so 0.6 s more is a pause that
    nobody takes for one of them.
    """
    return float(np.clip(10 * abs(change), 1.0, 10.0))


class PausePairs(PairBuilder):
    """Align each recording and change the pause between two of its words.

    Each version gives two pairs: the recording to the new pause, and back to the old one.
    """

    version: ClassVar[int] = 2
    options: ClassVar[Mapping[str, str]] = {
        "each": "how many places to draw for each recording; default 1",
        "directions": "both (default), forward or backward",
    }

    def settings(self, options: Mapping[str, str]) -> tuple[int, str]:
        """Return how many places, and directions; raises StepeditError as `PairOptions` does."""
        asked = PairOptions(options)
        return asked.count("each", 1), asked.directions()

    def build(self, job: PairJob, context: BuildContext) -> Iterator[EditPair | Rejected]:
        """Yield the pairs of one recording."""
        each, directions = self.settings(context.options)
        item = job.items[0]
        if len(split_words(item.transcript or "")) < _LEAST_WORDS:
            yield Rejected("fewer than four words", {"item": item.id})
            return
        source = item.read()
        try:
            alignment = place_words(source)
        except (AlignmentError, MissingDependencyError) as error:
            yield Rejected.not_aligned(item, error)
            return
        for _ in range(each):
            seconds = round(float(context.rng.uniform(0.8, 2.0)), 2)
            edit = _drawn(source.transcript or "", seconds, context.rng)
            if edit is None:
                yield Rejected("no word is said once", {"item": item.id})
                continue
            place = edit.place(source, alignment)
            before = place.span.seconds
            target, details = paused(source, place, edit.seconds, alignment, context.rng)
            back = edit.model_copy(update={"seconds": round(before, 4)})
            margin = margin_of(seconds - before)
            yield from self.both_ways(source, target, edit, back, margin, details, directions)


def _drawn(text: str, seconds: float, rng: np.random.Generator) -> Pause | None:
    """Draw a place between two words whose first is said once."""
    words = [word.text for word in split_words(text)]
    for place in rng.permutation(len(words) - 1)[:_MOST_TRIES]:
        word = words[int(place)]
        try:
            find_phrase(words, word)
        except AlignmentError:
            continue
        return Pause(seconds=seconds, after=word)
    return None
