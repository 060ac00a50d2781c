"""Phrases: the ways in which people ask for an edit, as data that its plugin ships.

A ``phrases.toml`` has one table per edit of the plugin::

    [speed]
    does = { en = "change how fast it is said", zh = "改变语速" }

    [speed.slots.up]
    kind = "percent"
    param = "factor"
    offset = 1.0
    scale = 0.01

    [[speed.ask]]
    en = ["faster", "speed up", "{up} faster"]
    zh = ["加快[语速]"]
    params = { rate = "faster" }
    little = { factor = 1.1 }

    [[speed.example]]
    say = "a bit faster"
    edit = "speed:factor=1.1"

In a phrase, ``[x]`` and the Chinese character before a ``?`` may be left out, ``(x|y)`` is one of
several, and ``{name}`` is a slot.
Phrases name what is peculiar to the edit; words that any request has ("make it sound ...") belong
to the interpreter.
"""

from __future__ import annotations

import re
import tomllib
from functools import lru_cache
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from stepedit_core.errors import PluginError, explain_validation

__all__ = ["Ask", "Example", "Never", "Phrases", "SlotKind", "Spoken", "ValueSlot", "read_phrases"]

SlotKind = Literal["words", "number", "percent", "times", "seconds", "choice", "file"]
_SLOT = re.compile(r"\{(\w+)\}")


class _Data(BaseModel):
    """Frozen data that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Spoken(_Data):
    """The same thing in English and in Mandarin."""

    en: tuple[str, ...] = ()
    zh: tuple[str, ...] = ()

    def phrases(self) -> tuple[tuple[str, str], ...]:
        """Return pairs of language and phrase."""
        return tuple(("en", one) for one in self.en) + tuple(("zh", one) for one in self.zh)

    @model_validator(mode="after")
    def _balanced(self) -> Self:
        """Refuse brackets that do not close."""
        for _, phrase in self.phrases():
            for opening, closing in ("[]", "()", "{}"):
                if phrase.count(opening) != phrase.count(closing):
                    raise ValueError(f"a bracket {opening}{closing} of {phrase!r} is not closed")
            if not phrase.strip():
                raise ValueError("a phrase is empty")
        return self


class Does(_Data):
    """Summary of an edit, in a few words."""

    en: str
    zh: str


class ValueSlot(_Data):
    """Slot of a phrase: the values that it takes, and the parameter that it fills.

    Attributes:
        kind: ``words`` (a text), ``number``, ``percent``, ``times`` ("twice", "1.5 times"),
            ``seconds``, ``choice`` or ``file`` (the path of a sound file).
        param: name of the parameter; the slot's own name where it is left out.
        offset: added to the number after scaling.
        scale: what the number is multiplied by.
        inverse: whether one over the result is meant.
        said: the words have to be in the transcript.
        quoted: the words have to stand in quotes.
        choices: value to the words for it, where the kind is ``choice``.
    """

    kind: SlotKind
    param: str | None = None
    offset: float = 0.0
    scale: float = 1.0
    inverse: bool = False
    said: bool = False
    quoted: bool = False
    choices: dict[str, Spoken] = Field(default_factory=dict)


class Ask(Spoken):
    """Phrases that ask for one setting of the edit's parameters.

    Attributes:
        params: parameters that the phrases stand for.
        verb: what has to be asked about it: ``remove`` ("take out the ..."), ``add``, ``raise``
            ("turn the ... up") or ``lower``.
        about: words that may stand beside it: the volume, where the phrase is "3 dB".
        must: one of them has to.
        little: parameters in their stead for "a bit ..." and "slightly".
        much: parameters in their stead for "much ..." and "a lot".
        place: where in the text is part of the request: ``tag`` writes the slot's value in
            square brackets into the transcript and gives it as ``text``, ``fields`` fills
            ``after``, ``before`` and ``at``.
        region: the parameter that takes the words of a region ("delete the second sentence").
        explicit: words without quotes are taken as they are even where no transcript is known.
    """

    params: dict[str, Any] = Field(default_factory=dict)
    verb: Literal["remove", "add", "raise", "lower"] | None = None
    about: tuple[str, ...] = ()
    must: bool = False
    little: dict[str, Any] | None = None
    much: dict[str, Any] | None = None
    place: Literal["tag", "fields"] | None = None
    region: str | None = None
    explicit: bool = False


class Never(Spoken):
    """Phrases that sound like the edit and are not: refused with a reason."""

    because: str


class Example(_Data):
    """A request and the edit that it has to give.

    Attributes:
        say: the request.
        edit: the edit in its one-line form.
        text: the transcript, where the request depends on it.
    """

    say: str
    edit: str
    text: str | None = None


class Phrases(_Data):
    """All that a plugin says of how people ask for one edit.

    Attributes:
        does: what the edit does, for lists and refusals.
        whole: it works on the whole utterance and cannot be confined to a region.
        slots: slots by name.
        ask: the phrases.
        never: what is refused.
        example: requests that have to work; ``stepedit check`` tries them.
    """

    does: Does
    whole: bool = False
    slots: dict[str, ValueSlot] = Field(default_factory=dict)
    ask: tuple[Ask, ...]
    never: tuple[Never, ...] = ()
    example: tuple[Example, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _known_slots(self) -> Self:
        """Refuse slots that are not described."""
        for ask in self.ask:
            for _, phrase in ask.phrases():
                for name in _SLOT.findall(phrase):
                    if name not in self.slots:
                        raise ValueError(f"the slot {{{name}}} of {phrase!r} is not described")
        return self


@lru_cache(maxsize=128)
def read_phrases(text: str, edit: str, source: str = "phrases.toml") -> Phrases:
    """Read the phrases of one edit from the text of a ``phrases.toml``.

    Args:
        text: content of the file.
        edit: registered name; the table to read.
        source: the file, for messages.

    Raises:
        PluginError: if the text is no TOML, has no such table, or a value is wrong.
    """
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise PluginError(f"{source}: not TOML ({error})") from error
    table = data.get(edit)
    if not isinstance(table, dict):
        raise PluginError(f"{source}: no table [{edit}] for the edit of that name")
    try:
        return Phrases.model_validate(table)
    except ValidationError as error:
        raise PluginError(f"{source}: {edit}: {explain_validation(error)}") from error
