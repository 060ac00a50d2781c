"""Texts that are not UTF-8: the right encoding is among those that are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from stepedit_core.errors import StepeditError
from stepedit_core.recording.subtitles import read_cues
from stepedit_core.storage.encodings import likely_encodings, not_utf8, readings
from stepedit_core.storage.tables import encoding_of

TEXTS = {
    "gb18030": "今天天气很好，我们去公园散步吧。",
    "big5": "請問最近的捷運站在哪裡？",
    "cp932": "駅までどのくらいかかりますか。",
    "euc_jp": "明日の会議は午後三時から始まります。",
    "cp949": "오늘은 날씨가 좋아서 공원에서 산책합시다.",
    "cp1251": "Как пройти к вокзалу?",
    "cp1252": "Schöne Grüße aus München",
    "cp1250": "Dzień dobry, gdzie jest najbliższy sklep?",
}


@pytest.mark.parametrize("encoding", TEXTS)
@pytest.mark.parametrize("rows", [1, 3, 30])
def test_the_right_encoding_is_named(encoding: str, rows: int) -> None:
    table = "path,text\n" + "".join(f"{row}.wav,{TEXTS[encoding]}\n" for row in range(rows))
    content = table.encode(encoding)
    assert any(content.decode(name) == table for name, _ in likely_encodings(content))
    assert len(readings(content)) < 120


def test_chinese_and_korean_are_told_apart() -> None:
    for encoding in ("gb18030", "cp949"):
        content = f"a.wav,{TEXTS[encoding]}\n".encode(encoding) * 3
        assert likely_encodings(content)[0][0] == encoding


def test_a_table_names_the_line_and_the_cure(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    plain = "path,text\n" + "a.wav,Go home.\n" * 90_000  # foreign bytes stand behind the first MB
    file.write_bytes(plain.encode() + f"b.wav,{TEXTS['gb18030']}\n".encode("gb18030"))
    with pytest.raises(StepeditError) as caught:
        encoding_of(file)
    assert "line 90002: not UTF-8; it may be" in str(caught.value)
    assert "gb18030 ('今天天气很好" in str(caught.value)
    assert "(--encoding NAME)" in str(caught.value)


def test_subtitles_name_it_too(tmp_path: Path) -> None:
    file = tmp_path / "a.srt"
    cue = f"1\n00:00:01,000 --> 00:00:02,000\n{TEXTS['gb18030']}\n"
    file.write_bytes(cue.encode("gb18030"))
    with pytest.raises(StepeditError, match=r"gb18030 \('今天天气.*iconv -f NAME -t utf-8"):
        read_cues(file)


@pytest.mark.parametrize("content", [b"\xff", b"\x89PNG\r\n\x1a\n\x00\xff" * 99, b"\x80\x81"])
def test_what_is_no_text_is_no_fault_of_the_message(content: bytes) -> None:
    assert not_utf8(content).startswith("not UTF-8") and "iconv" in not_utf8(content)
    assert not_utf8(content).isprintable() and len(not_utf8(content)) < 200
