"""``stepedit edit`` on recordings in pieces."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from click.testing import Result

from stepedit_core.registry.registry import Registry
from stepedit_core.testing import speech_like
from tests.cli.calls import call, refused

SRT = """1
00:00:00,200 --> 00:00:03,800
Ann: One two.

2
00:00:04,200 --> 00:00:07,800
Bob: Three four.
"""


def done(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    parts = [speech_like(4.0, 16_000, seed=n).samples for n in range(2)]
    sf.write(tmp_path / "talk.wav", np.concatenate(parts), 16_000, subtype="PCM_16")
    (tmp_path / "talk.srt").write_text(SRT)
    return tmp_path / "talk.wav"


def test_five_minutes_and_more_go_in_pieces(toys: Registry, tmp_path: Path) -> None:
    sound = np.tile(speech_like(10.0, 8_000).samples, 31)
    sf.write(tmp_path / "long.wav", sound, 8_000)
    out = tmp_path / "out.wav"
    text = done(call("edit", tmp_path / "long.wav", "-o", out, "-e", "gain:db=-3"))
    assert "edited in pieces" in text and f"wrote {out} (5:10.0 min" in text
    assert sf.info(out).frames == len(sound)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["long.wav", "out.wav"]


def test_subtitles_in_and_out(toys: Registry, talk: Path) -> None:
    out, report = talk.with_name("out.wav"), talk.with_name("report.json")
    subtitles = talk.with_name("out.vtt")
    arguments = ["--subtitles", talk.with_suffix(".srt"), "--subtitles-out", subtitles]
    arguments += ["--speaker", "Bob", "--report", report]
    text = done(call("edit", talk, "-o", out, "-e", "gain:db=-3", *arguments))
    assert "2 segments from" in text
    assert "<v Bob>Three four." in subtitles.read_text()
    run = json.loads(report.read_text())["runs"][0]
    assert [piece["segments"] for piece in run["pieces"] if piece["is_edited"]] == [[2]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--segments", "7-3"], "segments are numbers such as 3-7"),
        (["--segments", "9"], "no segment 9"),
        (["--subtitles", "none.srt"], "none.srt: no such file"),
        (["--subtitles-out", "out.doc"], "out.doc: subtitles are written as .srt"),
        (["--speaker", "Ann"], "no plugin brings one"),
        (["--longest", "2", "--keep-steps"], "--keep-steps is for recordings"),
    ],
)
def test_wrong_usage(toys: Registry, talk: Path, arguments: list[str], message: str) -> None:
    line = refused(call("edit", talk, "-o", talk.with_name("o.wav"), "-e", "gain", *arguments))
    assert message in line
    assert not talk.with_name("o.wav").exists()


@pytest.mark.slow
def test_workers_give_the_same_bytes(talk: Path) -> None:
    outs = [talk.with_name(f"{n}.wav") for n in (1, 2)]
    for workers, out in enumerate(outs, 1):
        arguments = ["-e", "speed:factor=1.2", "--longest", "2", "--workers", str(workers)]
        done(call("edit", talk, "-o", out, *arguments))
    assert outs[0].read_bytes() == outs[1].read_bytes()
