"""Pipes in and out, targets that stay what they are, and calls that go on where they were cut."""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import soundfile as sf
from click.testing import CliRunner

from stepedit_core.cli.plan import Job
from stepedit_core.cli.resuming import NAME
from stepedit_core.cli.root import cli
from stepedit_core.errors import AudioError
from stepedit_core.testing import speech_like
from stepedit_core.utterance import Utterance
from tests.cli.calls import call, refused

EDIT = ("-e", "speed:factor=1.25")


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    return speech_like(1.0, 16_000).write(tmp_path / "in.wav")


def test_standard_input_to_standard_output(wav: Path) -> None:
    result = CliRunner().invoke(cli, ["edit", "-", "-o", "-", *EDIT], input=wav.read_bytes())
    assert result.exit_code == 0, result.stderr
    sound, rate = sf.read(io.BytesIO(result.stdout_bytes))
    assert rate == 16_000 and len(sound) / rate == pytest.approx(0.8, abs=0.01)
    assert "wrote - (0.80 s" in result.stderr


def test_a_pipe_in_and_a_pipe_out(wav: Path, tmp_path: Path) -> None:
    for name in ("i", "o"):
        os.mkfifo(tmp_path / name)
    got: list[bytes] = []
    ends = [
        threading.Thread(target=(tmp_path / "i").write_bytes, args=(wav.read_bytes(),)),
        threading.Thread(target=lambda: got.append((tmp_path / "o").read_bytes())),
    ]
    for end in ends:
        end.start()
    assert call("edit", tmp_path / "i", "-o", tmp_path / "o", *EDIT).exit_code == 0
    for end in ends:
        end.join()
    assert sf.info(io.BytesIO(got[0])).format == "WAV"
    assert stat.S_ISFIFO(os.stat(tmp_path / "o").st_mode)


def test_a_stream_into_a_folder_gets_a_name(wav: Path, tmp_path: Path) -> None:
    given = ["edit", "-", "-o", f"{tmp_path / 'out'}/", *EDIT]
    assert CliRunner().invoke(cli, given, input=wav.read_bytes()).exit_code == 0
    assert os.listdir(tmp_path / "out") == ["stdin.wav"]


def test_devices_stay_devices(wav: Path, tmp_path: Path) -> None:
    done = call("edit", wav, "-o", "/dev/null", *EDIT, "--report", "/dev/null")
    assert done.exit_code == 0, done.output
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_a_report_on_standard_output_is_json_alone(wav: Path, tmp_path: Path) -> None:
    done = call("edit", wav, "-o", tmp_path / "o.wav", *EDIT, "--report", "-")
    assert json.loads(done.stdout)["runs"][0]["output"] == str(tmp_path / "o.wav")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("in.wav", "-o", "-", "--report", "-"), "cannot both be standard output"),
        (("in.wav", "-o", "-", "--keep-steps"), "- is no file"),
        (("-", "/dev/stdin", "-o", "out/"), "one recording"),
        (("in.wav", "a.wav", "-o", "/dev/null"), "several inputs make a folder"),
        (("in.wav", "-o", "locked.wav"), "locked.wav: is read-only"),
        (("in.wav", "-o", "o.wav", "--report", "locked.wav"), "--report locked.wav: is read-only"),
        (("in.wav", "-o", "o.wav", "--report", "."), "is a folder"),
    ],
)
def test_targets_that_cannot_be_are_refused(
    wav: Path, monkeypatch: pytest.MonkeyPatch, args: tuple[str, ...], words: str
) -> None:
    monkeypatch.chdir(wav.parent)
    Path("locked.wav").write_bytes(b"x")
    Path("locked.wav").chmod(0o444)
    assert words in refused(call("edit", *args, *EDIT))
    assert sorted(os.listdir()) == ["in.wav", "locked.wav"]


def test_notes_of_reading_are_said_and_reported(tmp_path: Path) -> None:
    one = speech_like(1.0, 16_000).samples
    sf.write(tmp_path / "in.wav", list(zip(one, -one, strict=True)), 16_000)
    done = call("edit", tmp_path / "in.wav", "-o", tmp_path / "o.wav", *EDIT, "--report", "-")
    note = "2 channels mixed down to mono: channel 2 is upside down and flipped, averaged"
    assert f"in.wav: {note}" in done.stderr
    assert json.loads(done.stdout)["runs"][0]["notes"] == [note]


def _folder(tmp_path: Path, count: int = 4) -> list[Path]:
    speech = speech_like(1.0, 16_000)
    return [
        speech.replace(samples=speech.samples * (0.5 + at / 10)).write(tmp_path / f"{at}.wav")
        for at in range(count)
    ]


def test_a_cut_call_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = _folder(tmp_path)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    call("edit", *inputs, "-o", whole, *EDIT, "--report", tmp_path / "w.json")
    assert sorted(os.listdir(whole)) == ["0.wav", "1.wav", "2.wav", "3.wav"]
    real = Job.read

    def read(job: Job) -> Utterance:
        if job.source.name == "2.wav" and (cut / "1.wav").exists():
            raise KeyboardInterrupt
        return real(job)

    with monkeypatch.context() as patch:
        patch.setattr(Job, "read", read)
        stopped = call("edit", *inputs, "-o", cut, *EDIT)
    assert stopped.exit_code != 0
    assert sorted(os.listdir(cut)) == [NAME, "0.wav", "1.wav"]
    (cut / "1.wav").write_bytes(b"changed by hand")
    with (cut / NAME).open("ab") as journal:
        journal.write(b'{"request": "torn')
    again = call("edit", *inputs, "-o", cut, *EDIT, "--report", tmp_path / "c.json")
    assert again.exit_code == 0
    assert again.output.count("is finished already") == 1
    assert sorted(os.listdir(cut)) == sorted(os.listdir(whole))
    for name in os.listdir(whole):
        assert (cut / name).read_bytes() == (whole / name).read_bytes()
    rows = json.loads((tmp_path / "c.json").read_text())["runs"]
    assert [Path(row["input"]).name for row in rows] == [one.name for one in inputs]


def test_another_request_takes_nothing_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = _folder(tmp_path, 2)
    monkeypatch.setattr("stepedit_core.cli.resuming.Journal.close", lambda *given: None)
    out = tmp_path / "out"
    for seed in (1, 2):
        done = call("edit", *inputs, "-o", out, "-e", "style:to=whisper", "--seed", seed)
        assert "finished already" not in done.output


_KILLED = """
import os, signal, sys
from stepedit_core.cli.root import cli
from stepedit_core.errors import AudioError
import stepedit_core.atomic as atomic
real, left = os.replace, [int(sys.argv[1])]
def replace(*given):
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), int(sys.argv[2]))
    real(*given)
os.replace = replace
cli(sys.argv[3:])
"""


@pytest.mark.parametrize(("number", "code"), [(9, -9), (15, 143)])
def test_killed_call(tmp_path: Path, number: int, code: int) -> None:
    inputs = _folder(tmp_path, 3)
    out = tmp_path / "out"
    args = ["edit", *map(str, inputs), "-o", str(out), *EDIT]
    killed = subprocess.run(
        [sys.executable, "-c", _KILLED, "2", str(number), *args], capture_output=True, check=False
    )
    assert killed.returncode == code, killed.stderr
    assert b"Traceback" not in killed.stderr
    names = {name for name in os.listdir(out) if not name.startswith(".")}
    assert names == {"0.wav"}
    done = call(*args)
    assert done.exit_code == 0 and done.output.count("finished already") == 1
    assert sorted(os.listdir(out)) == ["0.wav", "1.wav", "2.wav"]


@pytest.mark.parametrize(
    "args",
    [
        ("-", "--chain", "-"),
        ("/dev/stdin", "--text-file", "-", *EDIT),
        ("-", "--subtitles", "/dev/stdin", *EDIT),
        ("a.wav", "--chain", "-", "--text-file", "-"),
    ],
)
def test_standard_input_is_read_once(tmp_path: Path, args: tuple[str, ...]) -> None:
    line = refused(call("edit", *args, "-o", tmp_path / "o.wav", input=b"{}"))
    assert "all others are files" in line


def test_closed_streams(wav: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    speech = Utterance.read(wav)
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdin", None)
        patched.setattr(sys, "stdout", None)
        with pytest.raises(AudioError, match="standard input is closed"):
            Utterance.read("-")
        with pytest.raises(AudioError, match="standard output is closed"):
            speech.write("-")
