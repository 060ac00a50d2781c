"""Settings of training stages: pydantic models filled from TOML files."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from stepedit_core.errors import StepeditError, explain_validation

__all__ = ["Settings", "apply_changes", "check_settings", "load_settings", "resolve_path"]

S = TypeVar("S", bound="Settings")


class Settings(BaseModel):
    """Base of all settings: frozen, refuses unknown names."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )

    base: Path = Path()
    """Folder that relative paths start from: that of the settings file, unless it is set."""


def resolve_path(settings: Settings, path: Path) -> Path:
    """Return a path of a settings file, made absolute."""
    return (settings.base / path.expanduser()).resolve()


def _change(data: dict[str, Any], text: str) -> None:
    """Carry out one ``a.b=value``; a value that is no TOML is taken as text."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise StepeditError(f"--set takes name=value, got {text!r}")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value
    *parents, last = name.strip().split(".")
    table = data
    for parent in parents:
        inner = table.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise StepeditError(f"--set {text}: {parent} is not a table")
        table = inner
    table[last] = parsed


def apply_changes(data: dict[str, Any], given: Iterable[str]) -> None:
    """Carry out changes, ``name=value`` with dots for tables, on the data of settings.

    Raises:
        StepeditError: if one is not of that form.
    """
    for text in given:
        _change(data, text)


def load_settings(kind: type[S], path: Path, given: Iterable[str] = ()) -> S:
    """Read the settings of a stage.

    Args:
        kind: class of the settings.
        path: TOML file.
        given: changes, ``name=value`` with dots for tables.

    Raises:
        StepeditError: if the file cannot be read or a setting is wrong; one line.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StepeditError(f"{path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StepeditError(f"{path}: is not TOML ({error})") from error
    apply_changes(data, given)
    folder = path.resolve().parent
    data["base"] = folder / str(data.get("base", ""))
    return check_settings(kind, data, str(path))


def check_settings(kind: type[S], data: Mapping[str, Any], source: str) -> S:
    """Build settings from data; ``source`` is named in errors.

    Raises:
        StepeditError: naming the settings that are wrong.
    """
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise StepeditError(f"{source}: {explain_validation(error, kind.model_fields)}") from error
