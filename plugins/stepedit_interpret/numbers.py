"""Numbers as people say them, in digits or in words, in English and Mandarin."""

from __future__ import annotations

import re

__all__ = ["NUMBER", "ORDINAL", "ordinal", "read_number"]

_SMALL = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen"),
    "nineteen",
)
_TENS = (*("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"),)
_ORDINALS = (
    *("zeroth", "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth"),
    *("ninth", "tenth", "eleventh", "twelfth", "thirteenth", "fourteenth", "fifteenth"),
    *("sixteenth", "seventeenth", "eighteenth", "nineteenth", "twentieth"),
)
_LAST = ("last", "final", "closing", "ending")
_FIRST = ("opening", "initial", "beginning")
_DIGITS = {mark: value for value, mark in enumerate("零一二三四五六七八九")} | {"两": 2, "半": 0.5}
_ZH = "[零一二两三四五六七八九十百]"
_TENS_WORD = "|".join(_TENS)
_SMALL_WORD = "|".join(sorted(_SMALL, key=len, reverse=True))

NUMBER = (
    rf"(?:\d+(?:\.\d+)?|{_ZH}+(?:点{_ZH}+)?|半"
    rf"|\b(?:(?:{_TENS_WORD})(?:[-\s](?:{_SMALL_WORD}))?|{_SMALL_WORD}|half\s+an?|an?\s+half)\b"
    rf"(?:\s+(?:point\s+(?:{_SMALL_WORD})|and\s+a\s+half))?)"
)
"""A number, without a group of its own."""
ORDINAL = (
    rf"(?:(?:{'|'.join(_ORDINALS[1:])}|\d+(?:st|nd|rd|th)|second[-\s]to[-\s]last|"
    rf"next[-\s]to[-\s]last|penultimate|last\s+but\s+one|{'|'.join((*_LAST, *_FIRST))})\b)"
)
"""An English ordinal, ``last`` included."""


def read_number(text: str) -> float:
    """Return the value of what ``NUMBER`` matched."""
    text = text.strip().lower()
    if re.fullmatch(r"\d+(?:\.\d+)?", text):
        return float(text)
    if re.match(rf"{_ZH}|半", text):
        whole, point, rest = text.partition("点")
        value = _chinese(whole)
        return value + float("0." + "".join(str(_DIGITS[d]) for d in rest)) if point else value
    value = 0.0
    if re.search(r"\bhalf\b", text):
        value += 0.5
        text = re.sub(r"(\band\s+a\s+half|\bhalf\s+an?|\ban?\s+half)", "", text).strip()
    whole, point, rest = text.partition("point")
    if point:
        value += _SMALL.index(rest.strip()) / 10
    for word in re.split(r"[-\s]+", whole.strip()):
        if word in _SMALL:
            value += _SMALL.index(word)
        elif word in _TENS:
            value += 10 * (_TENS.index(word) + 2)
    return value


def _chinese(text: str) -> float:
    """Return a Chinese numeral up to 999."""
    if text == "半":
        return 0.5
    total = 0.0
    for unit, worth in (("百", 100), ("十", 10)):
        if unit in text:
            head, _, text = text.partition(unit)
            total += (_DIGITS.get(head[-1:], 1) if head else 1) * worth
    text = text.lstrip("零")
    return total + (_DIGITS[text[-1]] if text else 0)


def ordinal(text: str) -> int:
    """Return the value of an ordinal: from 1, or from the end as -1, -2."""
    word = re.sub(r"[-\s]+", " ", text.strip().lower())
    if word in ("second to last", "next to last", "penultimate", "last but one"):
        return -2
    if word in _LAST:
        return -1
    if word in _FIRST:
        return 1
    if word in _ORDINALS:
        return _ORDINALS.index(word)
    digits = re.match(r"\d+", word)
    return int(digits.group()) if digits else int(read_number(word))
