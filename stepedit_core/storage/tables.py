"""Tables that people bring, as CSV, TSV and their like: read so that no text is lost.

A spreadsheet, a script and a corpus each write a table in their own way. What a file says of
itself is found here (encoding by its byte order mark, delimiter by its header), the rest is
named by the user, and a row that does not fit the header is refused with its line.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import TextIO

from stepedit_core.errors import StepeditError, counted
from stepedit_core.storage.encodings import readings

__all__ = [
    "DELIMITERS",
    "LJ_COLUMNS",
    "MAX_LINE",
    "encoding_of",
    "lj_columns",
    "original_cell",
    "plain_cell",
    "table_rows",
    "text_lines",
    "text_of",
]

DELIMITERS = (",", "\t", ";", "|")
"""What may part the fields of a table, in order of preference."""
MAX_LINE = 1_000_000
"""Characters that a line may have."""
_CHUNK = 1 << 20
_BY_SUFFIX = {".csv": ",", ".tsv": "\t"}
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_QUOTE_CURE = "put the text into quotation marks and write each one within it twice"
_SPREADSHEET = re.compile("sep=([,;|\t])", re.IGNORECASE)
"""A first line by which spreadsheets name the delimiter."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
LJ_COLUMNS = ("lj_id", "text", "normalized_text")
"""Columns of LJ Speech's ``metadata.csv`` (Ito & Johnson 2017), which has no header."""
Header = Callable[[str], "Sequence[str] | None"]


def encoding_of(path: Path, named: str | None = None) -> str:
    """Return the encoding of a text file after reading it once, a piece in memory at a time.

    It is UTF-8, or UTF-16 or UTF-32 by their marks or zero bytes. Encodings of one byte for each
    character cannot be told apart with certainty, so they are never guessed but suggested.

    Args:
        path: the file.
        named: the encoding that the user gives; None to find it.

    Raises:
        StepeditError: if the file cannot be read, or is not in this encoding; the text names
            the line and what the encoding looks like.
    """
    try:
        with path.open("rb") as file:
            start = file.read(_CHUNK)
    except OSError as error:
        raise StepeditError(f"{path}: cannot be read ({error.strerror})") from error
    encoding = named or _marked(start)
    try:
        decoder = codecs.getincrementaldecoder(encoding)()
    except LookupError as error:
        raise StepeditError(
            f"no encoding {encoding!r}; give --encoding one such as cp1252 or gb18030"
        ) from error
    lines = 1
    with path.open("rb") as file:
        while True:
            piece = file.read(_CHUNK)
            try:
                lines += decoder.decode(piece, final=not piece).count("\n")
            except UnicodeError as error:
                at = int(getattr(error, "start", 0))
                lines += piece[:at].count(b"\n")
                foreign = piece[piece.rfind(b"\n", 0, at) + 1 :]
                raise StepeditError(_foreign(path, lines, encoding, named, foreign)) from error
            if not piece:
                return encoding


def _marked(start: bytes) -> str:
    """Return the encoding that the first bytes of a file show."""
    for mark, encoding in _MARKS:
        if start.startswith(mark):
            return encoding
    if start.count(0) * 20 > len(start):
        # UTF-16 without its mark: line ends and delimiters have a zero byte before or after.
        return "utf-16-le" if start[1::2].count(0) >= start[::2].count(0) else "utf-16-be"
    return "utf-8"


def _foreign(path: Path, line: int, encoding: str, named: str | None, rest: bytes) -> str:
    """Return the error of a file in another encoding, and which ones it may be in."""
    what = encoding if named else "UTF-8"
    return (
        f"{path}, line {line}: not {what}{readings(rest)}; save the file as UTF-8, "
        "or name its encoding (--encoding NAME)"
    )


def text_of(path: Path, encoding: str | None = None) -> str:
    """Return a text file as a whole; raises as ``encoding_of``."""
    return path.read_text(encoding=encoding_of(path, encoding))


def text_lines(path: Path, encoding: str | None = None) -> Iterator[tuple[int, str]]:
    """Yield the numbers and texts of a file's lines, without their ends.

    Lines end with a line feed, a carriage return or both; other characters at which Python can
    split a text (U+2028 ...) belong to it.

    Raises:
        StepeditError: if the file cannot be read or decoded, or a line is too long.
    """
    with path.open(encoding=encoding_of(path, encoding)) as file:
        yield from _numbered(path, file)


def _numbered(path: Path, file: TextIO) -> Iterator[tuple[int, str]]:
    number = 0
    while line := file.readline(MAX_LINE):
        number += 1
        if len(line) == MAX_LINE and not line.endswith("\n"):
            raise StepeditError(f"{path}, line {number}: longer than {MAX_LINE:,} characters")
        yield number, line.removesuffix("\n")


def table_rows(
    path: Path,
    known: Collection[str],
    *,
    encoding: str | None = None,
    delimiter: str | None = None,
    bare: Header = lambda line: None,
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the line and the values of each row, by column names in lower case.

    The delimiter is the one at which the header falls into names that are known; with none, it
    is the one of the file's suffix. Within commas and semicolons a quoted text follows RFC 4180;
    within tabs a quotation mark that opens no whole field is a character like others.

    Args:
        path: the table.
        known: names of columns, in lower case, by which a header is recognised.
        encoding: of the file; None to find it.
        delimiter: of the file; None to find it.
        bare: gets the first line where no header is recognised; returns the names of the
            columns of a table without header that is parted by ``|``, or None.

    Raises:
        StepeditError: naming the line that does not fit the header and what to do.
    """
    lines = text_lines(path, encoding)
    first = next(((number, line) for number, line in lines if line.strip()), None)
    if first and (said := _SPREADSHEET.fullmatch(first[1].strip())):
        delimiter = delimiter or said[1]
        first = next(lines, None)
    if first is None:
        return
    number, head = first
    found = delimiter or _delimiter(path, head, known)
    names = None if delimiter else _bare_names(head, found, known, bare)
    if names is not None:
        records: Iterator[tuple[int, list[str]]] = (
            (line, text.split("|")) for line, text in _with(first, lines) if text.strip()
        )
    else:
        names = _names(path, number, _fields(head, found))
        if found in (",", ";"):
            key = next((place for place, name in enumerate(names) if name in known), 0)
            records = _marked_rows(path, lines, found, len(names), key)
        else:
            records = _plain_rows(lines, found, len(names))
    empty = True
    for line, fields in records:
        if any(field.strip() for field in fields):
            empty = False
            yield line, _row(path, line, names, fields, found)
    if empty and not any(name in known for name in names):
        raise StepeditError(
            f"{path}, line {number}: neither a header with a column {sorted(known)[0]!r} or the "
            "like, nor a row of a layout without header; put a header line in front"
        )


def lj_columns(line: str) -> Sequence[str] | None:
    """Return the columns of a table whose first line is as in LJ Speech, or None.

    ``id|text`` or ``id|text|normalised text``, without a header; the recording is
    ``wavs/ID.wav``.
    """
    fields = line.split("|")
    plain = fields[0].strip() and not any(mark in fields[0] for mark in " \t,;")
    return LJ_COLUMNS[: len(fields)] if plain and len(fields) in (2, 3) else None


def _with(first: tuple[int, str], rest: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    yield first
    yield from rest


def _fields(line: str, delimiter: str) -> list[str]:
    """Return the fields of one line, leniently."""
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return line.split(delimiter)


def _known_names(line: str, delimiter: str, known: Collection[str]) -> int:
    """Return the number of a line's fields if one of them is a known name, otherwise 0."""
    names = [name.strip().lower() for name in _fields(line, delimiter)]
    return len(names) if any(name in known for name in names) else 0


def _delimiter(path: Path, head: str, known: Collection[str]) -> str:
    usual = _BY_SUFFIX.get(path.suffix.lower(), ",")
    order = (usual, *(mark for mark in DELIMITERS if mark != usual))
    best = max(order, key=lambda mark: _known_names(head, mark, known))
    if _known_names(head, best, known):
        return best
    return max(order, key=lambda mark: len(_fields(head, mark)))


def _bare_names(
    head: str, delimiter: str, known: Collection[str], bare: Header
) -> Sequence[str] | None:
    return None if _known_names(head, delimiter, known) else bare(head)


def _names(path: Path, number: int, fields: Sequence[str]) -> list[str]:
    """Return the names of a header's columns in lower case; none may be there twice."""
    names = [field.strip().lower() for field in fields]
    seen: set[str] = set()
    for name in names:
        if name and name in seen:
            raise StepeditError(f"{path}, line {number}: two columns are called {name[:80]!r}")
        seen.add(name)
    return names


def _plain_rows(
    lines: Iterator[tuple[int, str]], delimiter: str, width: int
) -> Iterator[tuple[int, list[str]]]:
    """Yield the fields of rows of one line each; quotation marks count where they fit."""
    for number, line in lines:
        if not line.strip():
            continue
        plain = line.split(delimiter)
        if '"' in line:
            try:
                quoted = next(csv.reader([line], delimiter=delimiter, strict=True))
            except csv.Error:
                quoted = plain
            plain = quoted if len(quoted) == width else plain
        yield number, plain


def _marked_rows(
    path: Path, lines: Iterator[tuple[int, str]], delimiter: str, width: int, key: int
) -> Iterator[tuple[int, list[str]]]:
    """Yield the fields of rows as RFC 4180 has them, refusing quotes that swallow rows.

    A line within a text of several lines is taken for a row of its own where it has as many
    fields as one, and its field ``key`` ends like that of the row (``.wav``).
    """
    taken: list[tuple[int, str]] = []

    def watched() -> Iterator[str]:
        for number, line in lines:
            taken.append((number, line))
            yield line + "\n"

    reader = csv.reader(watched(), delimiter=delimiter, strict=True)
    while True:
        taken.clear()
        try:
            fields = next(reader, None)
        except csv.Error as error:
            start = taken[0][0] if taken else 1
            raise StepeditError(f"{path}, line {start}: {_quote_problem(error)}") from error
        if fields is None:
            return
        for number, line in taken[1:] if width > 1 and len(fields) > key else []:
            inner = _fields(line, delimiter)
            if len(inner) == width and _ending(inner[key]) == _ending(fields[key]):
                raise StepeditError(
                    f"{path}, line {taken[0][0]}: a quotation mark is open until line {number}, "
                    f"which may be a row of its own; {_QUOTE_CURE}, and each text in one line"
                )
        if fields:
            yield taken[0][0], fields


def _ending(name: str) -> str:
    return Path(name.strip()).suffix.lower()


def _quote_problem(error: csv.Error) -> str:
    if "field larger" in str(error):
        return (
            f"a field of more than {csv.field_size_limit():,} characters; split the text, or close "
            f"the quotation mark that is open; {_QUOTE_CURE}"
        )
    if "end of data" in str(error):
        return f"a quotation mark is opened and not closed; {_QUOTE_CURE}"
    if "expected after" in str(error):
        return f"text follows a closing quotation mark; {_QUOTE_CURE}"
    return f"no row of a table ({error})"


def _row(
    path: Path, line: int, names: Sequence[str], fields: list[str], delimiter: str
) -> dict[str, str]:
    """Return a row by column; it must have as many fields as the header."""
    extra = fields[len(names) :]
    if len(fields) < len(names) or any(field.strip() for field in extra):
        mark = {"\t": "tabs"}.get(delimiter, f"{delimiter!r}")
        cure = f"a text with {mark} in it" if len(fields) > len(names) else "an empty field"
        how = "goes into quotation marks" if delimiter in ",;" else "is not possible in this table"
        if len(fields) < len(names):
            how = f"is written as nothing between two {mark}"
        raise StepeditError(
            f"{path}, line {line}: {counted(len(fields), 'field')} where the header has "
            f"{len(names)} "
            f"(parted by {mark}); {cure} {how}"
        )
    return {name: field for name, field in zip(names, fields, strict=False) if name}


def plain_cell(value: object) -> object:
    """Return a value for a table that a spreadsheet opens: a text is no formula there.

    A text that begins like a formula gets an apostrophe in front (OWASP, "CSV injection");
    numbers stay as they are.
    """
    formula = isinstance(value, str) and value.lstrip("'").startswith(_FORMULA)
    return f"'{value}" if formula else value


def original_cell(text: str) -> str:
    """Return the text that ``plain_cell`` was given."""
    masked = text.startswith("'") and text.lstrip("'").startswith(_FORMULA)
    return text[1:] if masked else text
