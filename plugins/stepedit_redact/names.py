"""Names of people: by rules, or by Presidio's recognisers (extra ``redact``)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from typing import Any

from stepedit_core import MissingDependencyError
from stepedit_core.dsp.words import split_words
from stepedit_redact.finding import Hit, Kind, PatternKind
from stepedit_redact.spoken import Token

__all__ = ["find_names", "presidio_finds", "presidio_missing"]

_TITLES = frozenset(
    {
        *("mr", "mrs", "ms", "miss", "dr", "prof", "professor", "doctor", "sir", "madam"),
        *("mister", "missus", "officer", "nurse", "reverend"),
    }
)
# Words after which a name is said, whatever its letters look like.
_CUES = (
    *(("my", "name", "is"), ("name", "is"), ("my", "name's"), ("i", "am", "called")),
    *(("called",), ("named",), ("speaking", "to"), ("speak", "to"), ("talk", "to")),
    *(("this", "is"), ("i'm",), ("i", "am"), ("ask", "for"), ("signed",), ("dear",)),
)
# After these, a name is taken without a capital letter, too.
_SURE_CUES = frozenset({("my", "name", "is"), ("name", "is"), ("my", "name's")})
_NO_NAMES = frozenset(
    {
        *("i", "i'm", "i'll", "i've", "i'd", "monday", "tuesday", "wednesday", "thursday"),
        *("friday", "saturday", "sunday", "january", "february", "march", "april", "june"),
        *("july", "august", "september", "october", "november", "december", "english"),
        *("the", "a", "an", "my", "your", "and", "or", "of", "in", "on", "at", "for", "to"),
        *("not", "very", "on", "with", "from", "so", "it", "is", "was", "me", "you", "we"),
    }
)
_MOST_WORDS = 3
_CUES_ZH = ("我叫", "名叫", "姓名是", "名字是", "名字叫")
_TITLES_ZH = ("先生", "女士", "小姐", "老师", "医生", "经理")
_SURNAMES_ZH = frozenset(
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许邓冯韩曹曾彭萧蔡潘田董袁于余叶蒋杜苏魏程吕丁沈任姚卢傅钟姜崔谭廖范汪陆金石戴贾韦夏邱方侯邹熊孟秦白江阎薛尹段雷黎史龙陶贺顾毛郝龚邵万钱严武莫孔"
)
_PRESIDIO: dict[str, Kind] = {
    "PERSON": "name",
    "PHONE_NUMBER": "phone",
    "CREDIT_CARD": "card",
    "IBAN_CODE": "card",
    "US_SSN": "number",
    "US_BANK_NUMBER": "number",
}
_MODEL = "en_core_web_sm"
_CURE = "pip install 'stepedit[redact]' and python -m spacy download en_core_web_sm"


def find_names(tokens: Sequence[Token]) -> list[Hit]:
    """Return names of people by rules: titles, cues, and common given names with a capital.

    English and Mandarin. A name that nothing announces, and that is not in the list of given
    names, is not found; ``presidio_finds`` finds more.
    """
    found = [*_announced(tokens), *_listed(tokens), *_mandarin(tokens)]
    # A word that is a name once is one wherever it is said.
    parts = {tokens[n].word for hit in found for n in range(hit.first, hit.stop)}
    parts = {word for word in parts if len(word) > 2 and word.isascii()}
    again = [
        Hit(n, n + 1, "name")
        for n, token in enumerate(tokens)
        if token.word.removesuffix("'s") in parts and _is_capital(token.text)
    ]
    return sorted({*found, *again})


def _announced(tokens: Sequence[Token]) -> list[Hit]:
    """Return names after a title or a cue."""
    words = [token.word for token in tokens]
    found = []
    for n, word in enumerate(words):
        if word in _TITLES:
            stop = _name_end(tokens, n + 1, any_case=False)
            if stop > n + 1:
                found.append(Hit(n + 1, stop, "name"))
        for cue in _CUES:
            first = n + len(cue)
            if tuple(words[n:first]) != cue:
                continue
            stop = _name_end(tokens, first, any_case=cue in _SURE_CUES)
            if stop > first:
                found.append(Hit(first, stop, "name"))
    return found


def _name_end(tokens: Sequence[Token], first: int, *, any_case: bool) -> int:
    """Return the index after the name that begins at a word; the word itself where none does."""
    cased = any(_is_capital(token.text) and token.word[:1] != "i" for token in tokens[1:])
    stop = first
    while stop < len(tokens) and stop - first < _MOST_WORDS:
        token = tokens[stop]
        if stop > first and _parted(token.before):
            break
        free = any_case and (not cased or stop == first)
        if token.word in _NO_NAMES or not (_is_capital(token.text) or free):
            break
        stop += 1
    return stop


def _listed(tokens: Sequence[Token]) -> list[Hit]:
    """Return given names of the list that have a capital, and the surname after them."""
    known = _given_names()
    found = []
    for n, token in enumerate(tokens):
        name = token.word.removesuffix("'s")
        if name not in known or not _is_capital(token.text):
            continue
        opens = n == 0 or any(mark in token.before for mark in ".!?")
        stop = _name_end(tokens, n + 1, any_case=False)
        if stop > n + 1 and _parted(tokens[n + 1].before):
            stop = n + 1
        if stop == n + 1 and (name in _MONTHS or (name in _ALSO_WORDS and opens)):
            continue
        found.append(Hit(n, min(stop, n + _MOST_WORDS), "name"))
    return found


_MONTHS = frozenset({"april", "may", "june", "august"})
_ALSO_WORDS = frozenset(
    {
        *("will", "may", "mark", "grace", "hope", "rose", "bill", "pat", "rich", "gay", "dawn"),
        *("joy", "faith", "april", "june", "august", "drew", "chase", "grant", "frank", "jack"),
        *("dean", "miles", "page", "summer", "autumn", "melody", "harmony", "crystal", "amber"),
        *("ruby", "pearl", "ivy", "lily", "iris", "violet", "olive", "ginger", "sandy", "misty"),
        *("rusty", "buddy", "angel", "star", "sky", "precious", "merry", "gene", "max", "king"),
        *("prince", "major", "sterling", "wade", "ward", "reed", "clay", "cliff", "guy", "rob"),
        *("norm", "art", "don", "christian", "charity", "earnest", "ernest", "love", "santa"),
    }
)


def _mandarin(tokens: Sequence[Token]) -> list[Hit]:
    """Return Mandarin names after "my name is" and before a title; one character is one word."""
    text = "".join(t.word if len(t.word) == 1 else "\0" for t in tokens)
    found = []
    for cue in _CUES_ZH:
        at = text.find(cue)
        while at >= 0:
            first = stop = at + len(cue)
            while stop < len(tokens) and stop - first < 3 and _is_ideograph(tokens[stop].word):
                if stop > first and tokens[stop].before:
                    break
                stop += 1
            if stop > first:
                found.append(Hit(first, stop, "name"))
            at = text.find(cue, at + 1)
    for title in _TITLES_ZH:
        at = text.find(title)
        while at >= 0:
            for size in (1, 2, 3):
                first = at - size
                if first >= 0 and text[first] in _SURNAMES_ZH:
                    found.append(Hit(first, at, "name"))
                    break
            at = text.find(title, at + 1)
    return found


def _is_ideograph(word: str) -> bool:
    return len(word) == 1 and "\u3400" <= word <= "\u9fff"


def _is_capital(text: str) -> bool:
    return text[:1].isupper()


def _parted(between: str) -> bool:
    """Return whether a stop parts two words."""
    return any(mark in between for mark in ",;:!?()") or ". " in between


@cache
def _given_names() -> frozenset[str]:
    """Return the given names that ship with the plugin, in lower case."""
    text = files(__package__).joinpath("given_names.txt").read_text(encoding="utf-8")
    return frozenset(text.casefold().split())


# Presidio ----------------------------------------------------------------------------------


def presidio_missing() -> str | None:
    """Return a hint on what is not installed for Presidio, or None."""
    if find_spec("presidio_analyzer") is None or find_spec(_MODEL) is None:
        return f"Presidio and its English model are not installed: {_CURE}"
    return _loaded()[1]


def presidio_finds(
    text: str, kinds: Sequence[PatternKind], names: bool, language: str | None
) -> list[Hit]:
    """Return the hits of Presidio's analyser in an English transcript; none in others.

    Args:
        text: the transcript.
        kinds: patterns that are asked for.
        names: whether names of people are.
        language: BCP 47 tag.

    Raises:
        MissingDependencyError: if Presidio or its model is not installed.
    """
    missing = presidio_missing()
    if missing:
        raise MissingDependencyError(missing)
    if (language or "en").split("-")[0].lower() != "en":
        return []
    wanted = {*kinds, *(("name",) if names else ())}
    entities = [entity for entity, kind in _PRESIDIO.items() if kind in wanted]
    words = split_words(text)
    found = []
    for one in _loaded()[0].analyze(text=text, language="en", entities=entities):
        inside = [
            n for n, word in enumerate(words) if word.start < one.end and word.end > one.start
        ]
        if inside:
            found.append(Hit(inside[0], inside[-1] + 1, _PRESIDIO[one.entity_type]))
    return sorted(found)


@cache
def _loaded() -> tuple[Any, str | None]:
    """Load Presidio with spaCy's English model, once; return it, or None and what fails.

    It asks no network.
    """
    try:
        from presidio_analyzer import AnalyzerEngine
        from presidio_analyzer.nlp_engine import NlpEngineProvider

        models = [{"lang_code": "en", "model_name": _MODEL}]
        provider = NlpEngineProvider(
            nlp_configuration={"nlp_engine_name": "spacy", "models": models}
        )
        engine = AnalyzerEngine(nlp_engine=provider.create_engine(), supported_languages=["en"])
    except Exception as error:
        text = " ".join(str(error).split())[:120]
        return None, f"Presidio is installed and cannot be loaded ({text}): names='rules' works"
    return engine, None
