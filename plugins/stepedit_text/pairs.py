"""Pairs for edits of the words: a recording, and itself with words cut out."""

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
    align,
)
from stepedit_core.dsp.words import split_words
from stepedit_text.changes import applied
from stepedit_text.dsp import without
from stepedit_text.edit import FILLERS, Delete, RemoveFillers, TextEdit

__all__ = ["CutPairs", "margin_of"]

_LEAST_WORDS = 4
_MOST_TOGETHER = 3
_LEAST_CONFIDENCE = 0.5


def margin_of(seconds: float, confidence: float | None) -> float:
    """Return the margin 1..10 of words that are gone.

    Half a second of speech that is surely there is a large margin of 10; a short word, or one
    whose place is doubtful, has less.
    """
    sure = 1.0 if confidence is None else confidence
    return float(np.clip(1 + 9 * min(1.0, seconds / 0.5) * sure, 1.0, 10.0))


class CutPairs(PairBuilder):
    """Align each recording and cut one to three of its words out (or its fillers)."""

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
                yield PairJob(f"{item.id}/cut", (item,), {})

    def build(self, job: PairJob, context: BuildContext) -> Iterator[EditPair | Rejected]:
        """Cut, and keep what is aligned surely."""
        item = job.items[0]
        reason = job.params.get("reject")
        if reason is not None:
            yield Rejected(str(reason), {"item": item.id})
            return
        source = item.read()
        try:
            alignment = align(source)
            edit = self._edit(source.transcript or "", context.rng)
            target, details = without(source, alignment, edit.changes(source.transcript or ""))
        except (AlignmentError, MissingDependencyError) as error:
            yield Rejected("not aligned", {"item": item.id, "error": str(error)})
            return
        gone = [
            alignment.words[n]
            for change in edit.changes(source.transcript or "")
            for n in range(change.first, change.stop)
        ]
        sure = [word.confidence for word in gone if word.confidence is not None]
        confidence = min(sure) if sure else None
        margin = margin_of(sum(word.end - word.start for word in gone), confidence)
        if confidence is not None and confidence < _LEAST_CONFIDENCE:
            yield Rejected("a word is hardly heard where it should be", {"item": item.id})
        elif margin < self.min_margin:
            yield Rejected(f"margin below {self.min_margin:g}", {"item": item.id})
        else:
            yield EditPair(source, target, edit, margin, details)

    def _edit(self, text: str, rng: np.random.Generator) -> TextEdit:
        """Return the request: fillers, or one to three words in a row that are said once."""
        if self.edit is RemoveFillers:
            return RemoveFillers(words=FILLERS)
        words = split_words(text)
        for _ in range(20):
            count = int(rng.integers(1, _MOST_TOGETHER + 1))
            if count >= len(words):
                continue
            first = int(rng.integers(0, len(words) - count + 1))
            phrase = text[words[first].start : words[first + count - 1].end]
            edit = Delete(find=phrase)
            try:
                found = edit.changes(text)
            except AlignmentError:
                continue
            if applied(text, found) != text:
                return edit
        raise AlignmentError("no words of the transcript stand alone")
