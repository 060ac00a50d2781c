"""Which language speech is in, and whether an engine was taught it."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable

from stepedit_core.engine import SpeechEngine, languages
from stepedit_core.utterance import Utterance

__all__ = [
    "language_name",
    "language_of",
    "language_of_text",
    "untaught_language",
    "untaught_languages",
]

_NAMES = {
    "ar": "Arabic", "cmn": "Mandarin", "de": "German", "en": "English", "es": "Spanish",
    "fr": "French", "hi": "Hindi", "it": "Italian", "ja": "Japanese", "ko": "Korean",
    "pl": "Polish", "pt": "Portuguese", "ru": "Russian", "yue": "Cantonese", "zh": "Mandarin",
}  # fmt: skip
_SCRIPTS = {
    "CJK": "zh", "HIRAGANA": "ja", "KATAKANA": "ja", "HANGUL": "ko", "CYRILLIC": "ru",
    "ARABIC": "ar", "DEVANAGARI": "hi",
}  # fmt: skip
"""First word of the Unicode names of letters that are written in one language above all."""


def language_name(code: str) -> str:
    """Return what English calls a language: ``Mandarin (zh)``; the code where it is not listed."""
    name = _NAMES.get(code)
    return f"{name} ({code})" if name else repr(code)


def language_of_text(text: str) -> str | None:
    """Return the language that the script of a text stands for; None for the Latin script.

    Japanese mixes scripts: kana decide. Cyrillic counts as Russian, Devanagari as Hindi.
    """
    scripts = Counter(unicodedata.name(x, "?").split()[0] for x in text if x.isalpha())
    known = {_SCRIPTS[name]: count for name, count in scripts.items() if name in _SCRIPTS}
    if sum(known.values()) * 2 <= scripts.total():
        return None
    return "ja" if "ja" in known else max(known, key=lambda code: known[code])


def language_of(utterance: Utterance) -> str | None:
    """Return the language of an utterance: as it says, or by the script of its words."""
    if utterance.language:
        return utterance.language.replace("_", "-").split("-")[0].lower()
    return language_of_text(utterance.transcript or "")


def untaught_language(
    engine: SpeechEngine | None, utterance: Utterance, words: str | None = None
) -> str | None:
    """Say in one line that an engine was not taught a language; None where it was, or may be.

    Args:
        engine: one that does not say what it was taught knows all languages.
        utterance: what is to be edited.
        words: what is to be said, where that is known.
    """
    taught = None if engine is None else languages(engine)
    if engine is None or taught is None:
        return None
    for language in (language_of(utterance), language_of_text(words or "")):
        if language is not None and language not in taught:
            known = ", ".join(map(language_name, taught))
            return (
                f"the engine {engine.name!r} was taught {known} and not "
                f"{language_name(language)}: words will be lost; take the dsp route where there "
                "is one, or an engine that knows the language"
            )
    return None


def untaught_languages(
    engine: SpeechEngine | None, utterance: Utterance, texts: Iterable[str | None]
) -> tuple[str, ...]:
    """Return what `untaught_language` says of several texts on one utterance, each line once."""
    said = [untaught_language(engine, utterance, text) for text in texts]
    return tuple(dict.fromkeys(line for line in said if line))
