"""Which language speech is in, how a user names it, and whether an engine was taught it."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable

from stepedit_core.engine import SpeechEngine, is_generated, languages
from stepedit_core.errors import StepeditError, suggest
from stepedit_core.plan import Plan
from stepedit_core.utterance import Utterance

__all__ = [
    "language_name",
    "language_of",
    "language_of_text",
    "language_tag",
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


_CODES = (
    " aa ab ae af ak am an ar as av ay az ba be bg bi bm bn bo br bs ca ce ch co cr cs cu cv cy da "
    "de dv dz ee el en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy "
    "hz ia id ie ig ii ik io is it iu ja jv jw ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb "
    "lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no nr nv ny oc oj om "
    "or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg sh si sk sl sm sn so sq sr ss st su sv "
    "sw ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh "
    "zu "
)
"""Codes of two letters (ISO 639-1, and Whisper's for Javanese)."""
_LONGER = {
    "ara": "ar", "chi": "zh", "cmn": "zh", "deu": "de", "eng": "en", "fra": "fr", "fre": "fr",
    "ger": "de", "hin": "hi", "ita": "it", "jpn": "ja", "kor": "ko", "pol": "pl", "por": "pt",
    "rus": "ru", "spa": "es", "zho": "zh",
}  # fmt: skip
"""Codes of three letters (ISO 639-3, 639-2/B) that stand for one of two."""
_CALLED = {name.lower(): code for code, name in _NAMES.items() if code != "cmn"} | {"chinese": "zh"}
_TAG = re.compile("[a-z]{2,3}(-[a-z0-9]{2,8})*", re.IGNORECASE)


def language_tag(text: str) -> str:
    """Return the BCP 47 tag that a user means: ``en-US`` for ``en_US``, ``en`` for ``English``.

    Raises:
        StepeditError: if there is no such language; near misses are named.
    """
    plain = text.strip().replace("_", "-").split(".")[0]
    primary, dash, rest = plain.partition("-")
    code = primary.lower()
    code = _CALLED.get(code) or _LONGER.get(code) or code
    if _TAG.fullmatch(f"{code}{dash}{rest}") and (len(code) == 3 or f" {code} " in _CODES):
        return f"{code}{dash}{rest}"
    hint = suggest(plain.lower(), _CALLED) or "; write its code, such as en or zh"
    raise StepeditError(f"no language {text[:40]!r}{hint}")


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
    engine: SpeechEngine | None, utterance: Utterance, plan: Plan | None = None
) -> str | None:
    """Say in one line that an engine was not taught a language; None where it was, or may be.

    An answer of the source's own codes is said by no language model and needs no language.

    Args:
        engine: one that does not say what it was taught knows all languages.
        utterance: what is to be edited.
        plan: of the edit, where it is known.
    """
    taught = None if engine is None else languages(engine)
    if engine is None or taught is None or (plan is not None and not is_generated(engine, plan)):
        return None
    words = "" if plan is None else plan.words_after
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
    engine: SpeechEngine | None, utterance: Utterance, plans: Iterable[Plan]
) -> tuple[str, ...]:
    """Return what `untaught_language` says of several plans on one utterance, each line once."""
    said = [untaught_language(engine, utterance, plan) for plan in plans]
    return tuple(dict.fromkeys(line for line in said if line))
