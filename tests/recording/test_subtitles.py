"""Subtitles and labels: what is written is read again; damaged files are refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from stepedit_core import Alignment
from stepedit_core.errors import AlignmentError
from stepedit_core.recording.levels import measure_levels
from stepedit_core.recording.segments import Segment, tiles_of_segments
from stepedit_core.recording.subtitles import (
    FORMATS,
    Cue,
    check_cues,
    cues_of,
    format_alignment,
    read_cues,
)
from stepedit_core.testing import speech_like
from tests.core.test_alignment import timed

SUFFIX = {
    "json": ".json",
    "srt": ".srt",
    "vtt": ".vtt",
    "textgrid": ".TextGrid",
    "audacity": ".txt",
}


@pytest.mark.parametrize("kind", FORMATS)
def test_what_is_written_is_read_again(kind: str, tmp_path: Path) -> None:
    found = timed("Hello there. How are you?")
    file = tmp_path / f"a{SUFFIX[kind]}"
    file.write_text(format_alignment(found, kind, 4.0), encoding="utf-8")  # type: ignore[arg-type]
    cues = read_cues(file)
    if kind == "audacity":
        assert [cue.text for cue in cues] == [word.text for word in found.words]
    else:
        assert [cue.text for cue in cues] == ["Hello there.", "How are you?"]
    assert cues[0].start == pytest.approx(found.words[0].start, abs=1e-3)
    assert cues[-1].end == pytest.approx(found.words[-1].end, abs=1e-3)


def test_long_sentences_are_cut_between_words() -> None:
    found = timed("one two three four five six seven eight nine ten.", step=1.0)
    cues = cues_of(found, longest=4.0)
    assert [cue.text for cue in cues] == ["one two three four", "five six seven eight", "nine ten."]
    assert all(cue.end - cue.start <= 4.0 for cue in cues)


def test_speakers_are_read(tmp_path: Path) -> None:
    file = tmp_path / "a.vtt"
    file.write_text("WEBVTT\n\n00:00.000 --> 00:01.000\n<v Anna>Hello <b>you</b>\n")
    assert read_cues(file) == (Cue(0.0, 1.0, "Hello you", "Anna"),)
    file = tmp_path / "a.srt"
    file.write_text("1\n00:00:00,000 --> 00:00:01,500\nBob: Hi.\n")
    assert read_cues(file) == (Cue(0.0, 1.5, "Hi.", "Bob"),)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.srt", "1\n00:00:01 --> 00:00:02\nHi --> there.\n"),
        ("a.vtt", "WEBVTT\n\n00:01 --> 00:02 align:start\nHi --> there.\n"),
    ],
)
def test_whole_seconds(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    assert read_cues(tmp_path / name) == (Cue(1.0, 2.0, "Hi --> there."),)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_encodings(encoding: str, tmp_path: Path) -> None:
    file = tmp_path / "a.srt"
    text = "1\n00:00:00,000 --> 00:00:01,500\nDéjà vu à l'été, où êtes-vous passés après?\n"
    file.write_bytes(text.encode(encoding))
    assert "Déjà vu à l'été" in read_cues(file)[0].text


def test_an_encoding_is_not_guessed(tmp_path: Path) -> None:
    file = tmp_path / "a.srt"
    file.write_bytes("1\n00:00:00,000 --> 00:00:01,500\nl'été à Paris\n".encode("latin-1"))
    with pytest.raises(AlignmentError, match="save it as UTF-8"):
        read_cues(file)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.srt", b"", "empty"),
        ("a.srt", b"no subtitles at all", "a.srt"),
        ("a.srt", b"1\n-00:00:01,500 --> 00:00:02,000\nHi.\n", "begins before the recording"),
        ("a.vtt", b"WEBVTT\n\n00:01.000 --> -00:02.000\nHi.\n", "begins before the recording"),
        ("a.txt", b"0.0 1.0 blanks\n", "line 1"),
        ("a.json", b"{", "a.json"),
        ("a.json", b'{"sentences": [{"start": "0", "end": 1}]}', "row 1"),
        ("a.txt", b"2.0\t1.0\tbackwards\n", "cue 1"),
        ("a.txt", b"nan\t1.0\tx\n", "no finite"),
        ("a.TextGrid", b"rubbish", "a.TextGrid"),
        ("a.vtt", b"\x00\xff\xfe\x00" * 9, "a.vtt"),
    ],
)
def test_damaged_files(name: str, content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AlignmentError, match=says) as caught:
        read_cues(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_cues_are_checked_against_the_recording() -> None:
    cues = (Cue(0, 2, "a"), Cue(1, 3, ""), Cue(4, 9, "c"))
    notes = check_cues(cues, 5.0)
    assert (
        "1 cue overlaps" in notes[0]
        and "1 cue ends after the recording" in notes[1]
        and notes[2] == "1 cue has no words"
    )
    assert check_cues((Cue(0, 2, "a"), Cue(2, 3, "b")), 5.0) == []


def test_braces_and_arrows_are_kept(tmp_path: Path) -> None:
    text = r"Set {x} to \N."
    words = timed(text)
    file = tmp_path / "a.srt"
    file.write_text(format_alignment(Alignment(text, words.words, "t"), "srt"), encoding="utf-8")
    assert "Set {x} to" in read_cues(file)[0].text


@pytest.mark.parametrize(("name", "most"), [("a.srt", 5), ("a.TextGrid", 5), ("a.json", 20)])
def test_files_that_are_too_large_for_subtitles(tmp_path: Path, name: str, most: int) -> None:
    file = tmp_path / name
    with file.open("wb") as content:
        content.truncate(most * 10**6 + 1)
    with pytest.raises(AlignmentError, match=f"larger than {most} MB"):
        read_cues(file)


@pytest.mark.parametrize("count", [100, 20_000])
def test_cues_that_lie_over_one_another_share_a_tile(count: int) -> None:
    levels = measure_levels([speech_like(3.0, 8_000).samples], 8_000)
    segments = [Segment(n, n * 1e-5, 2.9, "a") for n in range(1, count + 1)]
    tiles = tiles_of_segments(segments, levels)
    assert [len(tile.segments) for tile in tiles] == [count]
    assert (tiles[0].start, tiles[0].stop) == (0, levels.samples)
