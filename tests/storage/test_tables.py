from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from stepedit_core.errors import StepeditError, printable
from stepedit_core.storage.stored_json import json_lines, parse_json
from stepedit_core.storage.tables import (
    encoding_of,
    original_cell,
    plain_cell,
    table_rows,
    text_lines,
)

KNOWN = {"path"}


def rows(path: Path, content: str | bytes, **named: str) -> list[tuple[str | None, ...]]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return [tuple(row.values()) for _, row in table_rows(path, KNOWN, **named)]


@pytest.mark.parametrize("mark", [",", "\t", ";", "|"])
@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_delimiters(tmp_path: Path, name: str, mark: str) -> None:
    table = f"path{mark}text\r\na.wav{mark}Go home.\r\n\r\nb.wav{mark}So be it\r\n"
    assert rows(tmp_path / name, table) == [("a.wav", "Go home."), ("b.wav", "So be it")]


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
def test_encodings_that_show_themselves(tmp_path: Path, encoding: str) -> None:
    table = "path,text\na.wav,Já – 你好\n".encode(encoding)
    assert rows(tmp_path / "a.csv", table) == [("a.wav", "Já – 你好")]


def test_other_encodings_are_named(tmp_path: Path) -> None:
    text = "path,text\na.wav,Go\nb.wav,Grüße aus dem schönen München, möchte ich sagen\n"
    text = text.replace("München, ", "München ")
    path = tmp_path / "a.csv"
    with pytest.raises(StepeditError, match=r"a\.csv, line 3: not UTF-8; it may be .*Grüße"):
        rows(path, text.encode("cp1252"))
    assert rows(path, text.encode("cp1252"), encoding="cp1252")[1][1] == text.split(",")[-1].strip()
    with pytest.raises(StepeditError, match="line 3: not ascii"):
        rows(path, text.encode("cp1252"), encoding="ascii")
    with pytest.raises(StepeditError, match="no encoding 'cp99999'"):
        encoding_of(path, "cp99999")


@pytest.mark.parametrize(
    ("table", "what"),
    [
        ('path,text\na.wav,"Hello\nb.wav,bye"\nc.wav,x\n', r"line 2: a quotation mark is open"),
        ('path,text\na.wav,"Hello\nb.wav,bye\n', r"line 2: a quotation mark is opened and not"),
        ("path,text\na.wav," + "a" * 200_000 + "\n", r"line 2: a field of more than 131,072"),
        ('path,text\na.wav,"Hi," she said\n', r"line 2: text follows a closing quotation mark"),
        ("path,text\na.wav,Hello, world\n", r"line 2: 3 fields where the header has 2"),
        ("path,text,speaker\na.wav,Hello\n", r"line 2: 2 fields where the header has 3"),
        ("path,text,Text\na.wav,a,b\n", r"line 1: two columns are called 'text'"),
        ('path\ttext\na.wav\t"Hello\nyou"\n', r"line 3: 1 field where the header has 2"),
    ],
)
def test_rows_that_do_not_fit(tmp_path: Path, table: str, what: str) -> None:
    path = tmp_path / ("a.tsv" if "\t" in table else "a.csv")
    with pytest.raises(StepeditError, match=rf"{path.name}, {what}"):
        rows(path, table)


def test_lone_quotes_in_tabs_swallow_nothing(tmp_path: Path) -> None:
    table = 'path\ttext\na.wav\t"Hello\nb.wav\tbye"\nc.wav\t"He said ""no"""\nd.wav\t5" disc\n'
    assert [row[1] for row in rows(tmp_path / "a.tsv", table)] == [
        '"Hello', 'bye"', 'He said "no"', '5" disc',
    ]  # fmt: skip


def test_quoted_texts_of_several_lines(tmp_path: Path) -> None:
    table = 'path,text,id\na.wav,"Hello\nthere, you",1\nb.wav,"say ""hi""",2\nc.wav,,3,,\n'
    found = rows(tmp_path / "a.csv", table)
    assert [row[1] for row in found] == ["Hello\nthere, you", 'say "hi"', ""]


def test_line_separators_within_a_text(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "one\u2028two\x85three"}\n{"text": "four"}\n', encoding="utf-8")
    assert [row["text"] for _, row in json_lines(path)] == ["one\u2028two\x85three", "four"]


def test_lines_are_bounded(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("path,text\n" + "x" * 1_000_001)
    with pytest.raises(StepeditError, match="line 2: longer than"):
        list(text_lines(path))


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', '{"a": NaN}', "[" * 100_000, "{"])
def test_json_that_loses_a_value(text: str) -> None:
    with pytest.raises(ValueError, match=r"twice|no number|deeply|Expecting"):
        parse_json(text)


@pytest.mark.parametrize("text", ["=1+1", "+x", "-x", "@x", "\tx", "'=x", "x", "", "'x"])
def test_cells_are_no_formulas(text: str) -> None:
    buffer = io.StringIO()
    csv.writer(buffer).writerow([plain_cell(text), plain_cell(-1.5)])
    shown, number = next(csv.reader(io.StringIO(buffer.getvalue())))
    assert not shown.startswith(("=", "+", "-", "@", "\t")) and number == "-1.5"
    assert original_cell(shown) == text


def test_printable_shows_escapes_and_cuts_the_middle() -> None:
    assert printable("a\x1b[2Jb\nc\u202ed") == "a\\x1b[2Jb c\\u202ed"
    cut = printable("f.csv: " + "x" * 900 + "; do this", 100)
    assert len(cut) == 100 and cut.startswith("f.csv") and cut.endswith("do this")


def test_what_spreadsheets_write_in_front(tmp_path: Path) -> None:
    assert rows(tmp_path / "a.csv", "sep=;\r\npath;text\r\na.wav;Go, home\r\n") == [
        ("a.wav", "Go, home")
    ]
    assert rows(tmp_path / "b.csv", "SEP=|\npath|text\na.wav|Go\n") == [("a.wav", "Go")]


def test_one_zero_byte_is_no_encoding(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"path,text\na.wav,Go \0 home\n")
    assert encoding_of(tmp_path / "a.csv") == "utf-8"
