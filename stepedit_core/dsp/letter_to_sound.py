"""Letter-to-sound rules for English words that no dictionary has.

A rough guess is enough for forced alignment: the words around it, which are in the dictionary,
hold it in its place. Phones are those of the CMU dictionary, without stress.
"""

from __future__ import annotations

import re
import unicodedata

__all__ = ["MAX_PHONES", "MOST_DIGITS", "guessed_phones", "spelled_out", "without_accents"]

MAX_PHONES = 60
"""Most phones of a guess; what is longer is no word."""
MOST_DIGITS = 40
"""Most digits of a number that is read."""

_SOUNDS: dict[str, str] = {
    **{"tion": "SH AH N", "sion": "ZH AH N", "eigh": "EY", "ough": "AO", "augh": "AO"},
    **{"tch": "CH", "sch": "SH", "igh": "AY", "eau": "OW", "ing": "IH NG", "cia": "SH AH"},
    **{"ch": "CH", "sh": "SH", "th": "TH", "ph": "F", "wh": "W", "ck": "K", "gh": "G"},
    **{"ng": "NG", "qu": "K W", "kn": "N", "wr": "R", "gn": "N", "ps": "P S", "dg": "JH"},
    **{"ee": "IY", "ea": "IY", "oo": "UW", "ou": "AW", "ow": "OW", "oi": "OY", "oy": "OY"},
    **{"ai": "EY", "ay": "EY", "au": "AO", "aw": "AO", "ei": "EY", "ey": "IY", "ie": "IY"},
    **{"oa": "OW", "ue": "UW", "ui": "UW", "ew": "UW", "ar": "AA R", "er": "ER", "ir": "ER"},
    **{"or": "AO R", "ur": "ER", "ce": "S EH", "ci": "S IH", "cy": "S IY", "ge": "JH EH"},
    **{"a": "AE", "b": "B", "c": "K", "d": "D", "e": "EH", "f": "F", "g": "G", "h": "HH"},
    **{"i": "IH", "j": "JH", "k": "K", "l": "L", "m": "M", "n": "N", "o": "AA", "p": "P"},
    **{"q": "K", "r": "R", "s": "S", "t": "T", "u": "AH", "v": "V", "w": "W", "x": "K S"},
    **{"y": "IY", "z": "Z"},
}
_LONGEST = max(map(len, _SOUNDS))
_NO_DECOMPOSITION = str.maketrans(
    {"ø": "o", "đ": "d", "ł": "l", "ß": "ss", "æ": "ae", "œ": "oe", "ð": "d", "þ": "th", "ı": "i"}
)


def without_accents(word: str) -> str:
    """Return a word with its Latin letters bare (``naïve`` becomes ``naive``)."""
    decomposed = unicodedata.normalize("NFKD", word.casefold().translate(_NO_DECOMPOSITION))
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))


def spelled_out(digits: str) -> list[str]:
    """Return the English words of a number written in digits: a year, a count, or its digits."""
    from num2words import num2words

    number = int(digits)
    if len(digits) > 9 or (len(digits) > 1 and digits.startswith("0")):
        said = " ".join(num2words(int(digit)) for digit in digits)
    elif 1100 <= number < 2100 and len(digits) == 4:
        said = num2words(number, to="year")
    else:
        said = num2words(number)
    return re.findall(r"[a-z]+", said)


def guessed_phones(word: str, syllables: int = 1) -> list[str]:
    """Return the phones that a word's letters suggest, at most `MAX_PHONES`.

    Args:
        word: one word; letters that are not Latin ones have no sound here.
        syllables: how many plain syllables stand for a word without Latin letters.
    """
    letters = re.sub(r"[^a-z]", "", without_accents(word))
    letters = re.sub(r"(.)\1+", lambda m: m[1] * (2 if m[1] in "eo" else 1), letters)
    if len(letters) > 3 and re.search(r"[^aeiou]e$", letters):
        letters = letters[:-1]
    phones: list[str] = []
    at = 0
    while at < len(letters) and len(phones) < MAX_PHONES:
        size = next(n for n in range(_LONGEST, 0, -1) if letters[at : at + n] in _SOUNDS)
        phones += _SOUNDS[letters[at : at + size]].split()
        at += size
    return (phones or ["HH", "AH"] * max(1, syllables))[:MAX_PHONES]
