"""Hear what candidates say: word error, each recording once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from stepedit_core.alignment import Recogniser
from stepedit_core.dsp.words import word_error
from stepedit_core.errors import StepeditError
from stepedit_core.utterance import Utterance

__all__ = ["Ears", "How"]

How = Literal["rough", "plain", "timed"]
"""How a recogniser is asked: for a fraction of the cost, plainly, or for the words' times, too."""


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
        self._heard: dict[tuple[int, str, How], str | None] = {}
        self._sure: dict[tuple[int, str, str], list[float] | None] = {}
        self._settled: dict[str, tuple[str, float]] = {}

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

    def hears_twice(self, which: int) -> bool:
        """Return whether one of the recognisers hears otherwise when it is asked for times."""
        return type(self._recognisers[which]).hear is not Recogniser.hear

    def hear(self, utterance: Utterance, which: int = 0, how: How = "plain") -> str | None:
        """Return the words that one of the recognisers hears; None where it cannot do so roughly.

        Some words are heard otherwise roughly, and with times.
        """
        key = which, utterance.digest, how
        if key not in self._heard:
            recogniser = self._recognisers[which]
            ask: dict[How, Callable[[Utterance], str | None]] = {
                "rough": recogniser.hear_roughly,
                "plain": recogniser.hear,
                "timed": lambda one: recogniser.transcribe(one).text,
            }
            self._heard[key] = ask[how](utterance)
        return self._heard[key]

    def certainty(self, utterance: Utterance, which: int = 0) -> list[float] | None:
        """Return how likely one of the recognisers finds each word of the transcript, 0..1.

        None where it cannot tell, or there are no words.
        """
        key = which, utterance.digest, utterance.transcript or ""
        if key not in self._sure:
            self._sure[key] = self._recognisers[which].certainty(utterance)
        return self._sure[key]

    def word_error(
        self,
        utterance: Utterance,
        words: str | None = None,
        which: int = 0,
        how: How = "plain",
    ) -> float | None:
        """Return the error against some words, by default its own; None where there are none."""
        expected = utterance.transcript if words is None else words
        if not (expected or "").strip():
            return None
        heard = self.hear(utterance, which, how)
        return None if heard is None else word_error(str(expected), heard)

    # What the preferred recogniser is taken to have heard, after all that it was asked ----------

    def settle(self, utterance: Utterance, how: How | None, error: float) -> None:
        """Take what the preferred recogniser heard in one way, and the word error it came to.

        None as a way takes the transcript, where the recogniser is sure of its words.
        """
        heard = utterance.transcript if how is None else self.hear(utterance, how=how)
        self._settled[utterance.digest] = heard or "", error

    def text(self, utterance: Utterance) -> str:
        """Return what the preferred recogniser heard: what was settled on, or plainly."""
        known = self._settled.get(utterance.digest)
        return (self.hear(utterance) or "") if known is None else known[0]

    def least_error(self, utterance: Utterance, words: str) -> float:
        """Return its error against some words, or what was settled on, if that is less."""
        known = self._settled.get(utterance.digest)
        if known is None:
            return self.word_error(utterance, words) or 0.0
        return min(word_error(words, known[0]), known[1])
