"""Hear what candidates say: word error, each recording once."""

from __future__ import annotations

from stepedit_core.dsp.words import word_error
from stepedit_core.errors import StepeditError
from stepedit_core.utterance import Utterance

__all__ = ["Ears"]


class Ears:
    """Hears recordings once each, by one or several recognisers of the installed plugins."""

    def __init__(self, language: str | None, count: int = 1) -> None:
        """Load the recognisers.

        Args:
            language: BCP 47 tag that they must know.
            count: of recognisers, the preferred ones first; fewer where fewer are installed.

        Raises:
            StepeditError: if none is installed for the language.
        """
        from stepedit_core.recording.hearing import load_recogniser, recogniser_names

        names = recogniser_names(language)[:count] if count > 1 else []
        self._recognisers = [load_recogniser(name, language) for name in names or ["auto"]]
        self._heard: dict[tuple[int, str], str] = {}

    @property
    def count(self) -> int:
        """Number of recognisers."""
        return len(self._recognisers)

    @classmethod
    def of(cls, utterance: Utterance, count: int = 1) -> tuple[Ears | None, str | None]:
        """Return ears for an utterance's language, or None; and what a user should know."""
        try:
            ears = cls(utterance.language, count)
        except StepeditError as error:
            return None, f"words are not judged: {error}"
        if ears.count < count:
            few = f"words are judged by {ears.count} of {count} recognisers: no more is installed"
            return ears, few
        return ears, None

    def hear(self, utterance: Utterance, which: int = 0) -> str:
        """Return the words that one of the recognisers hears."""
        key = which, utterance.digest
        if key not in self._heard:
            self._heard[key] = self._recognisers[which].hear(utterance)
        return self._heard[key]

    def word_error(
        self, utterance: Utterance, words: str | None = None, which: int = 0
    ) -> float | None:
        """Return the error against some words, by default its own; None where there are none."""
        expected = utterance.transcript if words is None else words
        if not (expected or "").strip():
            return None
        return word_error(str(expected), self.hear(utterance, which))
