"""Manifests: a table with a row for each recording, as CSV, TSV or JSON lines."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stepedit_core.errors import StepeditError
from stepedit_core.pairs import CorpusItem
from stepedit_pairs.corpora.columns import PATH_COLUMNS, item_from_row

__all__ = ["Manifest", "rows_of"]

_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_SUFFIXES = frozenset({*_SEPARATORS, ".jsonl", ".ndjson"})


class Manifest:
    """A CSV, TSV or JSONL file that names recordings and what is known about them.

    Needed is a column for the recording (``path``, or a customary name such as
    ``audio_filepath`` or ``file_name``), relative to the manifest or absolute. Understood are
    text, speaker, language, emotion, style, event, intensity, dialect, split, licence, group
    and corpus under their usual names, and a bare ``label``. Rows whose ``kind`` is noise, rir
    or music are no speech and left out.
    """

    name = "manifest"

    def recognises(self, path: os.PathLike[str]) -> bool:
        """Say whether a file has the suffix of a manifest."""
        return Path(path).suffix.lower() in _SUFFIXES and Path(path).is_file()

    def items(self, path: os.PathLike[str]) -> Iterator[CorpusItem]:
        """Yield the rows in their order.

        Raises:
            StepeditError: naming the line that cannot be read or lacks its recording.
        """
        file = Path(path)
        telling = file.stem.lower() not in ("manifest", "metadata", "index")
        corpus = file.stem if telling else file.resolve().parent.name
        for number, row in rows_of(file):
            recording = _recording(row)
            if recording is None:
                raise StepeditError(
                    f"{file}, line {number}: no recording; name it in a column "
                    f"{' or '.join(PATH_COLUMNS[:3])} (there is {', '.join(row) or 'nothing'})"
                )
            item = item_from_row(row, str(file.parent / recording), number, corpus)
            if item is not None:
                yield item


def _recording(row: Mapping[str, Any]) -> str | None:
    """Return the path of a row's recording, which may stand under ``audio: {path: ...}``."""
    for name in PATH_COLUMNS:
        value = row.get(name)
        value = value.get("path") if isinstance(value, Mapping) else value
        if isinstance(value, str) and value.strip():
            return value.strip()
    return None


def rows_of(file: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield line number and values of each row, with column names in lower case.

    Raises:
        StepeditError: naming the line that is no row.
    """
    separator = _SEPARATORS.get(file.suffix.lower())
    with file.open(encoding="utf-8-sig", newline="" if separator else None) as lines:
        if separator is None:
            yield from _json_rows(file, lines)
            return
        reader = csv.DictReader(lines, delimiter=separator)
        try:
            for row in reader:
                yield reader.line_num, {str(name).strip().lower(): row[name] for name in row}
        except csv.Error as error:
            raise StepeditError(f"{file}, line {reader.line_num}: {error}") from error


def _json_rows(file: Path, lines: Iterator[str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise StepeditError(f"{file}, line {number}: not JSON ({error})") from error
        if not isinstance(row, dict):
            raise StepeditError(f"{file}, line {number}: a row is a JSON object")
        yield number, {str(name).lower(): value for name, value in row.items()}
