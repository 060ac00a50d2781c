"""Say what a stage can be told: its settings as a TOML file with a comment on each."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from stepedit_train.settings import Settings

__all__ = ["explain"]

_WIDTH = 96


def explain(kind: type[Settings]) -> Iterator[str]:
    """Yield lines of a TOML file: what must be given first, then what may be, with its default.

    Settings without a default that TOML could hold are commented out, as are those that have
    to be given; tables come last, as TOML wants it.
    """
    yield from _comment(_first_paragraph(kind))
    yield ""
    yield from _table(kind, "")


def _table(kind: type[BaseModel], prefix: str) -> Iterator[str]:
    fields = {name: field for name, field in kind.model_fields.items() if name != "base"}
    inner = {name: found for name, field in fields.items() if (found := _models(field))}
    plain = {name: field for name, field in fields.items() if name not in inner}
    for name, field in sorted(plain.items(), key=lambda item: not item[1].is_required()):
        yield from _comment(field.description or "")
        yield _line(name, field)
    for name, (model, is_list) in inner.items():
        path = f"{prefix}{name}"
        yield ""
        yield from _comment(fields[name].description or _first_paragraph(model))
        # A table that need not be there stands for something that is off without it.
        is_off = fields[name].get_default(call_default_factory=True) is None
        lines = [f"[[{path}]]" if is_list else f"[{path}]", *_table(model, f"{path}.")]
        yield from (f"# {line}".rstrip() if is_off else line for line in lines)


def _models(field: FieldInfo) -> tuple[type[BaseModel], bool] | None:
    """Return the settings inside a field, and whether there is a list of them."""
    waiting, is_list = [field.annotation], False
    while waiting:
        one = waiting.pop()
        is_list |= get_origin(one) in (tuple, list)
        if isinstance(one, type) and issubclass(one, BaseModel):
            return one, is_list
        waiting += get_args(one)
    return None


def _line(name: str, field: FieldInfo) -> str:
    if field.is_required():
        return f"# {name} = ...    (must be given)"
    value = field.get_default(call_default_factory=True)
    written = _written(value)
    return f"# {name} = ..." if written is None else f"{name} = {written}"


def _written(value: Any) -> str | None:
    """Return a value in TOML's notation, or None where it has none."""
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str | Path):
        return json.dumps(str(value), ensure_ascii=False)
    if isinstance(value, Mapping):
        parts = [(json.dumps(str(key)), _written(one)) for key, one in value.items()]
        return None if any(p is None for _, p in parts) else _joined("{}", parts)
    if isinstance(value, Sequence | frozenset | set):
        items = [_written(one) for one in value]
        return None if None in items else f"[{', '.join(str(item) for item in items)}]"
    return None


def _joined(marks: str, parts: Sequence[tuple[str, str | None]]) -> str:
    inside = ", ".join(f"{key} = {value}" for key, value in parts)
    return f"{marks[0]} {inside} {marks[1]}" if inside else marks


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(" ".join(text.split()), _WIDTH)]


def _first_paragraph(kind: type[BaseModel]) -> str:
    return (kind.__doc__ or kind.__name__).strip().partition("\n\n")[0]
