"""Numerals as English words, for models that know words by a pronouncing dictionary."""

from __future__ import annotations

import re

__all__ = ["spell_numerals"]

_NUMERAL = re.compile(
    r"(?<![\w.,])"
    r"(?P<whole>\d{1,3}(?:,\d{3})+|\d+)(?:(?P<part>\.\d+)|(?P<ordinal>st|nd|rd|th))?"
    r"(?P<percent>\s?%)?(?!\w|[.,]\d)",
    re.IGNORECASE,
)
_YEARS = range(1100, 2000)
_LONGEST = 9
"""Digits; longer numerals are told digit by digit, as telephone numbers are."""


def _one_by_one(digits: str) -> str:
    from num2words import num2words

    return " ".join(num2words(int(digit)) for digit in digits)


def _words(match: re.Match[str]) -> str:
    from num2words import num2words

    whole = match["whole"].replace(",", "")
    is_code = len(whole) > _LONGEST or (len(whole) > 1 and whole.startswith("0"))
    if is_code:
        said = _one_by_one(whole)
    elif match["ordinal"]:
        said = num2words(int(whole), to="ordinal")
    elif len(whole) == len(match[0]) == 4 and int(whole) in _YEARS:
        said = num2words(int(whole), to="year")
    else:
        said = num2words(int(whole))
    if match["part"]:
        said += f" point {_one_by_one(match['part'][1:])}"
    if match["percent"]:
        said += " percent"
    return re.sub(r"[\s,-]+", " ", said)


def spell_numerals(text: str) -> str:
    """Return a text with its numerals as English words, all else as it was.

    Cardinals, ordinals (``3rd``), decimals, percentages, and years from 1100 to 1999, as the
    num2words package has them. Digits inside words (``R2D2``) stay.

    Args:
        text: of any language; numerals are read in English.
    """
    return _NUMERAL.sub(_words, text)
