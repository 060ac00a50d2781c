"""The tags of the public Step-Audio-EditX, per model version, and how to read them in a text.

The models of 2025 know ten tags, that of January 2026 knows 22 and spells some otherwise
(README.md of stepfun-ai/Step-Audio-EditX, Apache-2.0).
"""

from __future__ import annotations

import difflib
import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from stepedit_core.dsp.words import TAG_BRACKETS, Word, split_words

__all__ = [
    "ALIASES",
    "MAX_TAGS",
    "TAGS",
    "Placed",
    "TagSet",
    "canonical",
    "event_tag",
    "read",
    "remarks",
    "squared",
    "tags_of",
    "with_spelling",
]

TagSet = Literal["2025", "2026"]

_SHARED = (
    "Confirmation-en",
    "Surprise-oh",
    "Surprise-ah",
    "Surprise-wa",
    "Dissatisfaction-hnn",
    "Question-ei",
)
TAGS: Mapping[TagSet, tuple[str, ...]] = {
    "2025": ("Breathing", "Laughter", "Uhm", "Sigh", *_SHARED),
    "2026": (
        *("sigh", "inhale", "laugh", "chuckle", "exhale", "clears throat", "snort", "giggle"),
        *("cough", "breath", "uhm", *_SHARED),
        *("Surprise-yo", "Question-ah", "Question-en", "Question-yi", "Question-oh"),
    ),
}
"""Canonical spellings, without brackets."""

ALIASES: Mapping[str, str] = {
    "breathing": "breath",
    "laughter": "laugh",
    "laughs": "laugh",
    "laughing": "laugh",
    "sighs": "sigh",
    "um": "uhm",
    "coughs": "cough",
    "coughing": "cough",
    "chuckles": "chuckle",
    "giggles": "giggle",
    "clear throat": "clears throat",
    "throat clearing": "clears throat",
    "inhales": "inhale",
    "exhales": "exhale",
}
"""Other spellings of a tag of 2026, in lower case; those of 2025 are among them."""
_TO_2025 = {"breath": "Breathing", "laugh": "Laughter", "uhm": "Uhm", "sigh": "Sigh"}
_NEAREST_2025 = {
    "chuckle": "Laughter",
    "giggle": "Laughter",
    "inhale": "Breathing",
    "exhale": "Breathing",
}
_BRACKETS = re.compile(r"\[([^\[\]]*)\]")
MAX_TAGS = 200
"""Most tags of a text."""

# Brackets that hold nothing but tags, and those that plain text has too.
_TAGS_ALONE = re.compile(
    "|".join(
        rf"{re.escape(left)}([^{re.escape(left + right)}]*){re.escape(right)}"
        for left, right in zip(TAG_BRACKETS[::2], TAG_BRACKETS[1::2], strict=True)
    )
)
_OF_TEXT = re.compile(
    r"\(([^()]*)\)|（([^（）]*)）|〈([^〈〉]*)〉|《([^《》]*)》|「([^「」]*)」|『([^『』]*)』|\*([^*]*)\*"
    r"|«([^«»]*)»|‹([^‹›]*)›|﹙([^﹙﹚]*)﹚|｟([^｟｠]*)｠|⦅([^⦅⦆]*)⦆|｢([^｢｣]*)｣"
)
_PARTNERS = {"[": "]", "(": ")", "（": "）"} | dict(
    zip(TAG_BRACKETS[::2], TAG_BRACKETS[1::2], strict=True)
)
_UNPAIRED = re.compile(f"[{re.escape(TAG_BRACKETS)}]")


@dataclass(frozen=True)
class Placed:
    """A tag in a text.

    Attributes:
        tag: canonical name in the spelling of 2026.
        word: how many words stand before it.
        start: place of its opening bracket in the text.
        end: place after its closing bracket.
    """

    tag: str
    word: int
    start: int
    end: int


def canonical(name: str, tags: TagSet = "2026") -> str:
    """Return a tag's spelling in a model version.

    Raises:
        ValueError: if the version does not know the tag; near misses are suggested.
    """
    folded = re.sub(r"[\s_]+", " ", name.strip()).casefold()
    by_fold = {tag.casefold(): tag for tag in TAGS["2026"]}
    found = by_fold.get(ALIASES.get(folded, folded))
    if found is None:
        options = {**{key: by_fold[value] for key, value in ALIASES.items()}, **by_fold}
        near = difflib.get_close_matches(folded[:40], options, n=1, cutoff=0.6)
        names = ", ".join(f"[{tag}]" for tag in TAGS[tags])
        hint = f"; did you mean [{_spelled(options[near[0]], tags)}]?" if near else ""
        raise ValueError(f"unknown tag {_short(f'[{name}]')}{hint or f'; there is {names}'}")
    if tags == "2025" and _spelled(found, tags) not in TAGS["2025"]:
        near_by = _NEAREST_2025.get(found)
        hint = f"; the nearest is [{near_by}]" if near_by else ""
        raise ValueError(f"[{found}] is a tag of 2026, unknown to the models of 2025{hint}")
    return _spelled(found, tags)


def squared(text: str) -> str:
    """Return a text with its tags in square brackets, whatever brackets they stood in.

    Round brackets, quotation marks and asterisks become square where a tag stands in them, and
    are text otherwise (see `remarks`). Several brackets around one tag, as in ``[[laugh]]``, are
    one.

    Raises:
        ValueError: if brackets that only tags stand in hold none, or are not closed.
    """

    def must_be(match: re.Match[str]) -> str:
        inside = next(part for part in match.groups() if part is not None)
        try:
            return f"[{canonical(inside)}]"
        except ValueError as error:
            raise ValueError(f"{_short(match.group())} stands in the text: {error}") from error

    def may_be(match: re.Match[str]) -> str:
        inside = next(part for part in match.groups() if part is not None)
        try:
            return f"[{canonical(inside)}]"
        except ValueError:
            return match.group()

    seen = text.replace("&lt;", "<").replace("&gt;", ">")  # as web pages and XML write them
    found = _unwrapped(_OF_TEXT.sub(may_be, _TAGS_ALONE.sub(must_be, seen)))
    unpaired = _UNPAIRED.search(found)
    if unpaired:
        raise ValueError(f"the bracket {unpaired.group()} has no partner; a tag looks like [laugh]")
    return found


def _unwrapped(text: str) -> str:
    """Return a text without brackets around those of a tag, as in ``[[laugh]]``."""
    parts, done = [], 0
    for match in _BRACKETS.finditer(text):
        start, end = match.span()
        while start > done and end < len(text) and _PARTNERS.get(text[start - 1]) == text[end]:
            start, end = start - 1, end + 1
        parts += [text[done:start], match.group()]
        done = end
    return "".join([*parts, text[done:]])


def remarks(text: str) -> list[str]:
    """Return the remarks in round brackets or asterisks of a text: spoken words, or lost tags."""
    found = (match for match in _OF_TEXT.finditer(text) if match.group()[0] in "(（*")
    return [match.group() for match in found if match.group().strip("()（）* ")]


def read(text: str) -> tuple[list[Word], list[Placed]]:
    """Return the words of a text and its tags, in order.

    Raises:
        ValueError: if a tag is unknown, a bracket is not closed, or there are too many tags.
    """
    if problem := _bracket_problem(_BRACKETS.sub("", text)):
        raise ValueError(f"{problem}; a tag looks like [laugh]")
    found = list(_BRACKETS.finditer(text))
    if len(found) > MAX_TAGS:
        raise ValueError(f"the text has {len(found)} tags; {MAX_TAGS} are the most")
    words = split_words(text)
    ends = [word.end for word in words]
    placed = [
        Placed(
            canonical(match.group(1)),
            bisect_right(ends, match.start()),
            match.start(),
            match.end(),
        )
        for match in found
    ]
    return words, placed


def _bracket_problem(rest: str) -> str | None:
    """Say what is wrong with the square brackets that a text has beside those of its tags."""
    opened, closed = rest.count("["), rest.count("]")
    if opened and closed and rest.index("[") < rest.rindex("]"):
        return "square brackets stand within square brackets"
    if opened:
        return "a square bracket is not closed"
    return "the bracket ] has no partner" if closed else None


def tags_of(text: str) -> list[Placed]:
    """Return the tags of a text that a model may know, leaving out unknown brackets."""
    ends = [word.end for word in split_words(text)]
    placed = []
    for match in _BRACKETS.finditer(text):
        try:
            tag = canonical(match.group(1))
        except ValueError:
            continue
        before = bisect_right(ends, match.start())
        placed.append(Placed(tag, before, match.start(), match.end()))
    return placed


def with_spelling(text: str, tags: TagSet) -> str:
    """Return a text with every tag in the spelling of a model version.

    Raises:
        ValueError: if the version does not know a tag.
    """
    return _BRACKETS.sub(lambda match: f"[{canonical(match.group(1), tags)}]", text)


def _short(text: str, limit: int = 40) -> str:
    """Return a text cut to a length that fits into a message."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _spelled(tag: str, tags: TagSet) -> str:
    """Return a tag of 2026 in the spelling of a version, known there or not."""
    return _TO_2025.get(tag, tag) if tags == "2025" else tag


def event_tag(label: str) -> str | None:
    """Return the tag that an event label means, or None; what stands in brackets is a remark."""
    name = label.split("(")[0].strip().strip("[]")
    try:
        return canonical(name)
    except ValueError:
        return None
