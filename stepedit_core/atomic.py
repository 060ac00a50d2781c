"""Write files so that a name appears only when its content is complete.

A file gets the mode that the process's umask gives, an existing one keeps its own; a link is
followed; a device, a pipe or ``-`` (standard output) gets the bytes and stays what it is.
Temporary files carry the number of their process: what a killed one left is swept away by the
next that writes into the folder.
"""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import re
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from stepedit_core.errors import StepeditError

__all__ = [
    "append_line",
    "is_outlet",
    "lasting_names",
    "replace_file",
    "target_problem",
    "write_atomically",
]

_STREAMS = ("/dev/stdout", "/dev/stderr", "/dev/fd/", "/proc/self/fd/")
_TEMPORARY = re.compile(r"\..*\.stepedit-([0-9a-f]{6})-(\d+)-[0-9a-f]{8}")
_PROBE = bytes(1 << 20)
_WRITE_BITS = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


def is_outlet(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is ``-``, a device or a pipe: written to, never replaced."""
    if os.fspath(path) == "-" or os.fspath(path).startswith(_STREAMS):
        return True
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def target_problem(path: Path) -> str | None:
    """Return why a file cannot be written under a name that exists, or None."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        return f"cannot write there ({getattr(error, 'strerror', None) or error})"
    if stat.S_ISDIR(status.st_mode):
        return "is a folder; name a file"
    if stat.S_ISSOCK(status.st_mode):
        return "is a socket; name a file"
    if not status.st_mode & _WRITE_BITS or not os.access(path, os.W_OK):
        return "is read-only; choose another name, or make it writable"
    return None


def replace_file(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a temporary file, flush it to disk, then give it its name.

    A process that is killed leaves either the old file or the new one, never half of one.

    Args:
        path: the name in the end; its folder is made where it is missing.
        write: gets the temporary file's path, in the same folder.

    Raises:
        StepeditError: if the folder cannot be written, the file is read-only, a folder or a
            socket, or the disk is full.
    """
    if str(path) != "-" and (problem := target_problem(path)):
        raise StepeditError(f"{path}: {problem}")
    if is_outlet(path):
        _pour(path, write)
        return
    real = Path(os.path.realpath(path))
    partial = _new_file(real, path)
    try:
        usual = partial.stat().st_mode
        write(partial)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        # Some libraries, safetensors 0.8 among them, put a private file of their own in the place.
        mode = stat.S_IMODE(real.stat().st_mode if real.exists() else usual)
        if stat.S_IMODE(partial.stat().st_mode) != mode:
            partial.chmod(mode)
        os.replace(partial, real)
    except OSError as error:
        raise _unwritten(path, error) from error
    except StepeditError:
        raise
    except Exception as error:  # libraries hide a full disk behind errors of their own
        if full := _full_disk(partial):
            raise _unwritten(path, full) from error
        raise
    finally:
        partial.unlink(missing_ok=True)


def _unwritten(path: Path, error: OSError) -> StepeditError:
    """Return the error that a file could not be written, with the cure where there is one."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    cure = "; make room, then call the same command again" if full else ""
    return StepeditError(f"{path}: cannot write ({error.strerror or error}){cure}")


def _full_disk(partial: Path) -> OSError | None:
    """Return why a file that could not be completed takes no more bytes, or None if it does."""
    try:
        with partial.open("ab", buffering=0) as file:
            if file.write(_PROBE) < len(_PROBE):
                return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(file.fileno())
    except OSError as error:
        return error
    return None


def _new_file(real: Path, path: Path) -> Path:
    """Create an empty file beside a target; the kernel applies the umask to its mode."""
    # A name as long as the target's own would not fit with what stands around it.
    own = f"stepedit-{_machine()}-{os.getpid()}-{secrets.token_hex(4)}"
    partial = real.with_name(f".{real.name[:50]}.{own}")
    try:
        real.parent.mkdir(parents=True, exist_ok=True)
        _sweep(real.parent)
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise StepeditError(f"{path}: cannot write there ({reason})") from error
    return partial


@cache
def _machine() -> str:
    """Return a short name of this machine: process numbers of another one mean nothing here."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:6]


@cache
def _sweep(folder: Path) -> None:
    """Remove what processes of this machine that are dead left in a folder; once per process."""
    for entry in os.scandir(folder):
        match = _TEMPORARY.fullmatch(entry.name)
        if match and match[1] == _machine() and not _runs(int(match[2])):
            Path(entry.path).unlink(missing_ok=True)


def lasting_names(folder: Path) -> set[str]:
    """Return the names in a folder but those of temporary files; empty where there is no folder.

    What a killed process left behind is no content: a folder that holds nothing else is empty.
    """
    if not folder.is_dir():
        return set()
    return {name for name in os.listdir(folder) if not _TEMPORARY.fullmatch(name)}


def _runs(process: int) -> bool:
    """Return whether a process is there."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _pour(path: Path, write: Callable[[Path], None]) -> None:
    """Fill a temporary file and copy it into a device, a pipe or standard output."""
    with tempfile.TemporaryDirectory(prefix="stepedit-") as folder:
        partial = Path(folder) / "content"
        partial.touch()
        write(partial)
        try:
            with partial.open("rb") as source:
                if str(path) == "-":
                    if sys.stdout is None:
                        raise OSError(errno.EBADF, "standard output is closed")
                    shutil.copyfileobj(source, sys.stdout.buffer)
                    sys.stdout.buffer.flush()
                    return
                with open(os.open(path, os.O_WRONLY), "wb") as sink:
                    shutil.copyfileobj(source, sink)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise _unwritten(path, error) from error


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a file that appears only when it is complete; raises as ``replace_file``.

    Args:
        path: the name in the end.
        content: bytes, or text, which becomes UTF-8. What no UTF-8 can hold (a file name in
            another encoding, as Python reads it) becomes an escape, the one that JSON has.
    """
    data = content if isinstance(content, bytes) else _encoded(content)

    def fill(partial: Path) -> None:
        partial.write_bytes(data)

    replace_file(path, fill)


def _encoded(text: str) -> bytes:
    return text.encode(errors="backslashreplace")


def append_line(path: Path, line: str) -> None:
    """Append a line to a journal; it is on disk when this returns, or not there at all.

    The beginning of a line that a killed process left gets an end of its own: a journal's reader
    skips it, and the new line stays whole.

    Args:
        path: of the journal; its folder is made where it is missing.
        line: without its end.

    Raises:
        StepeditError: if the journal cannot be written or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b", buffering=0) as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - 1))
            torn = file.read(1) not in (b"", b"\n")
            content = b"\n" * torn + _encoded(line) + b"\n"
            try:
                if file.write(content) != len(content):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(file.fileno())
            except OSError:
                file.truncate(end)
                raise
    except OSError as error:
        raise _unwritten(path, error) from error
