"""The strict JSON Schema that a model answers in, made from the installed edits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stepedit_core import Edit, Registry, StepeditError
from stepedit_interpret.confining import MASKED

__all__ = ["Askable", "answer_schema", "askable"]

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
