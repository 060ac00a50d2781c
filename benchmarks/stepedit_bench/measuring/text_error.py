"""Word and character error between an expected text and what was heard.

Both texts pass through Whisper's normalisers (Radford et al. 2022, appendix C; package
``whisper-normalizer``): the English one for English, the basic one for other languages. They
lower the case, drop punctuation and text in brackets (so that a tag such as ``[Laughter]`` is
not a word) and, for English, write numbers and spellings alike. Chinese is compared in simplified
characters (OpenCC) with its numbers in characters (cn2an), as recognisers mix both. Errors are
counted in words, or in characters for languages written without spaces (Chinese, Japanese,
Thai ...) and for Korean, as is usual there. Alignment is jiwer's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from stepedit_bench.measuring.extras import need
from stepedit_core.errors import StepeditError
from stepedit_core.scoring import Interval, bootstrap_interval

__all__ = [
    "TextErrors",
    "count_words",
    "counts_characters",
    "normalise",
    "pooled_error",
    "text_errors",
]

CHARACTER_LANGUAGES = frozenset({"zh", "cmn", "yue", "ja", "ko", "th", "lo", "my", "km", "bo"})
_CHINESE = frozenset({"zh", "cmn"})
_DIGITS = re.compile(r"\d")


@dataclass(frozen=True)
class TextErrors:
    """Substitutions, deletions and insertions together, over the expected length.

    Attributes:
        errors: how many.
        length: words or characters of the expected text, at least 1.
        unit: ``word`` or ``character``.
    """

    errors: int
    length: int
    unit: str

    @property
    def rate(self) -> float:
        """Errors over length, 0 or more; insertions can take it above 1."""
        return self.errors / self.length


def counts_characters(language: str | None) -> bool:
    """Return whether a language (BCP 47 tag) is counted in characters."""
    return (language or "").split("-")[0].lower() in CHARACTER_LANGUAGES


@cache
def _simplifier() -> Any:
    library = need("opencc", "opencc-python-reimplemented", "character error of Chinese")
    return library.OpenCC("t2s")


def _chinese(text: str) -> str:
    """Return Chinese in simplified characters, with numbers in characters."""
    plain = _simplifier().convert(text)
    if _DIGITS.search(plain) is None:
        return str(plain)
    library = need("cn2an", "cn2an", "character error of Chinese")
    try:
        return str(library.transform(plain, "an2cn"))
    except ValueError:  # a number that the library cannot read stays as it is written
        return str(plain)


@cache
def _normaliser(english: bool) -> Any:
    purpose = "word error"
    if english:
        module = need("whisper_normalizer.english", "whisper-normalizer", purpose)
        return module.EnglishTextNormalizer()
    module = need("whisper_normalizer.basic", "whisper-normalizer", purpose)
    return module.BasicTextNormalizer()


def normalise(text: str, language: str | None) -> str:
    """Return a text as it is compared; no language is taken for English."""
    english = (language or "en").split("-")[0].lower() == "en"
    if (language or "").split("-")[0].lower() in _CHINESE:
        text = _chinese(text)
    plain = " ".join(_normaliser(english)(text).split())
    return plain.replace(" ", "") if counts_characters(language) else plain


def _aligned(expected: str, heard: str, language: str | None) -> tuple[Any, int]:
    """Return jiwer's alignment of two texts and the length of the expected one."""
    jiwer = need("jiwer", "jiwer", "word error")
    reference, hypothesis = normalise(expected, language), normalise(heard, language)
    if not reference:
        raise StepeditError(f"the expected text {expected!r} holds no words to compare with")
    if counts_characters(language):
        return jiwer.process_characters(reference, hypothesis), len(reference)
    return jiwer.process_words(reference, hypothesis), len(reference.split())


def text_errors(expected: str, heard: str, language: str | None) -> TextErrors:
    """Count the errors of ``heard`` against ``expected``.

    Raises:
        StepeditError: if nothing is left of the expected text after normalising.
    """
    found, length = _aligned(expected, heard, language)
    errors = found.substitutions + found.deletions + found.insertions
    unit = "character" if counts_characters(language) else "word"
    return TextErrors(int(errors), length, unit)


def pooled_error(found: Sequence[TextErrors], rng: np.random.Generator) -> Interval:
    """Return all errors over the whole length, with a 95 % bootstrap interval over recordings.

    Args:
        found: one for each recording, of one unit.
        rng: draws the resamples.
    """
    rows = [(one.errors, one.length) for one in found]
    return bootstrap_interval(
        rows, rng, statistic=lambda errors, length: errors.sum() / length.sum()
    )


def count_words(expected: str, heard: str, language: str | None) -> dict[str, int]:
    """Return ``errors``, the ``deletions`` among them, and the ``length`` of the expected text.

    Raises:
        StepeditError: if nothing is left of the expected text after normalising.
    """
    found, length = _aligned(expected, heard, language)
    errors = found.substitutions + found.deletions + found.insertions
    return {"errors": int(errors), "deletions": int(found.deletions), "length": length}
