"""What a model answers in: a strict JSON Schema made from the installed edits, and its check.

Nothing of an answer is believed that is not held by the request.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stepedit_core import (
    Edit,
    Reading,
    Region,
    Registry,
    Setting,
    Span,
    StepeditError,
    explain_validation,
    printable,
    sentence_places,
)
from stepedit_core.dsp.words import normalised, split_words
from stepedit_interpret.confining import MASKED
from stepedit_interpret.regions import occurrences

__all__ = ["Answer", "Askable", "InvalidAnswer", "answer_schema", "askable", "region_data"]

_KEPT = ("type", "enum", "description")
_BOUNDS = {
    "minimum": "at least",
    "maximum": "at most",
    "exclusiveMinimum": "more than",
    "exclusiveMaximum": "less than",
}
WHERE_FIELDS: Mapping[str, Any] = {
    "sentences": {"type": ["array", "null"], "items": {"type": "integer"}},
    "first_word": {"type": ["integer", "null"]},
    "last_word": {"type": ["integer", "null"]},
    "start": {"type": ["number", "null"]},
    "end": {"type": ["number", "null"]},
    "speaker": {"type": ["string", "null"]},
    "everything_but": {"type": "boolean"},
}
MOST_STEPS = 24
MOST_WAYS = 6


class _Inexpressible(Exception):
    """A parameter has no strict schema."""


@dataclass(frozen=True)
class Askable:
    """An edit that a model may ask for.

    Attributes:
        edit_class: the edit.
        does: what it does, for the model.
        whole: it cannot be confined to a region.
        examples: requests and the edits that they ask for.
        schema: strict schema of its parameters.
    """

    edit_class: type[Edit]
    does: str
    whole: bool
    examples: tuple[tuple[str, str], ...]
    schema: Mapping[str, Any]


def askable(registry: Registry) -> dict[str, Askable]:
    """Return the edits that a model may ask for, by name.

    ``masked`` is left out, since regions lead to it, and so is an edit whose required parameters
    have no strict schema. Phrases are read where an edit has them.
    """
    found = {}
    for name, info in registry.edits().items():
        if name == MASKED:
            continue
        schema = _parameters(info.edit_class)
        if schema is None:
            continue
        does, whole = (info.edit_class.__doc__ or name).split("\n")[0], False
        examples: tuple[tuple[str, str], ...] = ()
        try:
            phrases = registry.phrases(info.edit_class)
        except StepeditError:
            pass
        else:
            does, whole = phrases.does.en, phrases.whole
            examples = tuple((one.say, one.edit) for one in phrases.example[:3])
        found[name] = Askable(info.edit_class, does, whole, examples, schema)
    return found


def answer_schema(edits: Mapping[str, Askable]) -> dict[str, Any]:
    """Return the schema of a whole answer.

    It keeps to what strict decoding takes everywhere: every property required, none else allowed,
    null for what is left out, no bounds (these stand in the descriptions and are checked after).
    """
    steps = {"type": "array", "items": {"anyOf": [_step(n, one) for n, one in edits.items()]}}
    return _object(
        {
            "outcome": {"type": "string", "enum": ["chain", "refused", "ambiguous"]},
            "steps": steps,
            "alternatives": {"type": "array", "items": steps},
            "reason": {
                "type": ["string", "null"],
                "description": "Why it is refused, or what has to be chosen; one sentence.",
            },
        }
    )


def _step(name: str, one: Askable) -> dict[str, Any]:
    """Return the schema of one step."""
    where = {"anyOf": [_object(WHERE_FIELDS), {"type": "null"}]}
    return _object(
        {
            "edit": {"type": "string", "enum": [name]},
            "parameters": one.schema,
            "where": {"type": "null"} if one.whole else where,
            "read_from": {
                "type": "string",
                "description": "The words of the request that ask for this step, copied exactly.",
            },
        }
    )


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def _parameters(edit_class: type[Edit]) -> dict[str, Any] | None:
    """Return the strict schema of an edit's parameters, None where a required one has none."""
    plain = edit_class.model_json_schema()
    required = set(plain.get("required", ()))
    properties = {}
    for name, schema in plain.get("properties", {}).items():
        try:
            strict = _strict(schema, plain.get("$defs", {}))
        except _Inexpressible:
            if name in required:
                return None
            continue
        properties[name] = strict if name in required else _or_null(strict)
    return _object(properties)


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema that takes null too, which leaves a parameter at its default."""
    options = schema.get("anyOf", [schema])
    if {"type": "null"} in options:
        return schema
    described = {key: schema[key] for key in ("description",) if key in schema}
    return {"anyOf": [*options, {"type": "null"}], **described}


def _strict(schema: Mapping[str, Any], defs: Mapping[str, Any], depth: int = 0) -> dict[str, Any]:
    """Return a schema in the strict subset; raises _Inexpressible."""
    if depth > 6 or "prefixItems" in schema:
        raise _Inexpressible
    if "$ref" in schema:
        return _strict(defs[schema["$ref"].rsplit("/", 1)[-1]], defs, depth + 1)
    out = {key: schema[key] for key in _KEPT if key in schema}
    if "const" in schema:
        out["enum"] = [schema["const"]]
    bounds = [f"{said} {schema[key]:g}" for key, said in _BOUNDS.items() if key in schema]
    if bounds:
        out["description"] = " ".join([str(out.get("description", "")), *bounds]).strip()
    if "anyOf" in schema:
        return {**out, "anyOf": [_strict(one, defs, depth + 1) for one in schema["anyOf"]]}
    match schema.get("type"):
        case "array":
            out["items"] = _strict(schema["items"], defs, depth + 1)
        case "object":
            inner = schema.get("properties")
            if not inner or schema.get("additionalProperties"):
                raise _Inexpressible
            return out | _object({key: _strict(one, defs, depth + 1) for key, one in inner.items()})
        case "string" | "number" | "integer" | "boolean" | "null":
            pass
        case _:
            raise _Inexpressible
    return out


class InvalidAnswer(Exception):
    """What is wrong with an answer, in one line that a model can read."""


class _Where(BaseModel):
    """Where a step is confined to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sentences: list[int] | None = None
    first_word: int | None = None
    last_word: int | None = None
    start: float | None = None
    end: float | None = None
    speaker: str | None = Field(default=None, max_length=100)
    everything_but: bool = False


class _Step(BaseModel):
    """One edit of an answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    edit: str
    parameters: dict[str, Any]
    where: _Where | None = None
    read_from: str


class _Answer(BaseModel):
    """A whole answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    outcome: Literal["chain", "refused", "ambiguous"]
    steps: list[_Step] = Field(max_length=MOST_STEPS)
    alternatives: list[list[_Step]] = Field(default=[], max_length=MOST_WAYS)
    reason: str | None = None


class Answer:
    """A valid answer.

    Attributes:
        outcome: ``chain``, ``refused`` or ``ambiguous``.
        ways: readings of the chain, or of each alternative.
        reason: why it is refused, or what has to be chosen; one line.
    """

    def __init__(
        self,
        text: str,
        edits: Mapping[str, Askable],
        setting: Setting,
        sentence: str,
        earlier: Sequence[Reading],
    ) -> None:
        """Read and check an answer.

        Raises:
            InvalidAnswer: if it is no JSON of the schema, or a step is none of this request.
        """
        try:
            found = _Answer.model_validate(json.loads(text))
        except ValidationError as error:
            raise InvalidAnswer(explain_validation(error)) from error
        except (ValueError, RecursionError) as error:
            raise InvalidAnswer(f"no JSON ({printable(str(error), 80)})") from error
        self._edits, self._setting = edits, setting
        self._sentence, self._earlier = sentence, earlier
        self.outcome = found.outcome
        self.reason = printable(" ".join((found.reason or "").split()), 240) or "no reason given"
        if found.outcome == "refused":
            self.ways: tuple[tuple[Reading, ...], ...] = ()
            return
        ways = [found.steps] if found.outcome == "chain" else found.alternatives
        if found.outcome == "ambiguous" and len(ways) < 2:
            raise InvalidAnswer("an ambiguous answer has at least two alternatives")
        self.ways = tuple(tuple(map(self._reading, way)) for way in ways)
        if not earlier and not all(self.ways):
            raise InvalidAnswer("a chain has at least one step; otherwise the outcome is refused")

    def _reading(self, step: _Step) -> Reading:
        """Return one step as a reading; raises InvalidAnswer."""
        known = self._edits.get(step.edit)
        if known is None:
            there = ", ".join(self._edits)
            raise InvalidAnswer(f"no edit {printable(step.edit, 40)!r}; there are {there}")
        given = {key: value for key, value in step.parameters.items() if value is not None}
        try:
            edit = known.edit_class(**given)
        except ValidationError as error:
            why = explain_validation(error, known.edit_class.model_fields)
            raise InvalidAnswer(f"{step.edit}: {why}") from error
        region = None if step.where is None else _region(step.where, self._setting)
        if region is not None and known.whole:
            raise InvalidAnswer(f"{step.edit} works on the whole recording; its where is null")
        self._held(step, edit, region)
        return Reading(edit, region, " ".join(step.read_from.split()))

    def _held(self, step: _Step, edit: Edit, region: Region | None) -> None:
        """Hold that the request, and nothing else such as the transcript, asks for a step."""
        if any(one.edit == edit and one.region == region for one in self._earlier):
            return  # it was asked for before
        sources = (self._sentence, *(one.source for one in self._earlier))
        said = _plain(step.read_from)
        if not said or not any(said in _plain(source) for source in sources):
            raise InvalidAnswer(
                f"read_from of {step.edit} is {printable(step.read_from, 60)!r}, which are not "
                "words of the request; what the transcript asks for is never done"
            )


def _plain(text: str) -> str:
    """Return the words of a text alone, as they are compared."""
    words = " ".join(normalised(word.text) for word in split_words(text))
    return f" {words} " if words else ""


def _region(where: _Where, setting: Setting) -> Region | None:
    """Return the region of an answer; raises InvalidAnswer where there is no such one."""
    spoken = where.first_word is not None or where.last_word is not None
    timed = where.start is not None or where.end is not None
    ways = [bool(where.sentences), spoken, timed, where.speaker is not None]
    if not any(ways):
        return None
    if sum(ways) > 1:
        raise InvalidAnswer("where names one of sentences, words, seconds and speaker")
    outside = where.everything_but
    if where.sentences:
        return Region(sentences=_sentences(where.sentences, setting), outside=outside)
    if where.speaker is not None:
        return Region(speaker=where.speaker, outside=outside)
    if timed:
        return Region(spans=(_span(where, setting),), outside=outside)
    phrase, occurrence = _phrase(where, setting)
    return Region(words=phrase, occurrence=occurrence, outside=outside)


def _sentences(numbers: Sequence[int], setting: Setting) -> tuple[int, ...]:
    """Return the numbers of sentences that there are."""
    count = len(sentence_places(setting.text)) if setting.text else None
    for number in numbers:
        if number < 1 or (count is not None and number > count):
            raise InvalidAnswer(f"there is no sentence {number}; there are {count or 'unknown'}")
    return tuple(sorted(set(numbers)))


def _span(where: _Where, setting: Setting) -> Span:
    """Return a span in seconds inside the recording."""
    start = where.start or 0.0
    end = where.end if where.end is not None else setting.seconds
    if end is None:
        raise InvalidAnswer("the duration is not known; give the end")
    most = setting.seconds
    if not 0 <= start < end or (most is not None and end > most + 0.01):
        raise InvalidAnswer(f"{start:g} to {end:g} s is no span of a recording of {most} s")
    return Span(start, end)


def _phrase(where: _Where, setting: Setting) -> tuple[str, int | None]:
    """Return the words of two numbers as a phrase, and which occurrence they are."""
    text = setting.text or ""
    words = split_words(text)
    first = where.first_word if where.first_word is not None else where.last_word
    last = where.last_word if where.last_word is not None else first
    assert first is not None and last is not None
    if not 1 <= first <= last <= len(words):
        raise InvalidAnswer(f"there are no words {first} to {last}; there are {len(words)}")
    phrase = text[words[first - 1].start : words[last - 1].end]
    at = occurrences(text, phrase)
    return phrase, at.index(first - 1) + 1 if len(at) > 1 else None


def region_data(region: Region | None, setting: Setting) -> dict[str, Any] | None:
    """Return a region in the form of an answer's ``where``, words by their numbers."""
    if region is None:
        return None
    where = _Where(everything_but=region.outside, speaker=region.speaker)
    found: dict[str, Any] = {}
    if region.sentences:
        found["sentences"] = list(region.sentences)
    elif region.spans:
        found |= {"start": region.spans[0].start, "end": region.spans[-1].end}
    elif region.words is not None:
        at = occurrences(setting.text or "", region.words)
        if at:
            first = at[(region.occurrence or 1) - 1] + 1
            last = first + len(split_words(region.words)) - 1
            found |= {"first_word": first, "last_word": last}
    return where.model_copy(update=found).model_dump()
