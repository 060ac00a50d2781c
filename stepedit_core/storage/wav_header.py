"""Read WAV files whose recorder never wrote the size into the header."""

from __future__ import annotations

import io
import struct
from typing import IO, Any

__all__ = ["NOTED", "has_more_data", "repaired_wav"]

_UNKNOWN = (0, 0xFFFFFFFF)


_STREAMED = 0x7FF00000
"""Sizes from here on stand for one that was not known when a program wrote into a pipe."""
_MOST_CHUNKS = 1000
NOTED = 0.05
"""Seconds that must lack before it is said: some writers count bytes that pad."""


_UNFINISHED = "the WAV header has no length (the recorder did not finish): all of it read"


class _Overlaid(io.RawIOBase):
    """A seekable file with other bytes at some places."""

    def __init__(self, file: IO[bytes], changes: dict[int, bytes]) -> None:
        self._file, self._changes = file, changes

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer, changes included."""
        start = self._file.tell()
        content = bytearray(self._file.read(len(buffer)))
        for place, new in self._changes.items():
            for offset, byte in enumerate(new):
                if 0 <= (at := place + offset - start) < len(content):
                    content[at] = byte
        buffer[: len(content)] = content
        return len(content)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move in the file."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the place in the file."""
        return self._file.tell()

    def seekable(self) -> bool:
        """Return True."""
        return True

    def readable(self) -> bool:
        """Return True."""
        return True


def _cut_off(head: bytes, missing: int) -> str | None:
    """Return a note that a file lacks so many bytes of its sound, or None."""
    at = head.find(b"fmt ", 12)
    rate = struct.unpack_from("<I", head, at + 16)[0] if 0 < at <= len(head) - 20 else 0
    if not rate or missing / rate < NOTED:
        return None
    return f"the file ends {missing / rate:.2f} s before its header says"


def repaired_wav(file: IO[bytes]) -> tuple[IO[bytes], str | None]:
    """Return a WAV file whose sizes are those of its content, and a note where they were not.

    Recorders that crash, and programs that write into a pipe, leave a size of 0 or of
    0xFFFFFFFF; libsndfile takes 0 for a file without sound. A file that was cut off is read by it
    without a word, so the note says so.
    """
    file.seek(0)
    head = file.read(1 << 16)
    file.seek(0)
    if head[8:12] != b"WAVE" or head[:4] not in (b"RIFF", b"RF64"):
        return file, None
    at = 12
    while at + 8 <= len(head):
        kind, size = head[at : at + 4], struct.unpack_from("<I", head, at + 4)[0]
        if kind == b"data":
            break
        at += 8 + size + size % 2
    else:
        return file, None
    end = file.seek(0, io.SEEK_END)
    file.seek(0)
    if head[:4] == b"RF64":
        return _repaired_rf64(file, head, end, end - at - 8)
    rest = min(end - at - 8, 0xFFFFFFF0 - at)
    if size not in _UNKNOWN:
        return file, _cut_off(head[:at], size - rest) if size < _STREAMED else None
    if rest <= 0:
        return file, None
    changes = {4: struct.pack("<I", at + rest), at + 4: struct.pack("<I", rest)}
    return io.BufferedReader(_Overlaid(file, changes)), _UNFINISHED


def _repaired_rf64(
    file: IO[bytes], head: bytes, end: int, rest: int
) -> tuple[IO[bytes], str | None]:
    """Return an RF64 file (EBU Tech 3306), whose sizes stand in a chunk of their own."""
    if head[12:16] != b"ds64" or len(head) < 44 or rest <= 0:
        return file, None
    if struct.unpack_from("<Q", head, 28)[0] not in (0, 0xFFFFFFFFFFFFFFFF):
        return file, None
    changes = {20: struct.pack("<QQQ", end - 8, rest, 0)}
    return io.BufferedReader(_Overlaid(file, changes)), _UNFINISHED


def has_more_data(file: IO[bytes]) -> bool:
    """Return whether sound stands in several chunks of a WAV file, of which readers take one."""
    end = file.seek(0, io.SEEK_END)
    file.seek(0)
    head, at, found = file.read(12), 12, 0
    for _ in range(_MOST_CHUNKS if head[:4] == b"RIFF" and head[8:] == b"WAVE" else 0):
        file.seek(at)
        chunk = file.read(8)
        size = struct.unpack_from("<I", chunk, 4)[0] if len(chunk) == 8 else 0
        found += chunk[:4] == b"data" and size > 0
        at += 8 + size + size % 2
        if at >= end or found > 1:
            break
    file.seek(0)
    return found > 1
