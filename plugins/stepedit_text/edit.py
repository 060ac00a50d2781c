"""Edits of the words: take out, put in, replace, rewrite, and fillers removed."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from pydantic import Field, field_validator

from stepedit_core import AlignmentError, Edit, Plan, Rendered, Route, Utterance, align, find_phrase
from stepedit_core.dsp.words import normalised, split_words
from stepedit_text.changes import Change, applied

__all__ = ["FILLERS", "Delete", "RemoveFillers", "TextEdit"]

FILLERS: tuple[str, ...] = (
    *("um", "umm", "uh", "uhm", "erm", "er", "hmm", "mhm", "you know", "i mean"),
    *("嗯", "呃", "额", "唔"),
)
"""What `RemoveFillers` takes out by default, in English and Mandarin."""


class TextEdit(Edit):
    """Base of edits that change some words and leave all other samples as they are."""

    @abstractmethod
    def changes(self, text: str) -> list[Change]:
        """Return the changes of a transcript.

        Raises:
            AlignmentError: if the words that are to change are not there; near misses are named.
        """

    def transcript_after(self, utterance: Utterance) -> str | None:
        """Return the words after the edit."""
        text = utterance.transcript
        if not text:
            return text
        try:
            return applied(text, self.changes(text))
        except AlignmentError:
            return text

    def plan(self, utterance: Utterance) -> Plan:
        """Return the plan, with the share of the duration that is expected to be left."""
        return super().plan(utterance).but(length_ratio=_expected_share(self, utterance))

    def needs_transcript(self, route: Route) -> bool:
        """Return whether the route needs the words: both find them in the transcript."""
        return True

    def problem(self, utterance: Utterance) -> str | None:
        """Say that the words are not there, or that nothing would be left."""
        if not (utterance.transcript or "").strip():
            return None
        text = str(utterance.transcript)
        try:
            changes = self.changes(text)
        except AlignmentError as error:
            return str(error)
        if not changes:
            return "nothing changes: the words are the same"
        if not split_words(applied(text, changes)):
            return "no word would be left of the utterance"
        return None

    def render(self, utterance: Utterance, rng: np.random.Generator) -> Rendered:
        """Cut the words out; the join lies where level, spectrum and pause agree."""
        from stepedit_text.dsp import without

        changes = self.changes(str(utterance.transcript))
        edited, details = without(utterance, align(utterance), changes)
        return Rendered(edited, details)


class Delete(TextEdit):
    """Take words out; every other sample stays as it is."""

    find: str = Field(min_length=1, max_length=2_000)
    """The words to take out, as they stand in the transcript."""
    occurrence: int | None = Field(default=None, ge=1)
    """Which one, from 1, where the words are said several times."""

    def changes(self, text: str) -> list[Change]:
        """Return the words to take out."""
        found = find_phrase([word.text for word in split_words(text)], self.find, self.occurrence)
        return [Change(found.start, found.stop)]


class RemoveFillers(TextEdit):
    """Take out hesitations such as "um"; every other sample stays as it is.

    Fillers are found in the transcript, so it has to hold them: recognisers often leave them
    out.
    """

    words: tuple[str, ...] = FILLERS
    """What counts as a filler, words or phrases."""

    @field_validator("words")
    @classmethod
    def _not_empty(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """Refuse a list without words."""
        if not value or any(not split_words(word) for word in value):
            raise ValueError("give at least one filler, each with a word in it")
        return value

    def changes(self, text: str) -> list[Change]:
        """Return every filler, longer phrases first; none where there is none."""
        spoken = [normalised(word.text) for word in split_words(text)]
        phrases = sorted(
            {tuple(normalised(word.text) for word in split_words(one)) for one in self.words},
            key=len,
            reverse=True,
        )
        found: list[Change] = []
        at = 0
        while at < len(spoken):
            match = next((p for p in phrases if tuple(spoken[at : at + len(p)]) == p), None)
            if match is None:
                at += 1
                continue
            if found and found[-1].stop == at:
                found[-1] = Change(found[-1].first, at + len(match))
            else:
                found.append(Change(at, at + len(match)))
            at += len(match)
        return found

    def problem(self, utterance: Utterance) -> str | None:
        """Say that there is no filler to take out."""
        text = utterance.transcript or ""
        if text.strip() and not self.changes(text):
            return "the transcript holds none of the fillers"
        return super().problem(utterance)


def _expected_share(edit: TextEdit, utterance: Utterance) -> float:
    """Return the expected duration after the edit over before, by syllables."""
    words = split_words(utterance.transcript or "")
    total = sum(word.seconds for word in words)
    if not words or total <= 0:
        return 1.0
    try:
        changes = edit.changes(utterance.transcript or "")
    except AlignmentError:
        return 1.0
    gone = sum(word.seconds for change in changes for word in words[change.first : change.stop])
    new = sum(word.seconds for change in changes for word in split_words(change.by))
    return max(0.05, (total - gone + new) / total)
