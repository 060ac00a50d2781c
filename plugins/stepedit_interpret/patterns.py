"""Phrases of all installed edits, compiled to regular expressions once for each registry."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

from stepedit_core import Ask, Edit, Phrases, PluginError, Registry, ValueSlot
from stepedit_interpret.lexicon import QUOTE
from stepedit_interpret.numbers import NUMBER, read_number
from stepedit_interpret.required import required_words

__all__ = ["Known", "Pattern", "Vocabulary", "vocabulary"]

_PIECE = re.compile(r"\{(\w+)\}|([\[\]()|?])|([a-z0-9][a-z0-9'-]*)|(\s+)|(.)", re.IGNORECASE)
_BRACKETS = {"[": "(?:", "]": ")?", "(": "(?:", ")": ")", "|": "|", "?": "?"}
_TIMES = (
    rf"(?:twice|thrice|double(?:d)?|triple|half|halve|(?:by\s+)?(?:a\s+factor\s+of\s+)?{NUMBER}"
    r"\s*(?:times|x|×|倍速|倍)|一半)"
)
_PERCENT = (
    rf"(?:{NUMBER}\s*(?:%|percent|per\s+cent)|百分之\s*{NUMBER}|[一二两三四五六七八九]成(?!为))"
)
_MOST_KEPT = 512
_ARTICLE = r"\b(?:a\s+couple(?:\s+of)?|couple\s+of|an?)\b"
FREE = ("words", "file")
"""Kinds of slots that take the user's own words."""
FILE = r"(?:[\w~./\\:-]*[\w-]\.(?:wav|flac|mp3|ogg|opus|m4a|aac|webm|aiff?))"
"""A file by its path."""
_SECONDS = rf"(?:(?:{NUMBER}|half|\ban?\b)[\s-]*(?:milliseconds?|ms|毫秒|seconds?|secs?|s\b|秒钟?))"


@dataclass(frozen=True)
class Pattern:
    """One phrase of an edit.

    Attributes:
        known: the edit.
        ask: what the phrase belongs to.
        number: which ask of the edit, for messages and later changes.
        regex: the phrase, one group for each slot.
        slots: names of its slots.
        has_words: whether a slot takes free words; such phrases have to be all of a request.
        needs: one of these words stands in any text that it matches; empty: not known.
    """

    known: Known
    ask: Ask
    number: int
    regex: re.Pattern[str]
    slots: tuple[str, ...]
    has_words: bool
    needs: frozenset[str] = frozenset()


@dataclass(frozen=True, eq=False)
class Known:
    """An edit class with its phrases."""

    edit_class: type[Edit]
    phrases: Phrases

    @property
    def name(self) -> str:
        """Registered name of the edit."""
        return self.edit_class.name

    @cached_property
    def never(self) -> list[tuple[re.Pattern[str], str]]:
        """What is refused, with the reason."""
        return [
            (re.compile(regex_of(phrase, language, self.phrases.slots)), one.because)
            for one in self.phrases.never
            for language, phrase in one.phrases()
        ]

    def patterns(self) -> Iterator[Pattern]:
        """Yield every phrase, compiled."""
        for number, ask in enumerate(self.phrases.ask):
            seen: set[str] = set()
            for language, phrase in ask.phrases():
                if phrase in seen:  # "{to}" is the same in every language
                    continue
                seen.add(phrase)
                slots = tuple(match for match in re.findall(r"\{(\w+)\}", phrase))
                has_words = any(self.phrases.slots[name].kind in FREE for name in slots)
                regex = re.compile(regex_of(phrase, language, self.phrases.slots))
                needs = required_words(phrase, self.phrases.slots)
                yield Pattern(self, ask, number, regex, slots, has_words, needs)

    def prepare(self) -> None:
        """Compile what is compiled on first use, so that no sentence waits for it."""
        _ = self.never, self._choices

    @cached_property
    def _choices(self) -> Mapping[str, list[tuple[re.Pattern[str], str]]]:
        """The words for each value of each slot that is a choice."""
        return {
            name: [
                (re.compile(regex_of(word, language, {}, inflect=True)), value)
                for value, spoken in slot.choices.items()
                for language, word in spoken.phrases()
            ]
            for name, slot in self.phrases.slots.items()
            if slot.kind == "choice"
        }

    def value(self, name: str, text: str) -> tuple[str, Any]:
        """Return parameter and value of what stands in a slot that takes no free words."""
        slot = self.phrases.slots[name]
        param = slot.param or name
        if slot.kind == "choice":
            return param, next(v for regex, v in self._choices[name] if regex.fullmatch(text))
        value = slot.offset + slot.scale * _amount(slot.kind, text)
        if slot.inverse and value > 1:  # "slower by half" is half the speed as it stands
            value = 1 / value
        return param, round(value, 4)


def _amount(kind: str, text: str) -> float:
    """Return the number that an amount says; percent as percent, times as times."""
    text = text.strip().lower()
    if kind == "times":
        named = {"twice": 2, "thrice": 3, "double": 2, "doubled": 2, "triple": 3, "half": 0.5}
        named |= {"halve": 0.5, "一半": 0.5}
        if text in named:
            return float(named[text])
    if kind == "percent" and text.endswith("成"):
        return 10 * read_number(text[0])
    if kind == "number" and re.fullmatch(_ARTICLE, text):
        return 2.0 if "couple" in text else 1.0
    found = re.search(NUMBER, text.replace("百分之", "").replace("factor of", ""))
    bare = 0.5 if "half" in text else 1.0 if re.match(r"an?\b", text) else 0.0
    number = read_number(found.group()) if found else bare
    if kind == "seconds" and re.search(r"ms|milli|毫秒", text):
        return number / 1000
    return number


def _inflected(word: str) -> str:
    """Return an English word with the endings that comparison and adverbs give it."""
    if len(word) < 4:
        return re.escape(word)
    if word.endswith("y"):
        return f"{re.escape(word[:-1])}(?:y|ier|iest|ily|iness)"
    if word.endswith("e"):
        return f"{re.escape(word[:-1])}(?:e|er|est|ely|y|eness)"
    return f"{re.escape(word)}(?:er|est|ly|ness|y)?"


def regex_of(
    phrase: str, language: str, slots: Mapping[str, ValueSlot], *, inflect: bool = False
) -> str:
    """Return a phrase as a regular expression; blanks and word boundaries as the language has.

    Args:
        phrase: as a plugin writes it.
        language: ``en`` or ``zh``.
        slots: what may stand in its slots.
        inflect: English words may have the endings of comparison and of adverbs.
    """
    parts: list[str] = []
    for slot, bracket, word, blank, other in _PIECE.findall(phrase):
        if slot:
            parts.append(rf"\s*(?P<{slot}>{_slot_regex(slots[slot])})\s*")
        elif bracket:
            parts.append(_BRACKETS[bracket])
        elif word:
            edge = r"\b" if language == "en" else ""
            begins = r"(?<![a-z])" if edge and word[0].isalpha() else edge  # "3dB", "2x"
            stem = _inflected(word.lower()) if inflect and edge else re.escape(word.lower())
            ends = r"(?![a-z])" if edge and word[-1].isalpha() else edge
            parts.append(f"{begins}{stem}{ends}")
        elif blank:
            parts.append(r"\s*")
        else:
            parts.append(re.escape(other))
    return "".join(parts)


def _slot_regex(slot: ValueSlot) -> str:
    """Return what may stand in a slot."""
    match slot.kind:
        case "words":
            return QUOTE if slot.quoted else rf"{QUOTE}|.+?"
        case "choice":
            every = [
                (language, regex_of(word, language, {}, inflect=True))
                for spoken in slot.choices.values()
                for language, word in spoken.phrases()
            ]
            english = sorted((x for which, x in every if which == "en"), key=len, reverse=True)
            chinese = sorted((x for which, x in every if which != "en"), key=len, reverse=True)
            # Most places of a text begin no word: one look at the letter before saves them all.
            begun = rf"(?<![a-z])(?=[a-z])(?:{'|'.join(english)})" if english else ""
            other = rf"(?=[\u3400-\u9fff])(?:{'|'.join(chinese)})" if chinese else ""
            return "|".join(filter(None, (begun, other)))
        case "percent":
            return _PERCENT
        case "times":
            return _TIMES
        case "seconds":
            return _SECONDS
        case "file":
            return rf"{QUOTE}|{FILE}"
        case _:
            return rf"{NUMBER}|{_ARTICLE}"


@dataclass(eq=False)
class Vocabulary:
    """All that can be asked for.

    Attributes:
        known: the edits with phrases.
        mute: names of installed edits without any.
        patterns: every phrase, those with free words first.
    """

    known: list[Known] = field(default_factory=list)
    mute: list[str] = field(default_factory=list)
    patterns: list[Pattern] = field(default_factory=list)
    _found: dict[str, list[Pattern]] = field(default_factory=dict, repr=False)

    @cached_property
    def _index(self) -> tuple[dict[str, list[int]], list[int]]:
        """The patterns by a word that they need, and those that need none."""
        by_word: dict[str, list[int]] = {}
        always = []
        for number, pattern in enumerate(self.patterns):
            if not pattern.needs:
                always.append(number)
            for word in pattern.needs:
                by_word.setdefault(word, []).append(number)
        return by_word, always

    def candidates(self, text: str) -> list[Pattern]:
        """Return the patterns that may match in a text, in their order."""
        found = self._found.get(text)
        if found is None:
            by_word, always = self._index
            numbers = {n for word, some in by_word.items() if word in text for n in some}
            found = [self.patterns[n] for n in sorted(numbers.union(always))]
            if len(self._found) >= _MOST_KEPT:
                self._found.clear()
            self._found[text] = found
        return found

    @classmethod
    def of(cls, registry: Registry) -> Vocabulary:
        """Ask every edit for its phrases.

        Raises:
            PluginError: if phrases are wrong, or two plugins bring them for one edit.
        """
        found = cls()
        for name, info in registry.edits().items():
            try:
                phrases = registry.phrases(info.edit_class)
            except PluginError as error:
                if not str(error).startswith("no plugin brings"):
                    raise
                found.mute.append(name)
                continue
            known = Known(info.edit_class, phrases)
            known.prepare()
            found.known.append(known)
            found.patterns += known.patterns()
        return found


_kept: WeakKeyDictionary[Registry, tuple[tuple[str, ...], Vocabulary]] = WeakKeyDictionary()


def vocabulary(registry: Registry) -> Vocabulary:
    """Return the vocabulary of a registry, made anew where its plugins have changed."""
    now = tuple(f"{name} {info.plugin}" for name, info in registry.edits().items())
    kept = _kept.get(registry)
    if kept is None or kept[0] != now:
        kept = (now, Vocabulary.of(registry))
        _kept[registry] = kept
    return kept[1]
