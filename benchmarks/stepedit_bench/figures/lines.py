"""A file of JSON lines that survives being killed: what is finished is found again."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from stepedit_core.errors import StepeditError

__all__ = ["Lines"]


class Lines:
    """Entries by key, each on disk before the next is made; the last one of a key counts."""

    def __init__(self, path: Path) -> None:
        """Read what is there; a torn last line is cut off.

        Raises:
            StepeditError: if the folder cannot be written, or a line is damaged.
        """
        self.path = path
        self.entries: dict[str, Any] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            data = path.read_bytes() if path.exists() else b""
        except OSError as error:
            raise StepeditError(f"{path}: cannot use it ({error.strerror})") from error
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            with path.open("r+b") as file:
                file.truncate(len(whole))
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                entry = json.loads(line)
                self.entries[entry["key"]] = entry["value"]
            except (ValueError, KeyError, TypeError) as error:
                raise StepeditError(f"{path}: line {number} is damaged; delete it") from error

    def add(self, key: str, value: Any) -> None:
        """Keep an entry: it is on disk when this returns."""
        text = json.dumps({"key": key, "value": value}, ensure_ascii=False, allow_nan=False)
        with self.path.open("ab") as file:
            file.write(text.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self.entries[key] = value
