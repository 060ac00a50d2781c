"""Edits of the words: replace, put in, take out, rewrite, and fillers removed."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, PrivateAttr, field_validator, model_validator

from stepedit_core import (
    Alignment,
    AlignmentError,
    Edit,
    NotHeardYet,
    Plan,
    Prompt,
    Rendered,
    Replacement,
    Route,
    Utterance,
    find_phrase,
    installed_ears,
    place_words,
)
from stepedit_core.dsp.words import TAG_BRACKETS, normalised, split_words
from stepedit_text.changes import Change, applied, difference

__all__ = ["FILLERS", "Delete", "Insert", "RemoveFillers", "Replace", "Rewrite", "TextEdit"]

FILLERS: tuple[str, ...] = (
    *("um", "umm", "uh", "uhm", "erm", "er", "hmm", "mhm", "you know", "i mean"),
    *("嗯", "呃", "额", "唔"),
)
"""What `RemoveFillers` takes out by default, in English and Mandarin."""
_TAG = re.compile(r"\[[^\[\]]*\]")
_BRACKETS = re.compile(rf"[\[\]{re.escape(TAG_BRACKETS)}][^\s]*")
MAX_TEXT = 2_000
"""Most characters of a parameter."""


class TextEdit(Edit):
    """Base of edits that change some words and leave all other samples as they are."""

    _within: tuple[range, ...] | None = PrivateAttr(default=None)
    """Indices of the words that may be touched; None are all."""

    @abstractmethod
    def changes(self, text: str) -> list[Change]:
        """Return the changes of a transcript, none overlapping.

        Raises:
            AlignmentError: if the words that are to change are not there; near misses are named.
        """

    def confined(self, within: Sequence[range]) -> TextEdit:
        """Return the edit that looks for its words among some of the transcript's alone."""
        other = self.model_copy()
        other._within = tuple(within)
        return other

    def needs_transcript(self, route: Route) -> bool:
        """Return True: words are found in the transcript."""
        return True

    def transcript_after(self, utterance: Utterance) -> str | None:
        """Return the words after the edit."""
        text = utterance.transcript
        if not text:
            return text
        try:
            return applied(text, self.changes(text))
        except AlignmentError:
            return text

    def problem(self, utterance: Utterance) -> str | None:
        """Say that the words are not there, or that nothing would change or be left."""
        text = utterance.transcript or ""
        if not text.strip():
            return None
        try:
            changes = self.changes(text)
        except AlignmentError as error:
            return str(error)
        if not changes:
            return "nothing changes: the words are the same"
        if not split_words(applied(text, changes)):
            return "no word would be left of the utterance"
        return None

    def plan(self, utterance: Utterance) -> Plan:
        """Return the plan: what is said anew where, and when the words are said."""
        plan = super().plan(utterance)
        text = utterance.transcript or ""
        if plan.problem or not text.strip():
            return plan
        replacements, after = [], text
        for change in sorted(self.changes(text), reverse=True):
            after = applied(after, [change])
            replacements.append(Replacement(change.first, change.stop, change.by, after))
        try:
            alignment = _timed(utterance)
        except AlignmentError as error:
            return plan.but(problem=str(error))
        return plan.but(
            length_ratio=_expected_share(self.changes(text), text),
            replacements=tuple(replacements),
            alignment=alignment,
            ears=() if self.only_takes_out() else installed_ears(utterance),
            rules=("clone", self.name),
        )

    def route_problem(self, route: Route) -> str | None:
        """Say that signal processing cannot speak new words."""
        if route == "dsp" and not self.only_takes_out():
            return (
                f"{self.name} has no dsp route: signal processing cannot speak new words; use the "
                "llm route with an engine"
            )
        return super().route_problem(route)

    @classmethod
    def only_takes_out(cls) -> bool:
        """Return whether no new words can come; such edits are carried out by cutting."""
        return False


class _Spoken(TextEdit):
    """Base of edits that have new words spoken by the language model."""

    prompts_like: ClassVar[str | None] = "clone"

    def prompt(self, utterance: Utterance) -> Prompt:
        """Return the clone prompt of the new text, with the recording as its own speaker."""
        text = (utterance.transcript or "").strip()
        return Prompt.clone(text, self.transcript_after(utterance) or "")


class _Cut(TextEdit):
    """Base of edits that only take words out."""

    @classmethod
    def only_takes_out(cls) -> bool:
        """Return True."""
        return True

    def render(self, utterance: Utterance, rng: np.random.Generator) -> Rendered:
        """Cut the words out; the join lies where level, spectrum and pause agree."""
        from stepedit_text.dsp import without

        changes = self.changes(str(utterance.transcript))
        edited, details = without(utterance, place_words(utterance), changes)
        return Rendered(edited, details)


class Replace(_Spoken):
    """Say other words in place of some; every other sample stays as it is."""

    find: str = Field(min_length=1, max_length=MAX_TEXT)
    """The words to replace, as they stand in the transcript."""
    by: str = Field(min_length=1, max_length=MAX_TEXT)
    """The words to say instead."""
    occurrence: int | None = Field(default=None, ge=1)
    """Which one, from 1, where the words are said several times."""

    def pieces_problem(self) -> str | None:
        """Return that an occurrence is counted in the whole recording."""
        return None if self.occurrence is None else "counts occurrences"

    @field_validator("by")
    @classmethod
    def _has_words(cls, value: str) -> str:
        """Refuse a text without a word."""
        return _with_words(value, "by")

    def changes(self, text: str) -> list[Change]:
        """Return the one change."""
        found = _found(text, self.find, self.occurrence, self._within)
        same = [normalised(word.text) for word in split_words(text)[found.start : found.stop]]
        if same == [normalised(word.text) for word in split_words(self.by)]:
            return []
        return [Change(found.start, found.stop, self.by)]


class Insert(_Spoken):
    """Say words between others; every other sample stays as it is.

    Exactly one of ``after``, ``before`` and ``at`` says where.
    """

    text: str = Field(min_length=1, max_length=MAX_TEXT)
    """The words to put in."""
    after: str | None = Field(default=None, min_length=1, max_length=MAX_TEXT)
    """Words that they follow."""
    before: str | None = Field(default=None, min_length=1, max_length=MAX_TEXT)
    """Words that follow them."""
    at: Literal["start", "end"] | None = None
    """Before the first or after the last word."""
    occurrence: int | None = Field(default=None, ge=1)
    """Which one of ``after`` or ``before``, from 1, where it is said several times."""

    @field_validator("text")
    @classmethod
    def _has_words(cls, value: str) -> str:
        """Refuse a text without a word."""
        return _with_words(value, "text")

    @model_validator(mode="after")
    def _one_place(self) -> Insert:
        """Hold that one place is given."""
        if sum(place is not None for place in (self.after, self.before, self.at)) != 1:
            raise ValueError("give exactly one of after=, before= and at=start|end")
        if self.at is not None and self.occurrence is not None:
            raise ValueError("occurrence goes with after= or before=")
        return self

    def pieces_problem(self) -> str | None:
        """Return how the place counts in the whole recording; words alone do not."""
        if self.at is not None:
            return "names the start or the end"
        return None if self.occurrence is None else "counts occurrences"

    def changes(self, text: str) -> list[Change]:
        """Return the one place."""
        within = self._within
        if self.at is not None:
            runs = within or (range(len(split_words(text))),)
            place = runs[0].start if self.at == "start" else runs[-1].stop
        elif self.after is not None:
            place = _found(text, self.after, self.occurrence, within).stop
        else:
            place = _found(text, str(self.before), self.occurrence, within).start
        return [Change(place, place, self.text)]


class Rewrite(_Spoken):
    """Say a whole new transcript: only the words that differ change, the rest stays as it is."""

    to: str = Field(min_length=1, max_length=20_000)
    """The new transcript."""

    @field_validator("to")
    @classmethod
    def _has_words(cls, value: str) -> str:
        """Refuse a text without a word."""
        return _with_words(value, "to")

    def pieces_problem(self) -> str | None:
        """Return that the new transcript stands for all words."""
        return "gives all words"

    def changes(self, text: str) -> list[Change]:
        """Return the difference, word by word; of a region where the edit is confined to one."""
        if self._within is None:
            return difference(text, self.to)
        if len(self._within) != 1:
            raise AlignmentError("a new transcript needs one stretch of words that it stands for")
        (run,) = self._within
        words = split_words(text)
        part = text[words[run.start].start : words[run.stop - 1].end]
        return [
            Change(one.first + run.start, one.stop + run.start, one.by)
            for one in difference(part, self.to)
        ]

    def problem(self, utterance: Utterance) -> str | None:
        """Say that a tag is new, too: it is no word, and would be kept as text without a sound."""
        known = _TAG.findall(utterance.transcript or "")
        new = [tag for tag in _TAG.findall(self.to) if tag not in known]
        if new and (utterance.transcript or "").strip():
            return f"{new[0][:40]} is new in the transcript: only words are said"
        return super().problem(utterance)

    def transcript_after(self, utterance: Utterance) -> str | None:
        """Return the new transcript as it was given, where there is one before."""
        if self._within is not None:
            return super().transcript_after(utterance)
        return self.to.strip() if utterance.transcript else utterance.transcript


class Delete(_Cut):
    """Take words out; every other sample stays as it is."""

    find: str = Field(min_length=1, max_length=MAX_TEXT)
    """The words to take out, as they stand in the transcript."""
    occurrence: int | None = Field(default=None, ge=1)
    """Which one, from 1, where the words are said several times."""

    def pieces_problem(self) -> str | None:
        """Return that an occurrence is counted in the whole recording."""
        return None if self.occurrence is None else "counts occurrences"

    def changes(self, text: str) -> list[Change]:
        """Return the words to take out."""
        found = _found(text, self.find, self.occurrence, self._within)
        return [Change(found.start, found.stop)]


class RemoveFillers(_Cut):
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
            if match is None or not self._may_touch(at, at + len(match)):
                at += 1
                continue
            if found and found[-1].stop == at:
                found[-1] = Change(found[-1].first, at + len(match))
            else:
                found.append(Change(at, at + len(match)))
            at += len(match)
        return found

    def _may_touch(self, first: int, stop: int) -> bool:
        """Return whether words lie where the edit is confined to."""
        if self._within is None:
            return True
        return any(run.start <= first and stop <= run.stop for run in self._within)

    def problem(self, utterance: Utterance) -> str | None:
        """Say that there is no filler to take out."""
        text = utterance.transcript or ""
        if text.strip() and not self.changes(text):
            return "the transcript holds none of the fillers"
        return super().problem(utterance)


def _timed(utterance: Utterance) -> Alignment | None:
    """Return when the words are said; None while there is no sound yet."""
    try:
        return place_words(utterance)
    except NotHeardYet:
        return None


def _found(text: str, phrase: str, occurrence: int | None, within: Sequence[range] | None) -> range:
    """Return the indices of a phrase's words, among those of a region where one is given."""
    words = [word.text for word in split_words(text)]
    if within is not None:
        inside = {place for run in within for place in run}
        words = [word if place in inside else "" for place, word in enumerate(words)]
    return find_phrase(words, phrase, occurrence)


def _with_words(value: str, name: str) -> str:
    """Return a text without blanks around it; refuse one without a word, or with a tag.

    The new transcript as a whole keeps the tags in square brackets that the old one has.
    """
    other = _BRACKETS.search(value if name != "to" else _TAG.sub(" ", value))
    if other:
        raise ValueError(
            f"{other.group()[:40]} stands in {name}: only words are said; put a sound such as "
            "[laugh] in by an edit of its own"
        )
    if not split_words(value):
        raise ValueError(f"{name} holds no word to say")
    return value.strip()


def _expected_share(changes: list[Change], text: str) -> float:
    """Return the expected duration after the edit over before, by syllables."""
    words = split_words(text)
    total = sum(word.seconds for word in words)
    gone = sum(word.seconds for change in changes for word in words[change.first : change.stop])
    new = sum(word.seconds for change in changes for word in split_words(change.by))
    return max(0.05, (total - gone + new) / max(total, 1e-6))
