"""Documents of text files, JSON Lines and Parquet."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from stepedit_core.errors import StepeditError

__all__ = ["document_files", "read_documents"]

COLUMN = "text"
"""Field of JSON Lines, column of Parquet."""


def document_files(path: Path) -> list[Path]:
    """Return a file of documents by itself, or those in a folder and below it, sorted.

    Raises:
        StepeditError: if there is none, or the file is of another kind.
    """
    if path.is_dir():
        found = [one for one in path.rglob("*") if one.suffix in _READERS and one.is_file()]
        if not found:
            raise StepeditError(f"{path}: no {_KINDS} file in it, and no cache of recordings")
        return sorted(found)
    if not path.exists():
        raise StepeditError(f"{path}: no such file or folder")
    if path.suffix not in _READERS:
        raise StepeditError(f"{path}: is no {_KINDS} file")
    return [path]


def read_documents(path: Path) -> Iterator[str]:
    """Yield the documents of one file: a text file is one, other files have one in each row.

    Raises:
        StepeditError: if the file cannot be read, or a row has no text.
    """
    try:
        yield from _READERS[path.suffix](path)
    except OSError as error:
        raise StepeditError(f"{path}: cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise StepeditError(f"{path}: is not UTF-8 ({error.reason})") from error


def _text(path: Path) -> Iterator[str]:
    yield path.read_text(encoding="utf-8")


def _json_lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise StepeditError(f"{path}, line {number}: is not JSON ({error})") from error
            text = row.get(COLUMN) if isinstance(row, dict) else None
            if not isinstance(text, str):
                raise StepeditError(f"{path}, line {number}: has no {COLUMN!r}")
            yield text


def _parquet(path: Path) -> Iterator[str]:
    try:
        with pq.ParquetFile(path) as file:
            if COLUMN not in file.schema_arrow.names:
                raise StepeditError(f"{path}: has no column {COLUMN!r}")
            for batch in file.iter_batches(batch_size=256, columns=[COLUMN]):
                for text in batch.column(0).to_pylist():
                    if text is not None and not isinstance(text, str):
                        raise StepeditError(f"{path}: column {COLUMN!r} does not hold text")
                    yield text or ""
    except pa.ArrowException as error:
        first = str(error).partition("\n")[0]
        raise StepeditError(f"{path}: is no readable Parquet file ({first})") from error


_READERS: dict[str, Callable[[Path], Iterator[str]]] = {
    ".txt": _text,
    ".md": _text,
    ".jsonl": _json_lines,
    ".parquet": _parquet,
}
_KINDS = ".txt, .md, .jsonl or .parquet"
