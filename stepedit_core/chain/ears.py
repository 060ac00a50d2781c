"""Hear what candidates say: word error, each recording once."""

from __future__ import annotations

import numpy as np

from stepedit_core.dsp.words import normalised, split_words
from stepedit_core.errors import StepeditError
from stepedit_core.utterance import Utterance

__all__ = ["Ears", "word_error"]


class Ears:
    """Hears recordings once each; a recogniser of the installed plugins."""

    def __init__(self, language: str | None) -> None:
        """Load the recogniser.

        Raises:
            StepeditError: if none is installed for the language.
        """
        from stepedit_core.recording.hearing import load_recogniser

        self._recogniser = load_recogniser("auto", language)
        self._heard: dict[str, str] = {}

    @classmethod
    def of(cls, utterance: Utterance) -> tuple[Ears | None, str | None]:
        """Return ears for an utterance's language, or None and why there are none."""
        try:
            return cls(utterance.language), None
        except StepeditError as error:
            return None, f"words are not judged: {error}"

    def hear(self, utterance: Utterance) -> str:
        """Return the words heard."""
        key = utterance.digest
        if key not in self._heard:
            self._heard[key] = self._recogniser.transcribe(utterance).text
        return self._heard[key]

    def word_error(self, utterance: Utterance, words: str | None = None) -> float | None:
        """Return the error against some words, by default its own; None where there are none."""
        expected = utterance.transcript if words is None else words
        if not (expected or "").strip():
            return None
        return word_error(str(expected), self.hear(utterance))


def word_error(expected: str, heard: str) -> float:
    """Return insertions, deletions and substitutions over the number of expected words.

    Words are those of `split_words`: characters in Chinese, Japanese and Korean.
    """
    a = [normalised(word.text) for word in split_words(expected)]
    b = [normalised(word.text) for word in split_words(heard)]
    row = np.arange(len(b) + 1)
    for i, word in enumerate(a, start=1):
        differs = np.array([word != other for other in b], dtype=np.int64)
        best = np.minimum(row[1:] + 1, row[:-1] + differs)
        new = np.empty_like(row)
        new[0] = i
        for j, value in enumerate(best, start=1):
            new[j] = min(value, new[j - 1] + 1)
        row = new
    return float(row[-1]) / max(1, len(a))
