"""Words of a transcript as recognisers and people write them, and the digits that they say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stepedit_core.dsp.words import normalised, split_words

__all__ = ["DigitRun", "Token", "digit_runs", "digits_of", "luhn", "tokens_of"]

_UNITS = {
    **{"zero": "0", "oh": "0", "o": "0", "nought": "0", "naught": "0", "one": "1", "two": "2"},
    **{"three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8", "nine": "9"},
    **{"niner": "9"},
}
_TEENS = {
    **{"ten": "10", "eleven": "11", "twelve": "12", "thirteen": "13", "fourteen": "14"},
    **{"fifteen": "15", "sixteen": "16", "seventeen": "17", "eighteen": "18", "nineteen": "19"},
}
_TENS = {
    **{"twenty": "2", "thirty": "3", "forty": "4", "fourty": "4", "fifty": "5", "sixty": "6"},
    **{"seventy": "7", "eighty": "8", "ninety": "9"},
}
_MANDARIN = dict(zip("零〇一二三四五六七八九幺两", "0012345678912", strict=True))
_TIMES = {"double": 2, "triple": 3, "treble": 3}
_AMOUNTS = frozenset({"hundred", "thousand", "million", "billion", "百", "千", "万", "亿"})
# What recognisers write for a digit, taken for one where single digits stand on both sides.
_SOUNDS_LIKE = {"to": "2", "too": "2", "for": "4", "ate": "8", "won": "1", "tree": "3", "sex": "6"}
_BETWEEN = frozenset({"um", "uh", "er", "erm", "dash", "hyphen", "dot", "minus", "space", "area"})
_SOFTLY_BETWEEN = frozenset({"and", "then", "code", "ext", "extension", "plus", "嗯", "呃"})
_MOST_BETWEEN = 2


@dataclass(frozen=True)
class Token:
    """One word of a transcript.

    Attributes:
        text: as written.
        word: normalised.
        before: what stands between the word before and this one.
    """

    text: str
    word: str
    before: str

    @property
    def is_glued(self) -> bool:
        """Whether no blank parts it from the word before."""
        return bool(self.before) and not any(letter.isspace() for letter in self.before)


@dataclass(frozen=True)
class DigitRun:
    """Words in a row that say digits.

    Attributes:
        first: index of the first word.
        stop: index after the last word.
        digits: what they say.
        is_amount: whether they are a quantity, a date or a time, not digits one by one.
    """

    first: int
    stop: int
    digits: str
    is_amount: bool = False


def tokens_of(text: str) -> list[Token]:
    """Return the words of a transcript, those of `split_words`, with what stands between."""
    found: list[Token] = []
    at = 0
    for word in split_words(text):
        found.append(Token(word.text, normalised(word.text), text[at : word.start]))
        at = word.end
    return found


def digits_of(word: str) -> str | None:
    """Return the digits that one normalised word says by itself, or None."""
    if word.isdecimal():
        return "".join(str(int(letter)) for letter in word)
    if word in _TENS:
        return _TENS[word] + "0"
    return _UNITS.get(word) or _TEENS.get(word) or _MANDARIN.get(word)


def digit_runs(tokens: Sequence[Token]) -> list[DigitRun]:
    """Return the runs of words that say digits, fillers between them included.

    "four one five, um, double two" is one run of five digits; "for" and "to" count as digits
    amid single digits.
    """
    runs: list[DigitRun] = []
    at = 0
    while at < len(tokens):
        run = _run_from(tokens, at)
        if run is None:
            at += 1
            continue
        runs.append(run)
        at = run.stop
    return runs


def luhn(digits: str) -> bool:
    """Return whether digits pass the check of card numbers (Luhn; ISO/IEC 7812-1, annex B)."""
    total = 0
    for place, digit in enumerate(map(int, reversed(digits))):
        doubled = digit * 2 if place % 2 else digit
        total += doubled - 9 if doubled > 9 else doubled
    return bool(digits) and total % 10 == 0


def _run_from(tokens: Sequence[Token], first: int) -> DigitRun | None:
    """Return the run of digits that begins at a word, or None."""
    said, at = _number(tokens, first)
    if not said:
        return None
    digits, amount = said, False
    while at < len(tokens):
        if tokens[at].word in _AMOUNTS:
            amount, at = True, at + 1
            continue
        step = _bridge(tokens, at)
        more, after = _number(tokens, step) if step is not None else ("", at)
        if not more:
            like = _SOUNDS_LIKE.get(tokens[at].word)
            if like is None or not _amid_digits(tokens, at):
                break
            more, after = like, at + 1
        digits, at = digits + more, after
    amount = amount or _is_amount(tokens[first:at])
    return DigitRun(first, at, digits, amount)


def _number(tokens: Sequence[Token], at: int) -> tuple[str, int]:
    """Return the digits said from a word on, and the index after them; none where it says none."""
    if at >= len(tokens):
        return "", at
    word = tokens[at].word
    if word in _TIMES and at + 1 < len(tokens):
        single = digits_of(tokens[at + 1].word)
        return (single * _TIMES[word], at + 2) if single and len(single) == 1 else ("", at)
    said = digits_of(word)
    if said is None:
        return "", at
    if word in _TENS and at + 1 < len(tokens):
        unit = _UNITS.get(tokens[at + 1].word)
        if unit and unit != "0":
            return _TENS[word] + unit, at + 2
    return said, at + 1


def _bridge(tokens: Sequence[Token], at: int) -> int | None:
    """Return the index at which digits go on after filler words, or None."""
    for count in range(_MOST_BETWEEN + 1):
        place = at + count
        if place >= len(tokens):
            return None
        word = tokens[place].word
        if digits_of(word) is not None or word in _TIMES:
            return place
        if word in _SOFTLY_BETWEEN and not _amid_digits(tokens, place):
            return None
        if word not in _BETWEEN | _SOFTLY_BETWEEN:
            return None
    return None


def _amid_digits(tokens: Sequence[Token], at: int) -> bool:
    """Return whether single digits stand before and after a word."""
    sides = [tokens[place].word for place in (at - 1, at + 1) if 0 <= place < len(tokens)]
    single = [digits_of(word) for word in sides]
    return len(sides) == 2 and all(said is not None and len(said) == 1 for said in single)


def _is_amount(tokens: Sequence[Token]) -> bool:
    """Return whether digits are a quantity (1,000), a date (1/2/2020) or a time (10:30)."""
    glue = {token.before for token in tokens[1:] if token.is_glued}
    if glue & {"/", ":"}:
        return True
    return glue == {","} and all(len(token.text) == 3 for token in tokens[1:])
