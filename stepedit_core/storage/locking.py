"""One process at a time on one target."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from stepedit_core.errors import StepeditError

__all__ = ["sole_run", "sole_writer"]


@contextmanager
def sole_writer(path: Path) -> Iterator[None]:
    """Hold a file or folder for this process alone, by a lock beside the file or in the folder.

    The lock goes with the process, however it ends; the empty lock file is taken away again.

    Raises:
        StepeditError: if another process holds it, or the folder cannot be written.
    """
    from filelock import FileLock, Timeout

    place = path.absolute()
    name = place / ".lock" if place.is_dir() else place.with_name(f".{place.name}.lock")
    lock = FileLock(name, timeout=0)
    try:
        name.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        if not name.exists():  # it waits for a file that can never be made, as in /proc
            raise StepeditError(f"{path}: cannot write in {name.parent}") from error
        raise StepeditError(
            f"{path}: another process is writing it; wait until it ends, or choose another name"
        ) from error
    except OSError as error:
        raise StepeditError(f"{path}: cannot write in {name.parent} ({error.strerror})") from error
    try:
        yield
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


@contextmanager
def sole_run(folder: Path) -> Iterator[None]:
    """Hold the folder of a run for this process alone; it is made, and goes if it stays empty.

    Raises:
        StepeditError: if another process works in it, or it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StepeditError(f"{folder}: cannot write there ({error.strerror})") from error
    try:
        with sole_writer(folder):
            yield
    finally:
        with suppress(OSError):
            folder.rmdir()  # only where it is empty
