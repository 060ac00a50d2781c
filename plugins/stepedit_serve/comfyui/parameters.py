"""From an edit's JSON Schema to a node's inputs, and from what a node was given to the edit.

ComfyUI's widgets always hold a value. Where a parameter may be left out, its widget is a text or a
choice, and an empty one leaves it out; lists and objects are written as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

__all__ = ["RESERVED", "edit_of", "inputs_of"]

RESERVED = ("audio", "transcript", "language", "seed", "route", "accept", "consent_attestation")
_UNSET = "(default)"


def inputs_of(io: Any, schema: Mapping[str, Any]) -> list[Any]:
    """Return an input for each parameter of an edit.

    Args:
        io: ``comfy_api.latest.io``.
        schema: JSON Schema of the edit's parameters.
    """
    needed = schema.get("required", ())
    return [
        _input(io, name, part, name in needed)
        for name, part in schema.get("properties", {}).items()
    ]


def edit_of(name: str, schema: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return an edit's JSON data.

    Args:
        name: of the edit.
        schema: JSON Schema of its parameters.
        given: what the node's widgets hold, by input id.

    Raises:
        ValueError: if a parameter is no valid JSON.
    """
    made: dict[str, Any] = {"edit": name}
    for key, part in schema.get("properties", {}).items():
        value = given.get(_id(key))
        if (
            value is None
            or value == _UNSET
            or (value == "" and key not in schema.get("required", ()))
        ):
            continue
        made[key] = _value(key, part, value)
    return made


def _id(name: str) -> str:
    """Return the id of a parameter's input; a few ids are the node's own."""
    return f"{name}_" if name in RESERVED else name


def _kind(part: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
    """Return the schema of a value, and whether null stands beside it; no schema: it is JSON."""
    options = [one for one in part.get("anyOf", [part]) if one.get("type") != "null"]
    may_be_null = len(options) < len(part.get("anyOf", [part]))
    return (options[0] if len(options) == 1 else {}), may_be_null


def _input(io: Any, name: str, part: Mapping[str, Any], is_needed: bool) -> Any:
    """Return the input of one parameter."""
    kind, may_be_null = _kind(part)
    default = part.get("default")
    facts: dict[str, Any] = {
        "display_name": name.replace("_", " "),
        "tooltip": " ".join(str(part.get("description", "")).replace("``", "").split()) or None,
    }
    named = _id(name)
    if "enum" in kind:
        options = [*([] if is_needed else [_UNSET]), *map(str, kind["enum"])]
        chosen = options[0] if default is None else str(default)
        return io.Combo.Input(named, options=options, default=chosen, **facts)
    type_ = kind.get("type")
    if type_ == "boolean" and not may_be_null:
        return io.Boolean.Input(named, default=bool(default), **facts)
    if type_ in ("number", "integer") and not may_be_null:
        return _number(io, named, kind, default, facts)
    text = "" if default is None else default if isinstance(default, str) else json.dumps(default)
    return io.String.Input(named, default=text, multiline=_is_long(kind), **facts)


def _number(
    io: Any, name: str, kind: Mapping[str, Any], default: Any, facts: Mapping[str, Any]
) -> Any:
    """Return the input of a number that is always given."""
    least, most = kind.get("minimum"), kind.get("maximum")
    start = default if default is not None else least if least is not None else 0
    if kind["type"] == "integer":
        bounds = {"min": -(2**31) if least is None else least, "max": most or 2**31 - 1}
        return io.Int.Input(name, default=int(start), step=1, **bounds, **facts)
    bounds = {"min": -1e6 if least is None else least, "max": 1e6 if most is None else most}
    return io.Float.Input(name, default=float(start), step=0.01, **bounds, **facts)


def _is_long(kind: Mapping[str, Any]) -> bool:
    """Say whether a text may be long: words to say, lists and objects."""
    return kind.get("type") not in ("number", "integer", "boolean")


def _value(name: str, part: Mapping[str, Any], given: Any) -> Any:
    """Return a parameter's value: as it is, or read from JSON; raises ValueError."""
    kind, _ = _kind(part)
    if kind.get("type") == "string" or "enum" in kind or not isinstance(given, str):
        return given
    try:
        return json.loads(given)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{name}: {given[:80]!r} is no JSON ({error})") from None
