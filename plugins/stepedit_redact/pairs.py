"""Pairs for the redact edit: a recording, and itself with some of its words hidden."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal

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
    Utterance,
    place_words,
)
from stepedit_core.dsp.words import normalised, split_words
from stepedit_redact.dsp import hidden
from stepedit_redact.edit import Redact
from stepedit_redact.finding import Hit

__all__ = ["RedactPairs", "margin_of"]

PairMask = Literal["silence", "bleep", "noise"]
_MASKS: tuple[PairMask, ...] = ("silence", "bleep", "noise")
_LEAST_WORDS, _MOST_HIDDEN, _DRAWS = 5, 3, 20
_LEAST_CONFIDENCE = 0.3


def margin_of(seconds: float) -> float:
    """Return the margin 1..10 of so many hidden seconds: half a second is a margin of 10."""
    return float(np.clip(1 + 18 * seconds, 1.0, 10.0))


class RedactPairs(PairBuilder):
    """Hide one to three neighbouring words of each recording, asked for as ``words``.

    A corpus need not hold private words: any words stand in for them.
    """

    version: ClassVar[int] = 2
    transcript_kept: ClassVar[bool] = False
    options: ClassVar[Mapping[str, str]] = {
        "by": "silence, bleep, noise, joined by +; one is drawn for each; default all three",
    }
    min_margin: float = 4.0

    def settings(self, options: Mapping[str, str]) -> list[PairMask]:
        """Return the masks to draw from; raises StepeditError as `PairOptions` does."""
        asked = PairOptions(options).words("by", _MASKS)
        return [mask for mask in _MASKS if mask in asked]

    def build(self, job: PairJob, context: BuildContext) -> Iterator[EditPair | Rejected]:
        """Make the pair, and keep it where its words are timed surely."""
        item = job.items[0]
        masks = self.settings(context.options)
        by = masks[int(context.rng.integers(len(masks)))]
        if len(split_words(item.transcript or "")) < _LEAST_WORDS:
            yield Rejected("fewer than five words", {"item": item.id})
            return
        natural = item.read()
        try:
            known = natural.replace(alignment=place_words(natural))
            yield self._pair(known, by, context.rng)
        except (AlignmentError, MissingDependencyError) as error:
            yield Rejected.not_aligned(item, error)

    def _pair(
        self, natural: Utterance, by: PairMask, rng: np.random.Generator
    ) -> EditPair | Rejected:
        """Return a recording with and without some of its words."""
        assert natural.alignment is not None
        hit, phrase = _some(natural.transcript or "", rng)
        sure = [word.confidence for word in natural.alignment.words[hit.first : hit.stop]]
        if any(one is not None and one < _LEAST_CONFIDENCE for one in sure):
            return Rejected("a word is hardly heard where it should be", {})
        target, details = hidden(natural, [hit], by, rng)
        margin = margin_of(float(details["seconds_hidden"]))
        if margin < self.min_margin:
            return Rejected(f"margin below {self.min_margin:g}", {"margin": margin})
        edit = Redact(words=(phrase,), patterns=(), names="off", by=by)
        return EditPair(natural, target, edit, margin, details)


def _some(text: str, rng: np.random.Generator) -> tuple[Hit, str]:
    """Return one to three words in a row that are said once.

    Raises:
        AlignmentError: if there are none.
    """
    words = split_words(text)
    said = [normalised(word.text) for word in words]
    for _ in range(_DRAWS):
        count = int(rng.integers(1, _MOST_HIDDEN + 1))
        first = int(rng.integers(0, len(words) - count + 1))
        phrase = text[words[first].start : words[first + count - 1].end]
        edit = Redact(words=(phrase,), patterns=(), names="off")
        if len("".join(said[first : first + count])) < 4:
            continue
        hits = edit.hits(text)
        if len(hits) == 1 and (hits[0].first, hits[0].stop) == (first, first + count):
            return hits[0], phrase
    raise AlignmentError("no words of the transcript stand alone")
