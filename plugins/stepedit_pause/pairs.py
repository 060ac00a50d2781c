"""Pairs for the pause edit: a recording, and itself with one pause longer, shorter or new."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar

import numpy as np

from stepedit_core import (
    AlignmentError,
    BuildContext,
    CorpusItem,
    EditPair,
    MissingDependencyError,
    PairBuilder,
    PairJob,
    Rejected,
    StepeditError,
    align,
    find_phrase,
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

    version: ClassVar[int] = 1
    options: ClassVar[Mapping[str, str]] = {
        "each": "how many places to draw for each recording; default 1",
        "directions": "both (default), forward or backward",
    }

    def jobs(self, items: Iterable[CorpusItem], options: Mapping[str, str]) -> Iterator[PairJob]:
        """Yield one job for each recording; the options are checked first."""
        _settings(options)
        for item in items:
            yield PairJob(item.id, (item,))

    def build(self, job: PairJob, context: BuildContext) -> Iterator[EditPair | Rejected]:
        """Yield the pairs of one recording."""
        each, directions = _settings(context.options)
        item = job.items[0]
        if len(split_words(item.transcript or "")) < _LEAST_WORDS:
            yield Rejected("fewer than four words", {"item": item.id})
            return
        source = item.read()
        try:
            alignment = align(source)
        except (AlignmentError, MissingDependencyError) as error:
            yield Rejected("not aligned", {"item": item.id, "error": str(error)})
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
            margin = margin_of(seconds - before)
            if margin < self.min_margin:
                yield Rejected(f"margin below {self.min_margin:g}", {**details, "margin": margin})
                continue
            if directions != "backward":
                yield EditPair(source, target, edit, margin, {**details, "direction": "forward"})
            if directions != "forward":
                back = edit.model_copy(update={"seconds": round(before, 4)})
                yield EditPair(target, source, back, margin, {**details, "direction": "backward"})


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


def _settings(options: Mapping[str, str]) -> tuple[int, str]:
    """Parse the user's options.

    Raises:
        StepeditError: naming the option that is wrong and what it may be.
    """
    each, directions = options.get("each", "1"), options.get("directions", "both")
    if not (each.isdecimal() and int(each)):
        raise StepeditError(f"each: a number from 1, got {each!r}")
    if directions not in ("both", "forward", "backward"):
        raise StepeditError(f"directions: both, forward or backward, got {directions!r}")
    return int(each), directions
