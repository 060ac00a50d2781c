"""Pairs for edits of the words, all made of natural recordings and their own words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np

from stepedit_core import (
    Alignment,
    AlignmentError,
    BuildContext,
    CorpusItem,
    EditPair,
    MissingDependencyError,
    PairBuilder,
    PairJob,
    Rejected,
    TimedWord,
    Utterance,
    place_words,
)
from stepedit_core.dsp.splicing import Patch, splice
from stepedit_core.dsp.words import normalised, split_words
from stepedit_text.changes import Change, applied
from stepedit_text.dsp import without
from stepedit_text.edit import FILLERS, Delete, Insert, RemoveFillers, Replace, Rewrite, TextEdit

__all__ = ["TextPairs", "margin_of"]

_LEAST_WORDS = 4
_MOST_TOGETHER = 3
_LEAST_CONFIDENCE = 0.5
_DRAWS = 20


def margin_of(words: Sequence[TimedWord]) -> float:
    """Return the margin 1..10 of words that are there in one recording and not in the other.

    Half a second of speech that is surely there is a large margin of 10; a short word, or one
    whose place is doubtful, has less.
    """
    seconds = sum(word.end - word.start for word in words)
    known = [word.confidence for word in words if word.confidence is not None]
    sure = min(known) if known else 1.0
    return float(np.clip(1 + 9 * min(1.0, seconds / 0.5) * sure, 1.0, 10.0))


class TextPairs(PairBuilder):
    """Align each recording and make one pair of it.

    ``delete``, ``remove_fillers``: the recording, and itself with words cut out. ``insert``: the
    same the other way round, so that the target is natural. ``replace``, ``rewrite``: the recording
    with one word said as another one of its words, and the natural recording as the target.
    """

    version: ClassVar[int] = 2
    transcript_kept: ClassVar[bool] = False
    min_margin: float = 4.0

    def __init__(self, edit: type[TextEdit] = Delete) -> None:
        """Build pairs for one of the edit classes."""
        self.edit = edit

    def jobs(self, items: Iterable[CorpusItem], options: Mapping[str, str]) -> Iterator[PairJob]:
        """Take every item with enough words, and fillers where these are to go."""
        for item in items:
            text = item.transcript or ""
            if len(split_words(text)) < _LEAST_WORDS:
                yield PairJob(f"{item.id}/short", (item,), {"reject": "fewer than four words"})
            elif self.edit is RemoveFillers and not RemoveFillers().changes(text):
                yield PairJob(f"{item.id}/none", (item,), {"reject": "no filler in the transcript"})
            else:
                yield PairJob(f"{item.id}/text", (item,), {})

    def build(self, job: PairJob, context: BuildContext) -> Iterator[EditPair | Rejected]:
        """Make the pair, and keep it where its own words are aligned surely."""
        item = job.items[0]
        reason = job.params.get("reject")
        if reason is not None:
            yield Rejected(str(reason), {"item": item.id})
            return
        natural = item.read()
        try:
            known = place_words(natural)
            if self.edit in (Replace, Rewrite):
                pair, words = self._swapped(natural, known, context.rng)
            else:
                pair, words = self._cut(natural, known, context.rng)
        except (AlignmentError, MissingDependencyError) as error:
            yield Rejected.not_aligned(item, error)
            return
        sure = [word.confidence for word in words if word.confidence is not None]
        if sure and min(sure) < _LEAST_CONFIDENCE:
            yield Rejected("a word is hardly heard where it should be", {"item": item.id})
        elif pair.margin < self.min_margin:
            yield Rejected(f"margin below {self.min_margin:g}", {"item": item.id})
        else:
            yield pair

    def _cut(
        self, natural: Utterance, known: Alignment, rng: np.random.Generator
    ) -> tuple[EditPair, list[TimedWord]]:
        """Return a recording with and without some of its words."""
        text = natural.transcript or ""
        changes = (
            RemoveFillers().changes(text) if self.edit is RemoveFillers else [_some(text, rng)]
        )
        shorter, details = without(natural, known, changes)
        words = [known.words[n] for change in changes for n in range(change.first, change.stop)]
        margin = margin_of(words)
        if self.edit is RemoveFillers:
            return EditPair(natural, shorter, RemoveFillers(words=FILLERS), margin, details), words
        (change,) = changes
        places = split_words(text)
        phrase = text[places[change.first].start : places[change.stop - 1].end]
        if self.edit is Insert:
            edit = _insertion(phrase, change.first, shorter.transcript or "")
            return EditPair(shorter, natural, edit, margin, details), words
        return EditPair(natural, shorter, Delete(find=phrase), margin, details), words

    def _swapped(
        self, natural: Utterance, known: Alignment, rng: np.random.Generator
    ) -> tuple[EditPair, list[TimedWord]]:
        """Return a recording with one word said as another one of it, and the recording."""
        text = natural.transcript or ""
        place, donor = _two_words(known, rng)
        old, other = known.words[place], known.words[donor]
        patch = Patch(old.span, natural.slice(other.span).samples)
        swapped, _ = splice(natural.replace(alignment=None), [patch])
        said = applied(text, [Change(place, place + 1, other.text)])
        source = swapped.replace(transcript=said)
        words = [normalised(word.text) for word in split_words(said)]
        same = [n for n, word in enumerate(words) if word == normalised(other.text)]
        edit: TextEdit = Rewrite(to=text)
        if self.edit is Replace:
            edit = Replace(
                find=other.text,
                by=old.text,
                occurrence=same.index(place) + 1 if len(same) > 1 else None,
            )
        details = {"aligner": known.aligner, "said": other.text, "instead_of": old.text}
        return EditPair(source, natural, edit, margin_of([old, other]), details), [old, other]


def _some(text: str, rng: np.random.Generator) -> Change:
    """Return one to three words in a row that are said once.

    Raises:
        AlignmentError: if there are none.
    """
    words = split_words(text)
    for _ in range(_DRAWS):
        count = int(rng.integers(1, _MOST_TOGETHER + 1))
        if count >= len(words):
            continue
        first = int(rng.integers(0, len(words) - count + 1))
        phrase = text[words[first].start : words[first + count - 1].end]
        try:
            (change,) = Delete(find=phrase).changes(text)
        except AlignmentError:
            continue
        return change
    raise AlignmentError("no words of the transcript stand alone")


def _two_words(known: Alignment, rng: np.random.Generator) -> tuple[int, int]:
    """Return the places of two different words that do not touch.

    Raises:
        AlignmentError: if there are none.
    """
    for _ in range(_DRAWS):
        place, donor = (int(n) for n in rng.choice(len(known.words), size=2, replace=False))
        a, b = (normalised(known.words[n].text) for n in (place, donor))
        if abs(place - donor) > 1 and a != b:
            return place, donor
    raise AlignmentError("no two different words stand apart")


def _insertion(phrase: str, first: int, shorter: str) -> Insert:
    """Return the request that puts words back where they were.

    Raises:
        AlignmentError: if the word before them is said several times, so that places are unclear.
    """
    if first == 0:
        return Insert(text=phrase, at="start")
    before = split_words(shorter)[first - 1].text
    same = [normalised(word.text) for word in split_words(shorter)]
    number = same[:first].count(normalised(before))
    occurrence = number if same.count(normalised(before)) > 1 else None
    return Insert(text=phrase, after=before, occurrence=occurrence)
