"""Manifests: a table with a row for each recording, as CSV, TSV, file list or JSON lines."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

from stepedit_core.errors import StepeditError
from stepedit_core.pairs import CorpusItem
from stepedit_core.storage.stored_json import json_lines, parse_json
from stepedit_core.storage.tables import (
    LJ_COLUMNS,
    MAX_LINE,
    lj_columns,
    table_rows,
    text_of,
)
from stepedit_pairs.corpora.columns import KNOWN, PATH_COLUMNS, item_from_row
from stepedit_pairs.corpora.walking import AUDIO_SUFFIXES

__all__ = ["Manifest", "rows_of"]

_TABLES = frozenset({".csv", ".tsv", ".txt"})
_SUFFIXES = frozenset({*_TABLES, ".jsonl", ".ndjson"})
_ARRAY = ".json"
_LARGEST_ARRAY = 256 << 20
"""Bytes of a JSON file, which is held as a whole; JSON lines may be of any size."""
_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_WAVS = ("wavs", "")


@dataclass(frozen=True)
class Manifest:
    """A CSV, TSV, TXT, JSONL or JSON file that names recordings and what is known about them.

    Needed is a column for the recording (``path``, or a customary name such as
    ``audio_filepath`` or ``file_name``), relative to the manifest or absolute. Understood are
    text, speaker, language, emotion, style, event, intensity, dialect, split, licence, group
    and corpus under their usual names, and a bare ``label``. Rows whose ``kind`` is noise, rir
    or music are no speech and left out.

    Fields are parted by commas, tabs, semicolons or ``|``, as the header shows. Without header
    two layouts are known: ``id|text`` and ``id|text|normalised text`` of LJ Speech (Ito &
    Johnson 2017), whose recordings are in ``wavs/``, and ``path|text``.

    Attributes:
        encoding: of the file; None to find it.
        delimiter: of the file; None to find it.
    """

    name: ClassVar[str] = "manifest"
    encoding: str | None = None
    delimiter: str | None = None

    def recognises(self, path: os.PathLike[str]) -> bool:
        """Return whether a file has the suffix of a manifest, or holds rows in JSON."""
        file = Path(path)
        suffix = file.suffix.lower()
        if suffix != _ARRAY:
            return suffix in _SUFFIXES and file.is_file()
        return file.is_file() and (_begins_array(file) or _begins_lines(file))

    def items(self, path: os.PathLike[str]) -> Iterator[CorpusItem]:
        """Yield the rows in their order.

        Raises:
            StepeditError: naming the line that cannot be read or lacks its recording.
        """
        file = Path(path)
        telling = file.stem.lower() not in ("manifest", "metadata", "index")
        corpus = file.stem if telling else file.resolve().parent.name
        for number, row in rows_of(file, self.encoding, self.delimiter):
            recording = _recording(row, file.parent)
            if recording is None:
                columns = ", ".join(list(row)[:20])
                raise StepeditError(
                    f"{file}, line {number}: no recording; name it in a column "
                    f"{' or '.join(PATH_COLUMNS[:3])} (there is {columns or 'nothing'})"
                )
            try:
                recording = _here(recording, file.parent)
                item = item_from_row(row, str(file.parent / recording), number, corpus)
            except StepeditError as error:
                raise StepeditError(f"{file}, line {number}: {error}") from error
            if item is not None:
                yield item


def _begins_array(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(64).lstrip(b"\xef\xbb\xbf \r\n\t")[:1] == b"["


def _begins_lines(file: Path) -> bool:
    """Return whether a file begins with a JSON object in one line that names a recording (NeMo)."""
    with file.open("rb") as opened:
        line = opened.readline(MAX_LINE).removeprefix(b"\xef\xbb\xbf")
    try:
        row = parse_json(line)
    except ValueError:
        return False
    return isinstance(row, dict) and any(name.lower() in PATH_COLUMNS for name in row)


def _recording(row: Mapping[str, Any], folder: Path) -> str | None:
    """Return the path of a row's recording, which may stand under ``audio: {path: ...}``."""
    if LJ_COLUMNS[0] in row:
        return _lj_recording(str(row[LJ_COLUMNS[0]]).strip(), folder)
    for name in PATH_COLUMNS:
        value = row.get(name)
        value = value.get("path") if isinstance(value, Mapping) else value
        if isinstance(value, str) and value.strip():
            return value.strip()
    return None


def _here(recording: str, folder: Path) -> str:
    """Return a path as this machine has it.

    Raises:
        StepeditError: if it is an address of the web, or a path of Windows and no file here.
    """
    if _URL.match(recording):
        if not recording.lower().startswith("file://"):
            raise StepeditError(
                f"{recording[:120]} is an address of the web; fetch it, and name the file"
            )
        recording = unquote(urlsplit(recording).path)
    # `os.path` says of a name that no file may have, such as one too long, that there is none.
    if not recording.isascii() and not os.path.exists(folder / recording):
        # macOS parts letters from their accents in file names, other systems do not.
        forms = (unicodedata.normalize(form, recording) for form in ("NFC", "NFD"))
        recording = next((form for form in forms if os.path.exists(folder / form)), recording)
    return _from_windows(recording, folder)


def _from_windows(recording: str, folder: Path) -> str:
    """Return a path that a Windows program wrote as this machine has it.

    Raises:
        StepeditError: if it is parted by backslashes and no file here.
    """
    if "\\" not in recording or os.sep == "\\" or os.path.isfile(folder / recording):
        return recording
    turned = recording.replace("\\", "/")
    if os.path.isfile(folder / turned):
        return turned
    raise StepeditError(
        f"{recording[:120]} is a path of Windows, and no file here; write it with / and as it is "
        "on this machine"
    )


def _lj_recording(name: str, folder: Path) -> str:
    """Return the recording of an id of LJ Speech; ``wavs/ID.wav`` where there is none."""
    places = (f"{wavs}/{name}" if wavs else name for wavs in _WAVS)
    found = (
        f"{place}{suffix}"
        for place in places
        for suffix in sorted(AUDIO_SUFFIXES, reverse=True)
        if os.path.isfile(folder / f"{place}{suffix}")
    )
    return next(found, f"{_WAVS[0]}/{name}.wav")


def _bare(line: str) -> Sequence[str] | None:
    """Return the columns of a table without header, or None where that is not known."""
    fields = line.split("|")
    if Path(fields[0].strip()).suffix.lower() in AUDIO_SUFFIXES:
        return ("path", "text") if len(fields) == 2 else None
    return lj_columns(line)


def rows_of(
    file: Path, encoding: str | None = None, delimiter: str | None = None
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield line number and values of each row, with column names in lower case.

    Raises:
        StepeditError: naming the line that is no row, or does not fit the header.
    """
    if file.suffix.lower() in _TABLES:
        yield from table_rows(file, KNOWN, encoding=encoding, delimiter=delimiter, bare=_bare)
        return
    if delimiter is not None:
        raise StepeditError(f"{file}: JSON lines have no delimiter; leave --delimiter out")
    if file.suffix.lower() == _ARRAY and not _begins_lines(file):
        yield from _array(file, encoding)
        return
    for number, row in json_lines(file, encoding=encoding):
        yield number, {str(name).lower(): value for name, value in row.items()}


def _array(file: Path, encoding: str | None) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield place and values of each object in a JSON array."""
    if file.stat().st_size > _LARGEST_ARRAY:
        raise StepeditError(
            f"{file}: more than {_LARGEST_ARRAY >> 20} MB in one JSON array; write JSON lines"
        )
    try:
        rows = parse_json(text_of(file, encoding).removeprefix("\ufeff"))
    except ValueError as error:
        raise StepeditError(f"{file}: not JSON ({str(error)[:120]})") from error
    for number, row in enumerate(rows if isinstance(rows, list) else [rows], 1):
        if not isinstance(row, dict):
            raise StepeditError(f"{file}, entry {number}: a row is a JSON object")
        yield number, {str(name).lower(): value for name, value in row.items()}
