"""Recordings that lie end to end in one file, as ``cat a.mp3 b.mp3`` and some recorders leave them.

Decoders stop where the first one ends, without a word about the rest.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator
from itertools import pairwise
from typing import IO, Any

__all__ = ["MAX_JOINED", "Window", "joined_recordings"]

MAX_JOINED = 1_000
"""Recordings that one file may hold."""
_CHUNK = 1 << 20
_OGG_HEADER, _OGG_BEGINS = 27, 2
_ID3, _ID3_END = 10, 128
_LEAST_MP3 = 4096
"""Bytes behind the end that an MP3 header names from which on they are sound of their own."""
_FLAC = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")
_EBML = re.compile(rb"\x1a\x45\xdf\xa3.{1,12}?\x42\x86\x81", re.DOTALL)


class Window(io.RawIOBase):
    """A part of a seekable file as a file of its own."""

    def __init__(self, file: IO[bytes], start: int, end: int) -> None:
        """Show the bytes from ``start`` to ``end``."""
        self._file, self._start, self._size, self._at = file, start, end - start, 0

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer."""
        self._file.seek(self._start + self._at)
        content = self._file.read(max(0, min(len(buffer), self._size - self._at)))
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move in the part."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        """Return the place in the part."""
        return self._at

    def seekable(self) -> bool:
        """Return True."""
        return True

    def readable(self) -> bool:
        """Return True."""
        return True


def joined_recordings(file: IO[bytes]) -> list[tuple[int, int]]:
    """Return where each recording of a file begins and ends, in bytes; most files hold one.

    Known are WAV, AIFF, FLAC, Ogg (chained streams, RFC 3533), MP3 (by the length in its Xing
    header), MP4 and WebM. At most one more than `MAX_JOINED` are looked for.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(12)
    starts = [0]
    for start in _later(file, head, size):
        starts.append(start)
        if len(starts) > MAX_JOINED:
            break
    file.seek(0)
    return list(pairwise([*starts, size]))


def _later(file: IO[bytes], head: bytes, size: int) -> Iterator[int]:
    """Yield where recordings after the first begin."""
    if head[:4] in (b"RIFF", b"FORM"):
        yield from _chunks(file, head, size)
    elif head[:4] == b"OggS":
        yield from _ogg(file, size)
    elif head[:4] == b"fLaC":
        yield from _marked(file, _FLAC)
    elif head[:4] == b"\x1a\x45\xdf\xa3":
        yield from _marked(file, _EBML)
    elif head[4:8] == b"ftyp":
        yield from _mp4(file, size)
    elif head[:3] == b"ID3" or (head[:1] == b"\xff" and head[1:2] >= b"\xe0"):
        yield from _mp3(file, size)


def _at(file: IO[bytes], place: int, count: int) -> bytes:
    file.seek(place)
    return file.read(count)


def _chunks(file: IO[bytes], head: bytes, size: int) -> Iterator[int]:
    """Follow the outer chunks of WAV and AIFF files."""
    order = "<I" if head[:4] == b"RIFF" else ">I"
    place = 0
    while True:
        length = struct.unpack(order, head[4:8])[0]
        place += 8 + length + length % 2
        # A size of 0 or of all ones is that of a recorder that did not finish.
        if length < 4 or place + 12 > size:
            return
        following = _at(file, place, 12)
        if following[:4] != head[:4] or following[8:12] != head[8:12]:
            return
        head = following
        yield place


def _ogg(file: IO[bytes], size: int) -> Iterator[int]:
    """A page that begins a stream after one of another stream's sound begins a new link."""
    place, sounding = 0, False
    while place + _OGG_HEADER <= size:
        head = _at(file, place, _OGG_HEADER)
        if head[:4] != b"OggS":
            return
        begins = bool(head[5] & _OGG_BEGINS)
        if begins and sounding:
            yield place
        sounding = not begins
        place += _OGG_HEADER + head[26] + sum(file.read(head[26]))


def _marked(file: IO[bytes], mark: re.Pattern[bytes]) -> Iterator[int]:
    """Search for the begin of a format that does not say how long it is."""
    file.seek(0)
    kept, place, last = b"", 0, 0
    while chunk := file.read(_CHUNK):
        content = kept + chunk
        back = file.tell()
        for match in mark.finditer(content):
            start = place - len(kept) + match.start()
            if start > last:
                last = start
                yield start
        file.seek(back)
        place += len(chunk)
        kept = content[-32:]


def _mp4(file: IO[bytes], size: int) -> Iterator[int]:
    """A second ``ftyp`` box begins a second file."""
    place = 0
    while place + 8 <= size:
        head = _at(file, place, 16)
        length = struct.unpack(">I", head[:4])[0]
        if length == 1 and len(head) == 16:
            length = struct.unpack(">Q", head[8:])[0]
        if place and head[4:8] == b"ftyp":
            yield place
        if length < 8:
            return
        place += length


def _mp3(file: IO[bytes], size: int) -> Iterator[int]:
    """Frames behind the end that a Xing header names are those of another recording."""
    place = 0
    while True:
        frame = _after_tags(file, place)
        length = _xing_bytes(_at(file, frame, 200))
        end = frame + length if length else size
        place = end
        if _at(file, place, 3) == b"TAG":
            place += _ID3_END
        if place + _LEAST_MP3 > size or _frame(_at(file, _after_tags(file, place), 4)) is None:
            return
        yield place


def _after_tags(file: IO[bytes], place: int) -> int:
    """Return where sound begins after an ID3v2 tag."""
    head = _at(file, place, _ID3)
    if head[:3] != b"ID3" or len(head) < _ID3:
        return place
    size = sum((byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
    return place + _ID3 + size


def _frame(head: bytes) -> tuple[bool, bool] | None:
    """Return whether an MP3 frame is of MPEG 1 and mono, or None where it is no frame."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return None
    if head[2] >> 4 == 15 or (head[2] >> 2) & 3 == 3 or (head[1] >> 3) & 3 == 1:
        return None
    return (head[1] >> 3) & 3 == 3, head[3] >> 6 == 3


def _xing_bytes(content: bytes) -> int:
    """Return the length in bytes that a frame's Xing header names, or 0."""
    kind = _frame(content[:4])
    if kind is None:
        return 0
    first, mono = kind
    place = (
        4
        + {(True, False): 32, (True, True): 17, (False, False): 17, (False, True): 9}[(first, mono)]
    )
    if content[place : place + 4] not in (b"Xing", b"Info") or len(content) < place + 16:
        return 0
    flags = struct.unpack(">I", content[place + 4 : place + 8])[0]
    if not flags & 2:
        return 0
    counted = place + 8 + 4 * (flags & 1)
    return int(struct.unpack(">I", content[counted : counted + 4])[0])
