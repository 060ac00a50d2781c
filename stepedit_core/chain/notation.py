"""The one-line form of an edit: ``name:param=value,param=value``, as the command line takes it.

A value that reads as JSON is JSON (``factor=1.5``, ``spans=[[0.4,1.2]]``); anything else is text
and ends before the next ``,param=``, so plain text may hold commas. Text that looks like JSON or
holds ``,word=`` is written as a JSON string. An edit inside an edit stands in round brackets,
``masked:inner=(speed:rate=slower),spans=[[0.4,1.2]]``, or is a JSON object with its name under
``edit``; the brackets may be left out where the inner edit has at most one parameter. Several edits
in place of one stand in brackets each, ``inner=(denoise)(delete:find=um)``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, get_args

from pydantic import BeforeValidator, PlainSerializer, ValidationError, WithJsonSchema

from stepedit_core.edit import Edit
from stepedit_core.errors import StepeditError, UnknownEditError, explain_validation
from stepedit_core.registry.registry import get_registry
from stepedit_core.storage.stored_json import parse_json

__all__ = [
    "EDIT_SCHEMA",
    "AnyEdit",
    "edit_from_data",
    "format_edit",
    "parse_edit",
    "read_any",
    "shown_edit",
    "split_params",
]

_KEY = re.compile(r"\s*([A-Za-z_]\w*)\s*=\s*")
_NEXT = re.compile(r",\s*[A-Za-z_]\w*\s*=")
_JSON_START = tuple('"[{')
MAX_VALUE = 20_000
"""Most characters of a parameter's text."""


def split_params(text: str) -> dict[str, str]:
    """Split ``a=1,b=[1,2],c=some, text`` into raw values by name.

    Raises:
        StepeditError: if a parameter has no name, is unbalanced or occurs twice.
    """
    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        match = _KEY.match(text, at)
        if match is None:
            raise StepeditError(f"expected param=value at {text[at:]!r}; write text in JSON quotes")
        name, start = match.group(1), match.end()
        stop = _value_end(text, start)
        if name in found:
            raise StepeditError(f"parameter {name!r} is given twice")
        found[name] = text[start:stop].strip()
        at = stop + 1
    return found


def _value_end(text: str, start: int) -> int:
    """Return where the value that begins at ``start`` ends: at a comma, or at the end."""
    if text.startswith(_JSON_START, start):
        try:
            stop = json.JSONDecoder().raw_decode(text, start)[1]
        except (ValueError, RecursionError):
            stop = -1
        if stop == len(text) or (stop > 0 and text[stop] == ","):
            return stop
    if brackets := _brackets(text, start):
        stop = brackets[-1][1]
        if stop == len(text) or text[stop] == ",":
            return stop
    following = _NEXT.search(text, start)
    return following.start() if following else len(text)


def _closing(text: str, start: int) -> int:
    """Return the place of the bracket that closes the one at ``start``."""
    depth, quoted, escaped = 0, False, False
    for place in range(start, len(text)):
        letter = text[place]
        if quoted:
            quoted, escaped = (letter != '"' or escaped), (letter == "\\" and not escaped)
        elif letter == '"':
            quoted = True
        else:
            depth += (letter == "(") - (letter == ")")
            if depth == 0:
                return place
    raise StepeditError(f"a bracket is not closed in {text[start:]!r}")


def _brackets(text: str, start: int) -> list[tuple[int, int]]:
    """Return where brackets that follow each other begin and end; a comma may part them."""
    found: list[tuple[int, int]] = []
    while text.startswith("(", start):
        stop = _closing(text, start) + 1
        found.append((start, stop))
        start = stop + text.startswith(",(", stop)
    return found


def _allows(annotation: object, kind: type) -> bool:
    """Say whether a field's annotation is a type, or a union or annotated form of it."""
    return annotation is kind or any(_allows(part, kind) for part in get_args(annotation))


def _value(raw: str, annotation: object) -> Any:
    """Read a raw value for a field: text for text fields, an edit for edit fields, else JSON."""
    if _allows(annotation, Edit) and not raw.startswith(("{", "[")):
        brackets = _brackets(raw, 0)
        if not brackets or brackets[-1][1] != len(raw):
            return parse_edit(raw)
        edits = [parse_edit(raw[start + 1 : stop - 1]) for start, stop in brackets]
        return edits[0] if len(edits) == 1 else edits
    if annotation in (str, str | None) and not raw.startswith('"'):
        return raw
    try:
        json.loads(raw)
    except (ValueError, RecursionError):
        return raw
    try:
        return parse_json(raw)  # refuses what it would take: keys given twice, NaN
    except ValueError as error:
        raise StepeditError(str(error)) from error


def parse_edit(text: str) -> Edit:
    """Build an edit from its one-line form or from its JSON object.

    Raises:
        UnknownEditError: if no plugin brings the edit; near misses are suggested.
        StepeditError: if the text or a parameter is wrong; the message names it.
    """
    if len(text) > 4 * MAX_VALUE:
        raise StepeditError(f"an edit of {len(text)} characters; {4 * MAX_VALUE} are the most")
    if text.lstrip().startswith("{"):
        try:
            data = parse_json(text)
        except ValueError as error:
            raise StepeditError(f"an edit in JSON form is not JSON: {error}") from error
        return edit_from_data(data)
    name, colon, rest = text.strip().partition(":")
    fields = get_registry().edit_class(name).model_fields
    try:
        if colon and not rest.strip():
            raise StepeditError("parameters are missing after the colon")
        params = {
            key: _value(raw, fields[key].annotation if key in fields else None)
            for key, raw in split_params(rest).items()
        }
        if "edit" in params:
            raise StepeditError("'edit' is no parameter; the name stands before the colon")
    except StepeditError as error:
        raise type(error)(f"{name}: {error}") from error
    return edit_from_data({"edit": name, **params})


def _format_value(value: Any, annotation: object) -> str:
    """Write one value so that ``parse_edit`` reads it back."""
    if isinstance(value, Edit):
        return "".join(f"({format_edit(one)})" for one in value.listed())
    if not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    is_plain = value == value.strip() and value and not value.startswith((*_JSON_START, "("))
    if not is_plain or _NEXT.search(value) or "\n" in value:
        return json.dumps(value, ensure_ascii=False)
    try:
        safe = _value(value, annotation) == value
    except StepeditError:
        safe = False
    return value if safe else json.dumps(value, ensure_ascii=False)


def format_edit(edit: Edit) -> str:
    """Return the one-line form of an edit; parameters at their defaults are left out."""
    data = edit.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    params = []
    for key, plain in data.items():
        own = getattr(edit, key)
        value = own if isinstance(own, Edit) else plain
        params.append(f"{key}={_format_value(value, type(edit).model_fields[key].annotation)}")
    return f"{edit.name}:{','.join(params)}" if params else edit.name


def shown_edit(edit: Edit) -> str:
    """Return the one-line form for screens and logs: the name alone of what hides words."""
    return edit.name if edit.hides_words() else format_edit(edit)


def edit_from_data(data: Mapping[str, Any]) -> Edit:
    """Build an edit from its JSON form, looking its class up in the default registry.

    Raises:
        UnknownEditError: if no plugin brings the edit.
        StepeditError: if a parameter is wrong; the text names it.
    """
    if not isinstance(data, Mapping):
        raise StepeditError(f"an edit's JSON form is an object, got {type(data).__name__}")
    params = dict(data)
    name = params.pop("edit", None)
    for key, value in params.items():
        if isinstance(value, str) and len(value) > MAX_VALUE:
            size = f"{key[:80]} has {len(value)} characters; {MAX_VALUE} are the most"
            raise StepeditError(f"{str(name)[:80]}: {size}")
    if not isinstance(name, str):
        raise UnknownEditError(f"an edit's JSON form has its name under 'edit', got {dict(data)!r}")
    edit_class = get_registry().edit_class(name)
    try:
        return edit_class(**params)
    except ValidationError as error:
        raise StepeditError(
            f"{name}: {explain_validation(error, edit_class.model_fields)}"
        ) from error


def read_any(value: Any) -> Any:
    """Let pydantic take an edit as JSON data; its errors become validation errors."""
    if not isinstance(value, Mapping):
        return value
    try:
        return edit_from_data(value)
    except StepeditError as error:
        raise ValueError(str(error)) from error


EDIT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"edit": {"type": "string"}},
    "required": ["edit"],
    "description": "any registered edit in its JSON form",
}
"""JSON Schema of a field that holds an edit."""
AnyEdit = Annotated[
    Edit,
    BeforeValidator(read_any),
    PlainSerializer(lambda edit: edit.to_data(), return_type=dict[str, Any]),
    WithJsonSchema(EDIT_SCHEMA),
]
"""A field that holds any registered edit, parsed by name and written with it."""
