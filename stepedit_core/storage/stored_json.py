"""JSON that lies on disk: damage is one line with the file and what to do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stepedit_core.errors import StepeditError
from stepedit_core.storage.tables import text_lines

__all__ = ["json_lines", "parse_json", "read_json"]


def _single(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object; a key that is there twice would lose a value without a word."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the key {name[:80]!r} is there twice")
        found[name] = value
    return found


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number of JSON")


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: if it is no JSON, has a key twice, holds NaN or Infinity, or is nested too
            deeply.
    """
    try:
        return json.loads(text, object_pairs_hook=_single, parse_constant=_no_number)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def read_json(path: Path, cure: str) -> dict[str, Any]:
    """Return the object in a JSON file.

    Args:
        path: the file.
        cure: what to do where it is damaged, such as ``delete the folder``.

    Raises:
        StepeditError: if it cannot be read or is no JSON object.
    """
    try:
        data = parse_json(path.read_bytes())
    except OSError as error:
        raise StepeditError(f"{path}: cannot be read ({error.strerror}); {cure}") from error
    except ValueError as error:
        raise StepeditError(f"{path}: damaged ({str(error)[:120]}); {cure}") from error
    if not isinstance(data, dict):
        raise StepeditError(f"{path}: damaged (no JSON object); {cure}")
    return data


def json_lines(
    path: Path, cure: str = "", *, encoding: str | None = None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the line and the object of each line that is not blank.

    Args:
        path: the file.
        cure: what to do where it is damaged.
        encoding: of the file; None to find it.

    Raises:
        StepeditError: naming the line that is no JSON object.
    """
    end = f"; {cure}" if cure else ""
    for number, line in text_lines(path, encoding):
        if not line.strip():
            continue
        try:
            row = parse_json(line)
        except ValueError as error:
            why = str(error)[:120]
            raise StepeditError(f"{path}, line {number}: not JSON ({why}){end}") from error
        if not isinstance(row, dict):
            raise StepeditError(f"{path}, line {number}: a row is a JSON object{end}")
        yield number, row
