from __future__ import annotations

import os
import socket
import stat
import threading
from pathlib import Path

import pytest

from stepedit_core.atomic import replace_file, write_atomically
from stepedit_core.errors import StepeditError


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
