"""Say what of the sound that a file announces is not in it."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO

from stepedit_core.errors import counted

__all__ = ["lacking", "ogg_faults"]

_HEAD = 1 << 16
_UNKNOWN = 1 << 62
"""Sizes from here on stand for one that was not known."""
_W64_DATA = b"data" + bytes.fromhex("f3acd3118cd100c04f8edb8a")
_W64_HEAD = 24
"""Bytes of a chunk's name and size in Sony's Wave64, which its size counts."""
_OGG = struct.Struct("<4sBBqIIIB")
_OGG_CHECKSUM = slice(22, 26)
_ENDS = 4
_MOST_DAMAGED = 1_000
"""Damaged pages after which the rest of a file is not looked at."""
_CHUNK = 1 << 16
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


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


@dataclass(frozen=True)
class _Page:
    """A page of an Ogg file whose checksum is right.

    Attributes:
        flags: whether it begins or ends a stream.
        sounds: whether it holds sound, and no header.
        serial: number of its stream.
        number: of the page in its stream.
        stop: byte after it.
    """

    flags: int
    sounds: bool
    serial: int
    number: int
    stop: int


def ogg_faults(file: IO[bytes]) -> str | None:
    """Return what an Ogg file has lost: its end, or pages in between; None where it is whole.

    Readers stop at the last whole page, and pass over damaged and missing ones, without a word.
    How much sound that was is not known. See RFC 3533.
    """
    size = file.seek(0, io.SEEK_END)
    ended: dict[int, bool] = {}
    following: dict[int, int] = {}
    lost = stop = 0
    for page in _ogg_pages(file, size):
        if page.sounds:  # what was taken from a broadcast begins at any number
            lost += max(0, page.number - following.get(page.serial, page.number))
            following[page.serial] = page.number + 1
        ended[page.serial] = bool(page.flags & _ENDS)
        stop = page.stop
    file.seek(0)
    faults = []
    if lost:
        faults.append(f"{counted(lost, 'page')} of its sound damaged or missing and left out")
    if not all(ended.values()):
        was = "was" if stop < size else "may have been"
        faults.append(f"its last page is missing: the file {was} cut off")
    return "; ".join(faults) or None


def _ogg_pages(file: IO[bytes], size: int) -> Iterator[_Page]:
    """Yield the pages of a file that are whole, as far as there is not too much damage."""
    place: int | None = 0
    damaged = 0
    while place is not None and place + _OGG.size <= size and damaged < _MOST_DAMAGED:
        file.seek(place)
        head = file.read(_OGG.size)
        mark, _, flags, position, serial, number, checksum, segments = _OGG.unpack(head)
        page = head + file.read(segments)
        page += file.read(sum(page[_OGG.size :]))
        if mark == b"OggS" and _checksum(page) == checksum:
            place += len(page)
            yield _Page(flags, position != 0, serial, number, place)
        else:  # its lengths are not to be trusted either
            damaged += 1
            place = _next_page(file, place + 1)


def _next_page(file: IO[bytes], place: int) -> int | None:
    """Return where the next page may begin."""
    file.seek(place)
    kept = b""
    while chunk := file.read(_CHUNK):
        content = kept + chunk
        at = content.find(b"OggS")
        if at >= 0:
            return place - len(kept) + at
        place += len(chunk)
        kept = content[-3:]
    return None


def _checksum(page: bytes) -> int:
    """Return the checksum of a page: the polynomial of zlib's, bits in the other order, from 0."""
    blank = bytearray(page)
    blank[_OGG_CHECKSUM] = bytes(4)
    mirrored = zlib.crc32(blank.translate(_MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(mirrored.to_bytes(4, "little").translate(_MIRRORED), "big")
