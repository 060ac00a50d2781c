"""Say how much of the sound that a header announces is not in the file."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from typing import IO

__all__ = ["lacking"]

_HEAD = 1 << 16
_UNKNOWN = 1 << 62
"""Sizes from here on stand for one that was not known."""
_W64_DATA = b"data" + bytes.fromhex("f3acd3118cd100c04f8edb8a")
_W64_HEAD = 24
"""Bytes of a chunk's name and size in Sony's Wave64, which its size counts."""


def lacking(file: IO[bytes]) -> float:
    """Return the announced sound that lies beyond the end of a file, against what is there.

    Known are AIFF, AU, Wave64 and RF64, whose readers stop at the end without a word; 0.0 for
    others, and where all is there.
    """
    end = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(_HEAD)
    file.seek(0)
    place = _PLACES.get(head[:4])
    try:
        found = place(head) if place else None
    except struct.error:  # the header is cut off itself
        return 0.0
    if found is None:
        return 0.0
    start, size = found
    present = end - start
    return max(0.0, (size - present) / present) if present > 0 and size < _UNKNOWN else 0.0


def _aiff(head: bytes) -> tuple[int, int] | None:
    """Return where the sound of an AIFF file begins, and its announced size in bytes."""
    at = _chunk(head, 12, b"SSND", ">I")
    if at is None:
        return None
    return at + 16, max(0, struct.unpack_from(">I", head, at + 4)[0] - 8)


def _au(head: bytes) -> tuple[int, int] | None:
    start, size = struct.unpack_from(">II", head, 4)
    return (start, size) if size != 0xFFFFFFFF else None


def _w64(head: bytes) -> tuple[int, int] | None:
    at = 40
    while at + _W64_HEAD <= len(head):
        size = struct.unpack_from("<Q", head, at + 16)[0]
        if head[at : at + 16] == _W64_DATA:
            return at + _W64_HEAD, max(0, size - _W64_HEAD)
        at += max(_W64_HEAD, size + -size % 8)
    return None


def _rf64(head: bytes) -> tuple[int, int] | None:
    at = _chunk(head, 12, b"data", "<I")
    if at is None or head[12:16] != b"ds64":
        return None
    return at + 8, struct.unpack_from("<Q", head, 28)[0]


def _chunk(head: bytes, at: int, name: bytes, size_of: str) -> int | None:
    """Return where a chunk of a RIFF-like file stands, or None."""
    while at + 8 <= len(head):
        if head[at : at + 4] == name:
            return at
        size = struct.unpack_from(size_of, head, at + 4)[0]
        at += 8 + size + size % 2
    return None


_PLACES: dict[bytes, Callable[[bytes], tuple[int, int] | None]] = {
    b"FORM": _aiff,
    b".snd": _au,
    b"riff": _w64,
    b"RF64": _rf64,
}
