"""What a speech recogniser is."""

from __future__ import annotations

from abc import ABC, abstractmethod

from stepedit_core.utterance import Utterance

__all__ = ["RATE", "Recogniser"]

RATE = 16_000


class Recogniser(ABC):
    """Turns speech into text, the same text for the same speech."""

    languages: frozenset[str] | None = None
    """Primary language subtags that it hears, or None for many."""

    def __init__(self, name: str) -> None:
        """Keep the name that results carry."""
        self.name = name

    def hears(self, language: str | None) -> bool:
        """Say whether it knows a language (BCP 47 tag); an unknown one is taken for English."""
        primary = (language or "en").split("-")[0].lower()
        return self.languages is None or primary in self.languages

    @abstractmethod
    def transcribe(self, utterance: Utterance) -> str:
        """Return the words heard."""
