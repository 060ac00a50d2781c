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

    [speed.fields]
    factor = { zh = "倍数", about = { zh = "2 为两倍速。" } }
    rate = { zh = "快慢", values = { faster = { zh = "加快" } } }

In a phrase, ``[x]`` and the Chinese character before a ``?`` may be left out, ``(x|y)`` is one of
several, and ``{name}`` is a slot.
Phrases name what is peculiar to the edit; words that any request has ("make it sound ...") belong
to the interpreter. ``fields`` is what a page calls the parameters and their values in a language;
a value without a name is called by the first phrase of the slot that chooses it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from stepedit_core.errors import PluginError, explain_validation

if TYPE_CHECKING:
    from stepedit_core.edit import Edit

__all__ = [
    "Ask",
    "Example",
    "FieldNames",
    "Named",
    "Never",
    "Phrases",
    "SlotKind",
    "Spoken",
    "ValueSlot",
    "choices_of",
    "names_problem",
    "read_phrases",
]

SlotKind = Literal["words", "number", "percent", "times", "seconds", "choice", "file"]
_SLOT = re.compile(r"\{(\w+)\}")
_LEFT_OUT = re.compile(r"\[[^\[\]()]*\]\??|\([^\[\]()]*\)\?|[^\[\]()|?]\?")
_FIRST_OF = re.compile(r"\(([^\[\]()|]*)(?:\|[^\[\]()]*)?\)")
OneLine = Annotated[
    str, StringConstraints(min_length=1, max_length=400, pattern=r"^[^\x00-\x1f]+$")
]


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


class Named(_Data):
    """What something is called in a language; None: as the parameters of the edit have it."""

    en: OneLine | None = None
    zh: OneLine | None = None

    def by_language(self) -> dict[str, str]:
        """Return the names that there are, by language."""
        return {key: name for key, name in (("en", self.en), ("zh", self.zh)) if name is not None}


class FieldNames(Named):
    """What a parameter is called, what is said about it, and what its values are called.

    Attributes:
        about: its description.
        values: value, as it is written in JSON without quotes, to what it is called.
    """

    about: Named = Named()
    values: dict[str, Named] = Field(default_factory=dict)


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
        fields: names of parameters and of their values, by parameter.
    """

    does: Does
    whole: bool = False
    slots: dict[str, ValueSlot] = Field(default_factory=dict)
    ask: tuple[Ask, ...]
    never: tuple[Never, ...] = ()
    example: tuple[Example, ...] = Field(min_length=1)
    fields: dict[str, FieldNames] = Field(default_factory=dict)

    def named_fields(self) -> dict[str, FieldNames]:
        """Return ``fields``, with values that have no Chinese name called by their first phrase."""
        found = dict(self.fields)
        for slot_name, slot in self.slots.items():
            field = slot.param or slot_name
            known = found.get(field, FieldNames())
            said = {value: Named(zh=name) for value, name in _first_words(slot)}
            found[field] = known.model_copy(update={"values": said | known.values})
        return {field: names for field, names in found.items() if names != FieldNames()}

    @model_validator(mode="after")
    def _known_slots(self) -> Self:
        """Refuse slots that are not described."""
        for ask in self.ask:
            for _, phrase in ask.phrases():
                for name in _SLOT.findall(phrase):
                    if name not in self.slots:
                        raise ValueError(f"the slot {{{name}}} of {phrase!r} is not described")
        return self


def _first_words(slot: ValueSlot) -> Iterator[tuple[str, str]]:
    """Yield the values of a slot with the shortest form of the first Chinese phrase for each."""
    for value, spoken in slot.choices.items():
        if spoken.zh and (name := _shortest(spoken.zh[0])):
            yield value, name


def _shortest(phrase: str) -> str:
    """Return a phrase without what may be left out, and the first of several ways to put it."""
    before = None
    while before != phrase:
        before, phrase = phrase, _FIRST_OF.sub(r"\1", _LEFT_OUT.sub("", phrase))
    return phrase.split("|")[0].strip()


def names_problem(phrases: Phrases, edit: type[Edit]) -> str | None:
    """Return why the names of fields do not fit an edit, as one line; None where they do.

    Args:
        phrases: of the edit.
        edit: its class, whose JSON Schema says which parameters and values there are.
    """
    schema = edit.model_json_schema()
    known = schema.get("properties", {})
    for field, names in phrases.fields.items():
        if field not in known:
            there = ", ".join(known) or "none"
            return f"{edit.name}.fields.{field}: {edit.name} has no parameter {field!r} ({there})"
        choices = {str(one) for one in choices_of(known[field], schema.get("$defs", {}))}
        for value in names.values:
            if choices and value not in choices:
                there = ", ".join(sorted(choices))
                place = f"{edit.name}.fields.{field}.values"
                return f"{place}: {value!r} is no value of {field} ({there})"
    return None


def choices_of(schema: Mapping[str, Any], shared: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the values that a parameter takes by its JSON Schema; none where it takes any text."""
    if "$ref" in schema:
        yield from choices_of(shared.get(str(schema["$ref"]).rsplit("/", 1)[-1], {}), {})
    yield from schema.get("enum", ())
    if "const" in schema:
        yield schema["const"]
    for several in ("anyOf", "oneOf", "allOf"):
        for one in schema.get(several, ()):
            yield from choices_of(one, shared)
    if "items" in schema:
        yield from choices_of(schema["items"], shared)


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
