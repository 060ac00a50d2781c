"""Write files so that a name appears only when its content is complete."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from stepedit_core.errors import StepeditError

__all__ = ["write_atomically"]


def write_atomically(path: Path, content: bytes) -> None:
    """Write bytes under a temporary name, flush them to disk, then rename.

    Raises:
        StepeditError: if the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise StepeditError(f"{path}: cannot write there ({error.strerror})") from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(partial, 0o644)
        os.replace(partial, path)
    finally:
        Path(partial).unlink(missing_ok=True)
