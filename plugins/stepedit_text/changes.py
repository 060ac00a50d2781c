"""Changes of a transcript: which words go, and what is said in their place."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from stepedit_core.dsp.words import normalised, split_words

__all__ = ["Change", "applied", "difference"]

_SPACE_BEFORE = re.compile(r"\s+(?=[,.;:!?…，。；：！？、])")
_STOPS = ",;:，；：、"
_ENDS = ".!?…。！？"


@dataclass(frozen=True, order=True)
class Change:
    """One stretch of words that is replaced.

    Attributes:
        first: index of the first word that goes.
        stop: index after the last word that goes; equal to ``first`` where words are put in.
        by: what is said instead; empty where words are taken out.
    """

    first: int
    stop: int
    by: str = ""


def difference(text: str, to: str) -> list[Change]:
    """Return the changes that lead from one transcript to another, word by word (Ratcliff).

    Stretches with fewer than two equal words between them are one change: a stretch so short
    cannot be kept without two joins in a row.
    """
    ours, theirs = split_words(text), split_words(to)
    a, b = ([normalised(word.text) for word in words] for words in (ours, theirs))
    found: list[tuple[int, int, int, int]] = []
    for kind, i, j, k, m in difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if kind == "equal":
            continue
        if found and i - found[-1][1] < 2:
            found[-1] = (found[-1][0], j, found[-1][2], m)
        else:
            found.append((i, j, k, m))
    return [
        Change(i, j, to[theirs[k].start : theirs[m - 1].end] if m > k else "")
        for i, j, k, m in found
    ]


def applied(text: str, changes: Sequence[Change]) -> str:
    """Return a transcript after changes, with its blanks and stops put in order."""
    words = split_words(text)
    result, at, capital = "", 0, False
    for change in sorted(changes):
        begin = words[change.first].start if change.first < len(words) else len(text)
        end = words[change.stop - 1].end if change.stop > change.first else begin
        result += _capitalised(text[at:begin]) if capital else text[at:begin]
        opens = not result.strip() or result.rstrip()[-1] in _ENDS
        capital = opens and not change.by and text[begin : begin + 1].isupper()
        if change.by:
            wide = change.by[0] > "\u2e80"
            if change.stop == change.first and not wide:
                result = result.rstrip() + (" " if result.strip() else "") + change.by + " "
            else:
                result += change.by
        else:
            result, end = _closed_up(result, text, end)
        at = end
    rest = _capitalised(text[at:]) if capital else text[at:]
    return _SPACE_BEFORE.sub("", re.sub(r"[ \t]+", " ", result + rest).strip())


def _closed_up(before: str, text: str, end: int) -> tuple[str, int]:
    """Take away stops that stood around words that are gone: "well, um, I" gives "well, I"."""
    rest = text[end:]
    following = rest.lstrip()
    if following[:1] and following[0] in _STOPS:
        trimmed = before.rstrip()
        if not trimmed or trimmed[-1] in _STOPS + _ENDS:
            end += len(rest) - len(following) + 1
    elif following[:1] and following[0] in _ENDS:
        before = before.rstrip()
        if before[-1:] and before[-1] in _STOPS:
            before = before[:-1]
    return before, end


def _capitalised(text: str) -> str:
    """Return a text whose first letter is a capital."""
    for place, letter in enumerate(text):
        if letter.isalpha():
            return text[:place] + letter.upper() + text[place + 1 :]
    return text
