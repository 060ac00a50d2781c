"""Bad input: one clear line, exit code 2, nothing under the final name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from stepedit_core.testing import speech_like
from tests.cli.calls import call, refused
from tests.conftest import TOYS

pytestmark = pytest.mark.usefixtures("toys")


def make(kind: str, path: Path) -> Path:
    """Write a bad recording."""
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "zero samples":
        sf.write(path, np.zeros(0, np.float32), 16_000)
    elif kind == "nan":
        sf.write(path, np.array([np.nan, 0.1] * 900, np.float32), 16_000, subtype="FLOAT")
    elif kind == "inf":
        sf.write(path, np.array([np.inf, 0.1] * 900, np.float32), 16_000, subtype="FLOAT")
    elif kind == "text":
        path.write_text("these are words, not sound\n")
    elif kind == "truncated header":
        path.write_bytes(speech_like(0.3).write(path).read_bytes()[:20])
    elif kind == "ten minutes":
        sf.write(path, np.full(600 * 8000, 0.1, np.float32), 8_000)
    elif kind == "3 ms":
        sf.write(path, np.full(48, 0.1, np.float32), 16_000)
    elif kind == "all zero":
        sf.write(path, np.zeros(16_000, np.float32), 16_000)
    elif kind == "folder":
        path.mkdir()
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("absent", "no such file"),
        ("empty", "the file is empty"),
        ("zero samples", "holds no samples"),
        ("nan", "NaN or infinite"),
        ("inf", "NaN or infinite"),
        ("text", "not a readable audio file"),
        ("truncated header", "not a readable audio file"),
        ("ten minutes", "digital silence or one constant value: there is nothing to edit"),
        ("3 ms", "lasts 3.0 ms; 20 ms is the least"),
        ("all zero", "digital silence: there is nothing to edit"),
        ("folder", "is a folder, not a recording"),
    ],
)
def test_recordings(tmp_path: Path, kind: str, message: str) -> None:
    source, out = make(kind, tmp_path / "bad.wav"), tmp_path / "o" / "out.wav"
    line = refused(call("edit", source, "-o", out, "-e", "gain"))
    assert str(source) in line
    assert message in line
    assert not out.parent.exists()


def test_bad_recording_in_a_batch(wav: Path, tmp_path: Path) -> None:
    bad = make("text", tmp_path / "bad.wav")
    assert "bad.wav" in refused(call("edit", wav, bad, "-o", tmp_path / "out", "-e", "gain"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        (["nix"], "-e number 1: unknown edit 'nix'; `stepedit edits` lists"),
        (["gain", "gian"], "-e number 2: unknown edit 'gian'; did you mean 'gain'?"),
        (["gain:db=99"], "gain: db: Input should be less than or equal to 12, got 99"),
        (["gain:dbs=1"], "gain: no parameter 'dbs'; did you mean 'db'?"),
        (["gain:"], "parameters are missing after the colon"),
        (["hiss:amount=some"], "hiss: amount: Input should be 'little' or 'much', got 'some'"),
        (["hiss:amount=litle"], "or 'much', got 'litle'; did you mean 'little'?"),
        (["within:inner=nix"], "unknown edit 'nix'"),
        (['within:inner={"edit":"nix"}'], "within: inner: unknown edit 'nix'"),
        (["gain:edit=hiss"], "gain: 'edit' is no parameter"),
        (['{"edit": "gain", "db": ' + "[" * 9000], "not JSON: nested too deeply"),
        (["within:inner=(" * 900 + "gain" + ")" * 900], "edits are nested too deeply"),
        (["recite:words=a"], "the llm route needs an engine; give one with engine= or --engine"),
        ([], "nothing to do: give -e NAME:param=value, --say SENTENCE or --chain FILE"),
    ],
)
def test_edits(wav: Path, tmp_path: Path, edits: list[str], message: str) -> None:
    options = [part for edit in edits for part in ("-e", edit)]
    assert message in refused(call("edit", wav, "-o", tmp_path / "out.wav", *options))
    assert not (tmp_path / "out.wav").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read (No such file"),
        ("this is not JSON", "the text is not JSON"),
        (
            '{"schema_version": 7, "edits": []}',
            "schema version 7, this stepedit reads up to 1; upd",
        ),
        ('{"schema_version": 1, "edits": [{"edit": "gian"}]}', "step 1: unknown edit 'gian'; did"),
        ('{"schema_version": 1, "edits": []}', "nothing to do"),
        ('{"schema_version": 0, "edits": []}', "a whole number from 1 under 'schema_version'"),
        (
            '{"schema_version": 1, "iterations": 1000000000, "edits": [{"edit": "gain"}]}',
            "the chain has 1000000000 steps; 10000 is the most",
        ),
        (b"\xff\xfe\x00", "a chain is text in UTF-8; this is not UTF-8"),
    ],
)
def test_chain_files(wav: Path, tmp_path: Path, content: str | bytes | None, message: str) -> None:
    chain = tmp_path / "chain.json"
    if isinstance(content, bytes):
        chain.write_bytes(content)
    elif content is not None:
        chain.write_text(content)
    line = refused(call("edit", wav, "-o", tmp_path / "out.wav", "--chain", chain))
    assert message in line


def test_outputs_that_cannot_be_written(wav: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    base = ("edit", wav, "-e", "gain", "-o")
    assert "is a file, not a folder" in refused(call(*base, tmp_path / "file" / "out.wav"))
    assert "unknown audio format '.xyz'" in refused(call(*base, tmp_path / "out.xyz"))
    assert "out: the name has no suffix; use one of .wav" in refused(call(*base, tmp_path / "out"))
    assert "-o is empty" in refused(call(*base, ""))
    assert "is the input itself" in refused(call(*base, wav))
    report = tmp_path / "file" / "report.json"
    line = refused(call(*base, tmp_path / "out.wav", "--report", report))
    assert "is a file, not a folder" in line
    assert not (tmp_path / "out.wav").exists()


def test_targets_are_refused_before_any_work(wav: Path, tmp_path: Path) -> None:
    base = ("edit", wav, "-e", "gain", "-o")
    assert "cannot be a file name" in refused(call(*base, tmp_path / ("x" * 300 + ".wav")))
    line = refused(call(*base, tmp_path / "out.wav", "--report", tmp_path))
    assert "is a folder; name a file" in line
    line = refused(call(*base, tmp_path / "out.wav", "--text", "a", "--text-file", wav))
    assert "give --text or --text-file, not both" in line
    assert not (tmp_path / "out.wav").exists()


@pytest.mark.parametrize("path", [".", "..", "/", "", "./"])
@pytest.mark.parametrize(
    "command",
    [
        ("edit", None, "-e", "gain", "-o", "out.wav"),
        ("edit", None, "-e", "gain", "-o", "out/"),
        ("edit", "one.wav", "-e", "gain", "-o", "out.wav", "--text-file", None),
        ("edit", "one.wav", "-e", "gain", "-o", "out.wav", "--subtitles", None),
        ("edit", "one.wav", "-o", "out.wav", "--chain", None),
        ("edit", "one.wav", "-e", "gain", "-o", "out.wav", "--report", None),
        ("align", None),
        ("transcribe", None),
        ("encode", None, "--engine", "embedded", "-o", "out.json"),
        ("decode", None, "--engine", "embedded", "-o", "out.wav"),
        ("verify", None),
    ],
)
def test_paths_without_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str | None, ...], path: str
) -> None:
    monkeypatch.chdir(tmp_path)
    speech_like(0.3).write(tmp_path / "one.wav")
    refused(call(*(path if part is None else part for part in command)))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["one.wav"]


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs Linux's /proc")
def test_a_folder_where_nobody_can_write(wav: Path) -> None:
    line = refused(call("edit", wav, "-e", "gain", "-o", "/proc/out.wav"))
    assert "/proc" in line
    assert "write in /proc" in line


def test_the_bare_command_shows_help() -> None:
    result = call()
    assert result.exit_code == 2
    assert "error: " not in result.output
    assert "Commands:" in result.output


def test_a_folder_without_permission(
    wav: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The superuser may write anywhere, so the answer of the system is stood in for."""
    monkeypatch.setattr(
        "stepedit_core.cli.console.os.access", lambda place, mode: not mode & os.W_OK
    )
    line = refused(call("edit", wav, "-o", tmp_path / "out.wav", "-e", "gain"))
    assert "no permission to write" in line


def test_outputs_that_clash(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, two = (speech_like(0.3).write(tmp_path / name / "x.wav") for name in "ab")
    out = tmp_path / "out"
    assert "would both be written to" in refused(call("edit", one, two, "-o", out, "-e", "gain"))
    line = refused(call("edit", one, two, "-o", tmp_path / "out.wav", "-e", "gain"))
    assert "several inputs make a folder" in line
    line = refused(call("edit", one, two, "-o", out, "-e", "gain", "--text", "words"))
    assert "--text is for one input" in line


def test_transcripts(wav: Path, tmp_path: Path) -> None:
    base = ("edit", wav, "-o", tmp_path / "out.wav", "-e", "gain", "--text-file")
    words = tmp_path / "words.txt"
    assert "cannot be read" in refused(call(*base, words))
    words.write_bytes(b"\xff\xfe\xfa")
    assert "a transcript is text in UTF-8; this is not UTF-8" in refused(call(*base, words))
    words.write_text(" \n ")
    assert "the transcript is empty" in refused(call(*base, words))


def test_engines(wav: Path, tmp_path: Path) -> None:
    base = ("edit", wav, "-o", tmp_path / "out.wav", "-e", "hiss")
    assert "give --engine too" in refused(call(*base, "--device", "cuda"))
    missing = tmp_path / "no-such-engine"
    assert "no-such-engine" in refused(call(*base, "--engine", missing))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("edti", "x"), "no command 'edti'; did you mean 'edit'"),
        (("edit",), "Missing argument 'IN...'; see stepedit edit --help"),
        (("edit", "a.wav"), "Missing option '-o'"),
        (("edit", "a.wav", "-o", "b.wav", "--seed", "-1"), "Invalid value for '--seed'"),
        (("edit", "a.wav", "-o", "b.wav", "--route", "gpu"), "Invalid value for '--route'"),
        (("--nonsense",), "No such option"),
        (("-p", "absent.py", "edits"), "absent.py: no such plugin file"),
    ],
)
def test_usage(args: tuple[str, ...], message: str) -> None:
    assert message in refused(call(*args))


def test_the_process_exits_with_one_line_and_code_2(tmp_path: Path) -> None:
    """The same through the console script: no traceback, nothing on standard output."""
    source = make("text", tmp_path / "bad.wav")
    command = (sys.executable, "-c", "from stepedit_core.cli import main; main()")
    args = ("-p", TOYS, "edit", source, "-o", tmp_path / "out.wav", "-e", "gain")
    done = subprocess.run([*command, *map(str, args)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"error: {source}: not a readable audio file")


def test_the_process_exits_with_1_where_a_step_fails(wav: Path, tmp_path: Path) -> None:
    command = (sys.executable, "-c", "from stepedit_core.cli import main; main()")
    args = ("-p", TOYS, "edit", wav, "-o", tmp_path / "o.wav", "-e", "gain", "-e", "burst")
    done = subprocess.run([*command, *map(str, args)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "step 2, burst" in done.stderr
    assert done.stderr.count("\n") == 1
    assert (tmp_path / "o.step1-gain.wav").is_file()
    assert not (tmp_path / "o.wav").exists()


SUBTITLES = "1\n00:00:00,000 --> 00:00:00,500\nhello there\n\n"


@pytest.mark.parametrize(
    "args",
    [
        ("edit", "a.wav", "-o", "o.wav", "-e", "hiss", "--report", "o.wav"),
        ("edit", "a.wav", "-o", "o.wav", "-e", "hiss", "--report", "a.wav"),
        ("edit", "a.wav", "-o", "o.wav", "-e", "hiss", "--report", "link.wav"),
        ("edit", "a.wav", "-o", "o.wav", "--chain", "c.json", "--report", "c.json"),
        ("edit", "a.wav", "-o", "o.wav", "-e", "hiss", "--text-file", "w", "--report", "w"),
        ("edit", "a.wav", "-o", "o.wav", "-e", "hiss", "--subtitles", "s.srt",
         "--subtitles-out", "s.srt"),
        ("edit", "a.wav", "-o", "o.wav", "-e", "hiss", "--subtitles", "s.srt",
         "--subtitles-out", "r.json", "--report", "r.json"),
        ("align", "a.wav", "--text", "hello", "-o", "a.wav"),
        ("transcribe", "a.wav", "-o", "../{}/a.wav"),
        ("encode", "a.wav", "-o", "a.wav"),
        ("decode", "c.json", "--reference", "a.wav", "-o", "a.wav"),
    ],
)  # fmt: skip
def test_what_is_read_is_never_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    speech_like(0.4).write("a.wav")
    Path("link.wav").symlink_to("a.wav")
    Path("c.json").write_text(
        '{"edits": [{"edit": "hiss"}], "linguistic": [1, 2], "semantic": [1, 2, 3]}'
        if args[0] == "decode"
        else '{"edits": [{"edit": "hiss"}]}'
    )
    Path("w").write_text("hello there")
    Path("s.srt").write_text(SUBTITLES)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    line = refused(call(*(arg.format(tmp_path.name) for arg in args)))
    assert "by this call; name another file" in line
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (OSError(28, "No space left on device", "out/a.bin"), 2, "make room on the disk"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), 2, "make room"),
        (FileExistsError(17, "File exists", "/dev/null"), 2, "/dev/null: File exists; choose"),
        (
            PermissionError(13, "Permission denied", b"a\xff"),
            2,
            "Permission denied; choose another",
        ),
        (OSError(36, "File name too long", "x" * 999), 2, "xxx"),
        (OSError(5, "Input/output error"), 1, "OSError: [Errno 5] Input/output error; --debug"),
    ],
)
def test_errors_of_the_system(
    monkeypatch: pytest.MonkeyPatch, error: Exception, code: int, line: str
) -> None:
    def fail(*given: object, **named: object) -> None:
        raise error

    monkeypatch.setattr("stepedit_core.cli.edit.plan_jobs", fail)
    assert line in refused(call("edit", "a.wav", "-o", "b.wav", "-e", "hiss"), code)


def test_a_folder_is_named_before_the_name_of_the_output(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    line = refused(call("edit", tmp_path / "in", "-o", tmp_path / "out", "-e", "gain"))
    assert "in: is a folder, not a recording; name its files" in line
