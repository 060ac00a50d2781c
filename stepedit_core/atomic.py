"""Write files so that a name appears only when its content is complete."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from stepedit_core.errors import StepeditError

__all__ = ["replace_file", "write_atomically"]


def replace_file(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a temporary file, flush it to disk, then give it its name.

    A process that is killed leaves either the old file or the new one, never half of one.

    Args:
        path: the name in the end; its folder is made where it is missing.
        write: gets the temporary file's path, in the same folder.

    Raises:
        StepeditError: if the folder cannot be written, or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise StepeditError(f"{path}: cannot write there ({error.strerror})") from error
    partial = Path(name)
    os.close(handle)
    try:
        write(partial)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.chmod(0o644)
        os.replace(partial, path)
    except OSError as error:
        raise StepeditError(f"{path}: cannot write ({error.strerror or error})") from error
    finally:
        partial.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Write bytes to a file that appears only when it is complete; raises as ``replace_file``."""

    def fill(partial: Path) -> None:
        partial.write_bytes(content)

    replace_file(path, fill)
