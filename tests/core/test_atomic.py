from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
import threading
from pathlib import Path

import pytest

from stepedit_core.atomic import append_line, replace_file, write_atomically
from stepedit_core.errors import StepeditError
from stepedit_core.storage.blocks import SoundWriter, output_format
from stepedit_core.testing import speech_like
from tests.full_disk import largest_file


def test_a_file_is_written_with_its_folder(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.bin"
    write_atomically(target, b"one")
    write_atomically(target, b"two")
    assert target.read_bytes() == b"two"
    assert [path.name for path in target.parent.iterdir()] == ["a.bin"]


def test_failed_write(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    write_atomically(target, b"old")

    def fail(partial: Path) -> None:
        partial.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(StepeditError, match="No space left"):
        replace_file(target, fail)
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StepeditError, match="cannot write there"):
        write_atomically(tmp_path / "file" / "a.bin", b"x")


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002, 0o000])
def test_a_new_file_has_the_mode_that_the_umask_gives(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "a", b"x")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o666 & ~umask


@pytest.mark.parametrize("umask", [0o022, 0o007])
def test_a_writer_that_puts_a_private_file_in_place(tmp_path: Path, umask: int) -> None:
    def write(partial: Path) -> None:
        (tmp_path / "own").write_bytes(b"x")
        (tmp_path / "own").chmod(0o600)
        os.replace(tmp_path / "own", partial)

    before = os.umask(umask)
    try:
        replace_file(tmp_path / "a", write)
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o666 & ~umask


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755])
def test_an_existing_file_keeps_its_mode(tmp_path: Path, mode: int) -> None:
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "a").chmod(mode)
    write_atomically(tmp_path / "a", b"new")
    assert (tmp_path / "a").stat().st_mode & 0o777 == mode
    assert (tmp_path / "a").read_bytes() == b"new"


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "real").write_bytes(b"old")
    for name, real in (("there", "folder/real"), ("dangling", "folder/later")):
        (tmp_path / name).symlink_to(real)
        write_atomically(tmp_path / name, b"new")
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / real).read_bytes() == b"new"
    assert sorted(os.listdir(tmp_path / "folder")) == ["later", "real"]


def test_a_read_only_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "a").chmod(0o444)
    with pytest.raises(StepeditError, match="a: is read-only; choose another name"):
        write_atomically(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_what_is_no_file_is_never_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "s"))
        with pytest.raises(StepeditError, match="is a socket"):
            write_atomically(tmp_path / "s", b"x")
    with pytest.raises(StepeditError, match="is a folder"):
        write_atomically(tmp_path, b"x")
    write_atomically(Path("/dev/null"), b"x")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_a_pipe_gets_the_bytes(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    write_atomically(tmp_path / "link", b"x" * 100_000)
    reader.join()
    assert got == [b"x" * 100_000]
    assert stat.S_ISFIFO(os.stat(tmp_path / "pipe").st_mode)
    assert sorted(os.listdir(tmp_path)) == ["link", "pipe"]


def test_a_long_name_leaves_room_for_the_temporary_one(tmp_path: Path) -> None:
    write_atomically(tmp_path / ("a" * 255), b"x")
    with pytest.raises(StepeditError, match=r"cannot write there \(File name too long\)"):
        write_atomically(tmp_path / ("a" * 256), b"x")


def test_lines_are_appended(tmp_path: Path) -> None:
    journal = tmp_path / "new" / "journal"
    append_line(journal, "one")
    append_line(journal, "zwei ä")
    assert journal.read_text("utf-8") == "one\nzwei ä\n"


def test_a_torn_line_gets_an_end(tmp_path: Path) -> None:
    (tmp_path / "journal").write_bytes(b"one\ntw")
    append_line(tmp_path / "journal", "three")
    assert (tmp_path / "journal").read_bytes() == b"one\ntw\nthree\n"


def test_a_line_that_does_not_fit_is_left_out(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    append_line(journal, "one")
    with largest_file(100), pytest.raises(StepeditError, match="journal: cannot write"):
        append_line(journal, "x" * 200)
    append_line(journal, "two")
    assert journal.read_bytes() == b"one\ntwo\n"


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "opus"])
@pytest.mark.parametrize("size", [0, 3000])
def test_sound_that_does_not_fit(tmp_path: Path, suffix: str, size: int) -> None:
    speech = speech_like(2.0, 16_000)
    with largest_file(size), pytest.raises(StepeditError, match=r"cannot write \(File too large"):
        speech.write(tmp_path / f"a.{suffix}")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "opus"])
@pytest.mark.parametrize("size", [0, 3000])
def test_long_sound_that_does_not_fit(tmp_path: Path, suffix: str, size: int) -> None:
    samples = speech_like(2.0, 16_000).samples
    kind, subtype = output_format(tmp_path / f"a.{suffix}", 16_000, None)

    def fill(partial: Path) -> None:
        with SoundWriter(partial, 16_000, kind, subtype, len(samples)) as sink:
            for at in range(0, len(samples), 4000):
                sink.write(samples[at : at + 4000])

    with largest_file(size), pytest.raises(StepeditError, match=r"cannot write"):
        replace_file(tmp_path / f"a.{suffix}", fill)
    assert not any(tmp_path.iterdir())


def test_a_library_that_hides_a_full_disk(tmp_path: Path) -> None:
    def fail(partial: Path) -> None:
        with contextlib.suppress(OSError):
            partial.write_bytes(b"x" * 200)
        raise RuntimeError("enforce failed at writer.cc")

    with largest_file(100), pytest.raises(StepeditError, match="cannot write"):
        replace_file(tmp_path / "a", fail)
    with pytest.raises(RuntimeError, match="enforce"):
        replace_file(tmp_path / "a", fail)
    assert not any(tmp_path.iterdir())


def test_a_full_disk_has_a_cure(tmp_path: Path) -> None:
    def fail(partial: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(StepeditError, match="make room, then call the same command again"):
        replace_file(tmp_path / "a", fail)


def test_names_that_are_no_unicode_are_escaped(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.wav")
    write_atomically(tmp_path / "a.json", json.dumps({"file": name}, ensure_ascii=False))
    append_line(tmp_path / "b.jsonl", json.dumps({"file": name}, ensure_ascii=False))
    for written in ("a.json", "b.jsonl"):
        assert json.loads((tmp_path / written).read_text("utf-8"))["file"] == name
