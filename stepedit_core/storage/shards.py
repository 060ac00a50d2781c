"""Parquet shards with a checksum of the whole file, which every reader verifies.

The SHA-256 of all other bytes lies between the last column and the footer. Parquet finds
columns by their offsets and the footer from the end of the file, so that any reader takes such
a file, and the checksum goes where the file goes: one file, one write, no moment between two.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from stepedit_core.errors import StepeditError

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

__all__ = ["open_parquet", "open_shard", "shard_bytes", "verify_checksum"]

_MARK = b"stepedit-sha256:"
_TAIL = 8
"""Bytes after the footer: its length and ``PAR1``."""
_CURE = "it was damaged after it was written: delete it and its block's report, and build it again"


def shard_bytes(table: Any, **options: Any) -> bytes:
    """Return a table as a Parquet file that carries its checksum.

    Args:
        table: a ``pyarrow.Table``.
        options: of ``pyarrow.parquet.write_table``.
    """
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(table, buffer, **options)
    content = buffer.getvalue()
    footer = _footer_start(content[-_TAIL:], len(content))
    assert footer is not None, "pyarrow has just written this file"
    digest = hashlib.sha256(content).digest()
    return content[:footer] + _MARK + digest + content[footer:]


def _footer_start(tail: bytes, size: int) -> int | None:
    """Return the offset of a file's footer, or None if it has none."""
    if len(tail) < _TAIL or tail[4:] != b"PAR1":
        return None
    start = size - _TAIL - int.from_bytes(tail[:4], "little")
    return start if start >= 4 else None


def verify_checksum(path: Path) -> bool:
    """Return whether a shard carries a checksum; those of older releases carry none.

    A file that was verified is not read again in this process as long as it stays as it is.

    Raises:
        StepeditError: if it cannot be read, is no Parquet file, or its checksum does not fit.
    """
    try:
        state = path.stat()
        return _verified(str(path), state.st_mtime_ns, state.st_size)
    except OSError as error:
        raise StepeditError(f"{path}: cannot be read ({error.strerror})") from error


@lru_cache(maxsize=4096)
def _verified(name: str, changed: int, size: int) -> bool:
    with Path(name).open("rb") as file:
        file.seek(max(0, size - _TAIL))
        footer = _footer_start(file.read(_TAIL), size)
        if footer is None:
            raise StepeditError(f"{name}: not a whole Parquet file; {_CURE}")
        place = footer - len(_MARK) - hashlib.sha256().digest_size
        file.seek(max(0, place))
        seal = file.read(footer - place) if place >= 0 else b""
        if not seal.startswith(_MARK):
            return False
        file.seek(0)
        total = hashlib.sha256()
        _feed(total, file, place)
        file.seek(footer)
        _feed(total, file, size - footer)
    if total.digest() != seal[len(_MARK) :]:
        raise StepeditError(f"{name}: does not fit its checksum; {_CURE}")
    return True


def _feed(total: Any, file: BinaryIO, count: int) -> None:
    while count > 0 and (piece := file.read(min(count, 1 << 20))):
        total.update(piece)
        count -= len(piece)


@contextmanager
def open_parquet(path: Path | str) -> Iterator[ParquetFile]:
    """Open a Parquet file; whatever is wrong with it, then or while it is read, is one line.

    Raises:
        StepeditError: if it cannot be read or is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            yield file
    except FileNotFoundError as error:
        raise StepeditError(f"{path}: no such file") from error
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        why = re.sub(r"\b\w+(Exception|Error): ", "", " ".join(str(error).split()))[:120]
        raise StepeditError(
            f"{path}: not a readable Parquet file ({why}); fetch or build it again"
        ) from error


@contextmanager
def open_shard(path: Path) -> Iterator[ParquetFile]:
    """Open a shard of pairs after verifying its checksum; raises as ``open_parquet``."""
    verify_checksum(path)
    with open_parquet(path) as file:
        yield file
