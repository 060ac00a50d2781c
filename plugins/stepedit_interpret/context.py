"""What a request is read with, and what reading it gives."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from stepedit_core import (
    Ask,
    Edit,
    InterpretationError,
    Reading,
    Region,
    Setting,
    StepeditError,
    explain_validation,
)
from stepedit_interpret.lexicon import (
    CARRIERS,
    EVEN,
    LITTLE,
    MUCH,
    OPPOSITE,
    POLITE_AFTER,
    POLITE_BEFORE,
    REMOVE,
    TIMES,
    VERBS,
)
from stepedit_interpret.patterns import Pattern, Vocabulary
from stepedit_interpret.wording import Wording

__all__ = [
    "Context",
    "Effort",
    "Exhausted",
    "Origin",
    "Unread",
    "Ways",
    "built",
    "cleaned",
    "is_covered",
]


class Unread(InterpretationError):
    """A request that cannot be read; ``specific`` says whether the text tells why."""

    def __init__(self, message: str, *, specific: bool = False) -> None:
        """Keep whether the reason is known."""
        super().__init__(message)
        self.specific = specific


class Exhausted(StepeditError):
    """A sentence has cost as much work as one may cost."""


_CONDITION = re.compile(
    r"\b(?:(?<!as\s)if|unless|until|till|than|whenever|instead|onwards?|instead\s+of|rather\s+than)\b"
    r"|如果|要是|除非|直到"
)
_THE_SPEECH = re.compile(
    r"(?:" + REMOVE.pattern + r")\s+(?:(?:only|just|all|the|my|his|her|their|this|that|any)\s+)*"
    r"(?:voices?|speech|speakers?|vocals?|audio|recording|person|woman|man|narrator)\b(?!\s*¦)"
)
_CHANGE = re.compile(r"\b(?:change|convert|transform|switch|edit)\b")
_TAKEN_OUT = re.compile(r"\b(?:tak(?:e|ing)|get|leave|put)\b.*\b(?:out|away|off)\b")
_WORDS = re.compile(r"\b(?:words?|phrase)\b")
_INTO = re.compile(r"\b(?:to|into|so)\b|¦.*(?:version|style|voice|tone|emotion)")


@dataclass(frozen=True)
class Origin:
    """What a reading was made of, for corrections.

    Attributes:
        pattern: the phrase.
        degree: -1 for "a bit", 1 for "much", 0 for neither.
        values: parameters from slots.
    """

    pattern: Pattern
    degree: int
    values: Mapping[str, Any] = field(default_factory=dict)


MOST_EFFORT = 500_000


@dataclass(eq=False)
class Effort:
    """How much one sentence may cost: characters that phrases are looked for in, added up.

    Counted, not timed, so that the same sentence is always read or always refused.
    """

    left: int = MOST_EFFORT

    def spend(self, characters: int) -> None:
        """Take from what is left.

        Raises:
            Exhausted: if nothing is left.
        """
        self.left -= characters
        if self.left < 0:
            raise Exhausted("the sentence is too long to be read at once; say it in several")


@dataclass(frozen=True)
class Context:
    """What a request may lean on.

    Attributes:
        vocabulary: what can be asked for.
        setting: what is known of the utterance.
        verb: ``remove`` or ``add`` where the request before asked so.
        region: where the request before was confined to.
        inherits: a request without a verb may take over verb and region.
        lead: how the request before began, up to its first free words.
        words: new words that the request before put in: "that word" means them.
        kept: what must not be touched: "the rest" is all but that.
        spoken: what a statement before spoke of: the next request is about it.
        effort: what reading the sentence may still cost.
    """

    vocabulary: Vocabulary
    setting: Setting
    verb: str | None = None
    region: Region | None = None
    inherits: bool = False
    lead: str = ""
    words: str | None = None
    kept: Region | None = None
    spoken: Region | None = None
    effort: Effort = field(default_factory=Effort, compare=False, repr=False)


@dataclass(frozen=True)
class Ways:
    """The ways to read a request: one, or several to choose from.

    Attributes:
        ways: readings of each way.
        verb: ``remove`` or ``add`` where it was said.
        region: the region it named or took over.
        question: what has to be chosen.
        lead: what stands before the first free words, which a request after it may leave out.
        words: new words that it puts in.
        complains: it says what is wrong: a request after it may say what to do about it.
    """

    ways: tuple[tuple[Reading, ...], ...]
    verb: str | None = None
    region: Region | None = None
    question: str = ""
    lead: str = ""
    words: str | None = None
    complains: bool = False


def cleaned(request: Wording) -> Wording:
    """Return a request without the polite words around it."""
    while True:
        request = request.stripped()
        if before := POLITE_BEFORE.match(request.low):
            request = request.part(before.end(), len(request.low))
        elif after := POLITE_AFTER.search(request.low):
            request = request.part(0, after.start())
        else:
            return request


def built(pattern: Pattern, degree: int, values: Mapping[str, Any]) -> Edit:
    """Return the edit of a phrase; raises Unread where a parameter is out of range."""
    ask = pattern.ask
    params: dict[str, Any] = dict(ask.params)
    has_amount = any(
        pattern.known.phrases.slots[name].kind not in ("words", "choice") for name in pattern.slots
    )
    if has_amount and not pattern.has_words and not ask.place and "at" not in params:
        params = {}
    elif degree < 0 and ask.little is not None:
        params = dict(ask.little)
    elif degree > 0 and ask.much is not None:
        params = dict(ask.much)
    edit_class = pattern.known.edit_class
    try:
        return edit_class(**{**params, **values})
    except ValidationError as error:
        why = explain_validation(error, edit_class.model_fields)
        raise Unread(f"{edit_class.name}: {why}", specific=True) from error


def is_covered(left: str, ask: Ask) -> bool:
    """Return whether nothing is left that a request would not have anyway.

    Args:
        left: the request without its phrase.
        ask: what the phrase belongs to.
    """
    verb = ask.verb
    if _CONDITION.search(left) or (verb == "remove" and _THE_SPEECH.search(left)):
        return False
    if verb is None and _TAKEN_OUT.search(left):
        return False
    if verb == "remove" and _WORDS.search(left):
        return False  # "delete the noise word" is about a word
    if verb in OPPOSITE and OPPOSITE[verb].search(left):
        return False
    if ask.about:
        whole = left
        for word in ask.about:
            edge = r"\b" if word.isascii() else ""
            left = re.sub(rf"{edge}{re.escape(word)}{edge}", " ", left)
        if ask.must and left == whole:
            return False
    for regex in (TIMES, LITTLE, MUCH):
        left = regex.sub(" ", left)
    if verb is not None:
        left = VERBS[verb].sub(" ", left)
    if _CHANGE.search(left) and not _INTO.search(left):
        return False
    left = CARRIERS.sub(" ", EVEN.sub(" ", left))
    return not re.sub(r"[\s¦,.;:!?'，。；：！？、\-]", "", left)
