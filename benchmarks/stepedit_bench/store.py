"""A run on disk: settings, a journal that survives a kill, and results in case order.

``run.json`` holds what decides the figures; a run goes on only under the same settings.
``journal.jsonl`` gets one line per finished unit, flushed to disk, in the order of finishing; a
last line that was torn by a kill is dropped. ``results.jsonl`` is written once all is done: one
line per case and iteration, in case order, with no times in it, so that an interrupted run and
an uninterrupted one give the same bytes. Times are in ``timings.jsonl``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from stepedit_bench.checking import check_row, check_settings
from stepedit_core.atomic import append_line, write_atomically
from stepedit_core.errors import StepeditError
from stepedit_core.storage.stored_json import json_lines, parse_json, read_json

__all__ = ["Journal", "RunStore", "read_results", "read_run", "write_text"]

RUN, JOURNAL, RESULTS, TIMINGS = "run.json", "journal.jsonl", "results.jsonl", "timings.jsonl"
_UNITS = ("unit", "rows")
_CURE = "restore it, or run the benchmark into another folder"


def write_text(path: Path, text: str) -> None:
    """Write a text file whole: its name appears when it is complete."""
    write_atomically(path, text)


def _line(data: Mapping[str, Any]) -> str:
    return json.dumps(data, ensure_ascii=False, sort_keys=True, allow_nan=False) + "\n"


def _append(path: Path, data: Mapping[str, Any]) -> None:
    """Append one line and wait until it is on disk; raises as ``append_line``."""
    append_line(path, _line(data).removesuffix("\n"))


class Journal:
    """Entries by key in a file of JSON lines, each on disk before the next is made."""

    def __init__(
        self, path: Path, key: str = "key", value: str = "value", *, grows: bool = True
    ) -> None:
        """Read what is there; a last line that was torn by a kill is left out.

        Args:
            path: of the file.
            key: name of a line's key.
            value: name of a line's value.
            grows: make the folder and cut the torn line off; False only reads, because another
                process may be writing that line now.

        Raises:
            StepeditError: if the folder cannot be written, or a line is damaged.
        """
        self.path, self._key, self._value = path, key, value
        self.entries: dict[str, Any] = {}
        try:
            if grows:
                path.parent.mkdir(parents=True, exist_ok=True)
            data = path.read_bytes() if path.exists() else b""
        except OSError as error:
            raise StepeditError(f"{path}: cannot use it ({error.strerror})") from error
        whole = data[: data.rfind(b"\n") + 1]
        if grows and len(whole) < len(data):
            with path.open("r+b") as file:
                file.truncate(len(whole))
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                entry = parse_json(line)
                self.entries[entry[key]] = entry[value]
            except (ValueError, KeyError, TypeError) as error:
                raise StepeditError(f"{path}: line {number} is damaged; delete it") from error

    def add(self, key: str, value: Any) -> None:
        """Keep an entry: it is on disk when this returns."""
        _append(self.path, {self._key: key, self._value: value})
        self.entries[key] = value


class RunStore:
    """Reads and writes the folder of one run."""

    def __init__(
        self,
        folder: str | os.PathLike[str],
        settings: Mapping[str, Any],
        growing: Collection[str] = (),
    ) -> None:
        """Open a folder for a run, new or to be gone on with.

        Args:
            folder: of the run.
            settings: what decides the figures.
            growing: settings that may differ from those of the run before, since the key of a
                unit tells them apart: which cases there are, for a run that is extended.

        Raises:
            StepeditError: if it holds a run with other settings, naming the first difference.
        """
        self.folder = Path(folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StepeditError(f"{folder}: cannot write there ({error.strerror})") from error
        path = self.folder / RUN
        text = json.dumps(settings, ensure_ascii=False, indent=2, sort_keys=True) + "\n"
        if path.exists():
            self._refuse_other(read_json(path, _CURE), json.loads(text), growing)
        if not path.exists() or growing:
            write_text(path, text)
        self._journal = Journal(self.folder / JOURNAL, *_UNITS)
        self.finished: dict[str, list[dict[str, Any]]] = self._journal.entries

    def _refuse_other(
        self, old: Mapping[str, Any], new: Mapping[str, Any], growing: Collection[str]
    ) -> None:
        for key in sorted({*old, *new} - set(growing)):
            if old.get(key) != new.get(key):
                raise StepeditError(
                    f"{self.folder}: holds a run with another {key} "
                    f"({_short(old.get(key))}, now {_short(new.get(key))}); "
                    "choose another --out, or delete the folder"
                )

    def add(self, unit: str, rows: list[dict[str, Any]], seconds: Mapping[str, float]) -> None:
        """Keep the rows of a finished unit; a unit that is there already stays as it is."""
        if unit in self.finished:
            return
        self._journal.add(unit, rows)
        timing = {"unit": unit, **{name: round(value, 4) for name, value in seconds.items()}}
        _append(self.folder / TIMINGS, timing)

    def finish(self, order: Iterable[str]) -> Path:
        """Write ``results.jsonl`` in the order of units and return its path."""
        path = self.folder / RESULTS
        lines = [_line(row) for key in order for row in self.finished[key]]
        write_text(path, "".join(lines))
        return path


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."


def read_run(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the settings of a run.

    Raises:
        StepeditError: if the folder holds none, or they are damaged.
    """
    path = Path(folder) / RUN
    if not path.is_file():
        raise StepeditError(f"{folder}: holds no benchmark run (no {RUN})")
    settings = read_json(path, _CURE)
    check_settings(settings, str(path), _CURE)
    return settings


def read_results(folder: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Return the rows of a run that is finished, or what its journal has so far.

    Raises:
        StepeditError: if there is nothing yet, or a row is damaged.
    """
    read_run(folder)
    path = Path(folder) / RESULTS
    if path.is_file():
        cure = f"delete it and run the command again: it is written from {JOURNAL}"
        lines = json_lines(path, cure, encoding="utf-8")
        return [check_row(row, f"{path}, line {line}", cure) for line, row in lines]
    path = Path(folder) / JOURNAL
    finished: dict[str, list[dict[str, Any]]] = Journal(path, *_UNITS, grows=False).entries
    cure = "delete its line and run the command again"
    rows = [
        check_row(row, f"{path}, unit {key}", cure)
        for key in sorted(finished)
        for row in finished[key]
    ]
    if not rows:
        raise StepeditError(f"{folder}: the run has no results yet; run the command again")
    return rows
