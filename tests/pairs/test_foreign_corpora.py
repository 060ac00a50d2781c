"""Manifests and folders as other tools and systems leave them: nothing is lost in silence."""

from __future__ import annotations

import json
import os
import unicodedata
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stepedit_core.errors import StepeditError
from stepedit_core.pairs import CorpusItem
from stepedit_core.registry.corpora import find_reader
from stepedit_core.registry.registry import Registry
from stepedit_core.testing import speech_like
from tests.cli.calls import call, refused
from tests.pairs.making import TOY, registry

__all__ = ["registry"]


def items(registry: Registry, path: Path) -> list[CorpusItem]:
    return list(find_reader(path, registry=registry).items(path))


PARTS = {
    "nemo": {"offset": 0, "duration": 1.0},
    "start": {"start": 1.5, "end": 2.5},
    "start_time": {"start_time": "0.0", "end_time": "1.0"},
    "begin_time": {"begin_time": 4, "end_time": 4.5},
    "start and duration": {"start": 1.0, "duration": 0.5},
    "milliseconds by name": {"start_ms": 500, "end_ms": 1500},
    "milliseconds": {"start": 500, "end": 1500},
}


@pytest.mark.parametrize("facts", PARTS.values(), ids=PARTS)
def test_a_part_of_a_recording_is_refused(
    registry: Registry, tmp_path: Path, facts: dict[str, object]
) -> None:
    speech_like(3.0, 16_000).write(tmp_path / "long.wav")
    (tmp_path / "m.jsonl").write_text(json.dumps({"path": "long.wav", "text": "Go.", **facts}))
    with pytest.raises(StepeditError, match=r"line 1: .* s.* of a recording of .*: the row means"):
        items(registry, tmp_path / "m.jsonl")


@pytest.mark.parametrize(
    "facts",
    [
        {"offset": 0, "duration": 3.1},
        {"start_time": 800.0, "end_time": 803.1},  # where it was cut from
        {"start": None, "end": 5},
        {"start": "12:00", "end": "13:00"},
        {"duration": 1.0},
        {"start": 800_000, "end": 803_100},
        {"start_ms": 0, "end_ms": 3100},
        {"start": 700.0, "duration": 3.1},
    ],
)
def test_a_whole_recording_is_taken(
    registry: Registry, tmp_path: Path, facts: dict[str, object]
) -> None:
    speech = speech_like(2.5, 16_000)
    speech.replace(samples=speech.samples[:50_000]).write(tmp_path / "a.wav")
    (tmp_path / "m.jsonl").write_text(json.dumps({"path": "a.wav", "text": "Go.", **facts}))
    assert [item.transcript for item in items(registry, tmp_path / "m.jsonl")] == ["Go."]


def test_folders_hold_recordings_of_many_kinds(registry: Registry, tmp_path: Path) -> None:
    names = ("a.wav", "b.m4a", "c.aiff", "d.W64", "e.webm", "f.oga")
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / "film.mp4").touch()
    assert [item.id for item in items(registry, tmp_path)] == sorted(names)


def test_links_to_folders(registry: Registry, tmp_path: Path) -> None:
    for name in ("in/own/a.wav", "away/x/b.wav", "away/x/deep/c.wav"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    corpus = tmp_path / "in"
    (corpus / "linked").symlink_to(tmp_path / "away" / "x")
    (corpus / "again").symlink_to(tmp_path / "away" / "x" / "deep")
    (corpus / "ring").symlink_to(corpus)
    (tmp_path / "away" / "x" / "up").symlink_to(tmp_path / "away" / "x")
    found = [os.path.realpath(item.path) for item in items(registry, corpus)]
    assert len(found) == len(set(found)) == 3


@pytest.mark.parametrize("column", ["words", "txt", "transcripts", "caption"])
def test_words_under_other_names(registry: Registry, tmp_path: Path, column: str) -> None:
    (tmp_path / "m.csv").write_text(f"audio_file,{column},speaker_name\na.wav,Go home.,x\n")
    (item,) = items(registry, tmp_path / "m.csv")
    assert (item.transcript, item.speaker) == ("Go home.", "x")


def test_a_coqui_header_is_no_row(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("audio_file|text|speaker_name\nwavs/a.wav|Go home.|x\n")
    (item,) = items(registry, tmp_path / "m.csv")
    assert item.path == str(tmp_path / "wavs/a.wav")


def test_json_lines_in_a_json_file(registry: Registry, tmp_path: Path) -> None:
    path = tmp_path / "train_manifest.json"
    row = {"audio_filepath": "a.wav", "text": "Go.", "duration": 1.0}
    path.write_text("".join(json.dumps({**row, "text": text}) + "\n" for text in ("Go.", "On.")))
    assert [item.transcript for item in items(registry, path)] == ["Go.", "On."]
    path.write_text(json.dumps(row))
    assert [item.transcript for item in items(registry, path)] == ["Go."]


def test_a_json_array(registry: Registry, tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text("\ufeff" + json.dumps([{"path": "a.wav", "text": "Go."}] * 2, indent=2))
    assert len(items(registry, path)) == 2
    for content, match in (("[1]", "entry 1: a row is"), ("[{]", "not JSON")):
        path.write_text(content)
        with pytest.raises(StepeditError, match=rf"m\.json.*{match}"):
            items(registry, path)


def test_hidden_characters_are_no_words(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text('path,text\na.wav,"Go\u00a0ho\u00adme,\nCafe\u0301."\n')
    assert items(registry, tmp_path / "m.csv")[0].transcript == "Go home, Café."


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_from_macos(registry: Registry, tmp_path: Path, form: str) -> None:
    other = "NFD" if form == "NFC" else "NFC"
    (tmp_path / unicodedata.normalize(form, "Tür.wav")).touch()
    (tmp_path / "m.csv").write_text(f"path\n{unicodedata.normalize(other, 'Tür.wav')}\n")
    (item,) = items(registry, tmp_path / "m.csv")
    assert Path(item.path).is_file()


def test_addresses(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "a b.wav").touch()
    (tmp_path / "m.csv").write_text(f"path\n{(tmp_path / 'a b.wav').as_uri()}\n")
    assert Path(items(registry, tmp_path / "m.csv")[0].path).is_file()
    (tmp_path / "m.csv").write_text("path\nhttps://example.org/a.wav\n")
    with pytest.raises(StepeditError, match=r"line 2: https://example\.org/a\.wav is an address"):
        items(registry, tmp_path / "m.csv")


def test_plain_columns_in_parquet(registry: Registry, tmp_path: Path) -> None:
    pq.write_table(pa.table({"audio": ["a.wav"], "text": ["Go."]}), tmp_path / "m.parquet")
    with pytest.raises(StepeditError, match=r"no column of type Audio .*cast_column"):
        items(registry, tmp_path / "m.parquet")


def test_names_that_are_no_unicode(tmp_path: Path) -> None:
    corpus = tmp_path / "in"
    corpus.mkdir()
    speech_like(1.0, 16_000).write(corpus / os.fsdecode(b"caf\xe9.wav"))
    given = ["-p", TOY, "pairs", "quieter", "--corpus", corpus, "--out", tmp_path / "out"]
    line = refused(call(*given))
    assert "its name is no Unicode; rename it" in line and r"caf\udce9.wav" in line


def test_words_that_are_no_unicode(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text('{"path": "a.wav", "text": "caf\\ud800"}\n')
    given = ["-p", TOY, "pairs", "quieter", "--corpus", tmp_path / "m.jsonl"]
    assert "its text is no Unicode" in refused(call(*given, "--out", tmp_path / "out"))
