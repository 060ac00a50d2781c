"""Options that name a file to write keep modes and links, and leave devices what they are."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from stepedit_core.recordings import packaged_speech
from tests.cli.calls import call, refused

SPEECH = packaged_speech("garden")
EDIT = ("-o", "out.wav", "-e", "volume:db=-3")
TIMED = ("--text", SPEECH.transcript, "--aligner", "pauses")
SUBTITLES = (*EDIT, "--subtitles", "in.srt", "--segments", "1")
FLAGS = {
    "audio": ("edit", "in.wav", "-e", "volume:db=-3", "-o", "NAME.wav"),
    "recording": ("edit", "in.wav", *SUBTITLES[2:], "-o", "NAME.wav"),
    "report": ("edit", "in.wav", *EDIT, "--report", "NAME.json"),
    "subtitles": ("edit", "in.wav", *SUBTITLES, "--subtitles-out", "NAME.srt"),
    "align": (
        "align",
        "in.wav",
        "--text",
        SPEECH.transcript,
        "--aligner",
        "pauses",
        "-o",
        "NAME.srt",
    ),
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    SPEECH.write(tmp_path / "in.wav")
    (tmp_path / "in.srt").write_text("1\n00:00:00,500 --> 00:00:02,000\nGo home.\n")
    return tmp_path


def to(flag: str, name: str) -> tuple[list[str], Path]:
    """Return a call that writes a file, and the file."""
    args = [arg.replace("NAME", name) for arg in FLAGS[flag]]
    return args, Path(args[-1])


@pytest.mark.parametrize("flag", FLAGS)
def test_modes_and_links(here: Path, flag: str) -> None:
    args, old = to(flag, "old")
    old.write_text("x")
    old.chmod(0o604)
    assert call(*args).exit_code == 0
    assert stat.S_IMODE(old.stat().st_mode) == 0o604 and old.stat().st_size > 1
    args, link = to(flag, "link")
    link.symlink_to(f"away{link.suffix}")
    assert call(*args).exit_code == 0
    assert link.is_symlink() and Path(f"away{link.suffix}").stat().st_size > 1
    before = os.umask(0o027)
    try:
        args, new = to(flag, "new")
        assert call(*args).exit_code == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE(new.stat().st_mode) == 0o640


@pytest.mark.parametrize("flag", FLAGS)
def test_pipes_get_all_and_stay_pipes(here: Path, flag: str) -> None:
    args, pipe = to(flag, "pipe")
    os.mkfifo(pipe)
    with subprocess.Popen(["timeout", "60", "cat", pipe], stdout=subprocess.PIPE) as reader:
        assert call(*args).exit_code == 0
        assert len(reader.communicate()[0]) > 1
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.parametrize("flag", FLAGS)
def test_devices(here: Path, flag: str) -> None:
    for device, codes in (("/dev/null", (0,)), ("/dev/full", (1, 2))):
        result = call(*to(flag, "x")[0][:-1], device)
        assert stat.S_ISCHR(os.stat(device).st_mode)
        if flag != "subtitles":  # their format comes from the suffix
            assert result.exit_code in codes, result.output
    if flag != "subtitles":
        *notes, error = result.stderr.splitlines()
        assert all(line.startswith("note: ") for line in notes)
        assert error.startswith("error: ") and "No space left on device" in error


@pytest.mark.parametrize("flag", FLAGS)
def test_read_only_targets_and_folders(here: Path, flag: str) -> None:
    args, kept = to(flag, "kept")
    kept.write_text("x")
    kept.chmod(0o444)
    assert "is read-only" in refused(call(*args))
    assert kept.read_text() == "x" and not Path("out.wav").exists()
    args, folder = to(flag, "folder")
    folder.mkdir()
    if flag in ("report", "subtitles", "align"):
        assert "is a folder; name a file" in refused(call(*args))
    assert "is a file, not a folder" in refused(call(*to(flag, "in.wav/x")[0]))
