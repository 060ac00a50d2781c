"""A sentence in the form that phrases are matched against: one case, quotes put aside."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from stepedit_core import printable

__all__ = ["STRAY", "Wording"]

_QUOTED = re.compile(
    r"\"([^\"]+)\"|“([^”]+)”|‘([^’]+)’|「([^」]+)」|『([^』]+)』|«([^»]+)»|`([^`]+)`|"
    r"„([^“”„]+)[“”]|‚([^‘’‚]+)[‘’]|‹([^›]+)›|＂([^＂]+)＂|《([^》]+)》|[“”]([^“”\"]+)[”“\"]|"
    r"(?<![\w])'((?:[^']|(?<=\w)'(?=\w))+)'(?!\w)"
)
STRAY = re.compile(r"[\"“”„«»‹›「」『』`《》]")
"""A mark of a quotation that was not closed."""
_FIRST = 0xE000
_SHORT = (
    (re.compile(r"\b(do|does|did|should|would|could|is|are|was|must)n['’]t\b"), r"\1 not"),
    (re.compile(r"\bcan['’]?t\b"), "can not"),
    (re.compile(r"\bwon['’]t\b"), "will not"),
    (re.compile(r"\bdont\b"), "do not"),
    (re.compile(r"\b(i|you|we|they)['’](d|ll|ve)\b"), r"\1 would"),
    (re.compile(r"\b(it|that|there|what|he|she)['’]s\b"), r"\1 is"),
    (re.compile(r"\bthere\s+is\s+too\s+much\b"), "take out the"),
)


@dataclass(frozen=True)
class Wording:
    """A sentence: ``low`` for matching, ``raw`` of the same length for what is taken from it.

    Attributes:
        raw: the sentence, NFKC, quoted texts replaced by one character each.
        low: the same in lower case.
        quotes: the quoted texts.
    """

    raw: str
    low: str
    quotes: tuple[str, ...]

    @classmethod
    def of(cls, sentence: str) -> Wording:
        """Read a sentence."""
        text = "".join(
            " " if unicodedata.category(mark) in ("Cc", "Co", "Cf") else mark for mark in sentence
        )
        quotes: list[str] = []

        def aside(match: re.Match[str]) -> str:
            quotes.append(next(part for part in match.groups() if part is not None).strip())
            return f" {chr(_FIRST + len(quotes) - 1)} "

        text = _QUOTED.sub(aside, text)
        text = " ".join(unicodedata.normalize("NFKC", text).replace("’", "'").split())
        for regex, by in _SHORT:
            text = regex.sub(by, text) if text.islower() else _keeping_case(regex, by, text)
        low = "".join(mark.lower() if len(mark.lower()) == 1 else mark for mark in text)
        return cls(text, low, tuple(quotes))

    def part(self, start: int, end: int) -> Wording:
        """Return a stretch of the sentence."""
        return Wording(self.raw[start:end], self.low[start:end], self.quotes)

    def without(self, start: int, end: int) -> Wording:
        """Return the sentence without a stretch; a blank stands in its place."""
        return Wording(
            f"{self.raw[:start]} {self.raw[end:]}",
            f"{self.low[:start]} {self.low[end:]}",
            self.quotes,
        )

    def stripped(self) -> Wording:
        """Return the sentence without blanks around it."""
        start = len(self.low) - len(self.low.lstrip())
        return self.part(start, max(start, len(self.low.rstrip())))

    def quote(self, mark: str) -> str:
        """Return the quoted text that a character stands for."""
        return self.quotes[ord(mark) - _FIRST]

    def brief(self) -> str:
        """Return the sentence for messages, the middle of a long one left out."""
        return printable(self.shown(), 80)

    def shown(self) -> str:
        """Return the sentence with its quotes."""
        text = self.raw.strip()
        for number, quoted in enumerate(self.quotes):
            text = text.replace(chr(_FIRST + number), f'"{quoted}"')
        return " ".join(text.split())

    @staticmethod
    def is_quote(text: str) -> bool:
        """Return whether a text is one quote put aside."""
        return len(text) == 1 and _FIRST <= ord(text) < 0xF000


def _keeping_case(regex: re.Pattern[str], by: str, text: str) -> str:
    """Replace a short form wherever it stands, capital or not."""
    return re.sub(regex.pattern, by, text, flags=re.IGNORECASE)
