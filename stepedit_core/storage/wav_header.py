"""Read WAV files whose recorder never wrote the size into the header."""

from __future__ import annotations

import io
import struct
from typing import IO, Any

__all__ = ["repaired_wav"]

_UNKNOWN = (0, 0xFFFFFFFF)


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


def repaired_wav(file: IO[bytes]) -> tuple[IO[bytes], str | None]:
    """Return a WAV file whose sizes are those of its content, and a note where they were not.

    Recorders that crash, and programs that write into a pipe, leave a size of 0 or of
    0xFFFFFFFF; libsndfile takes 0 for a file without sound.
    """
    file.seek(0)
    head = file.read(1 << 16)
    file.seek(0)
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return file, None
    at = 12
    while at + 8 <= len(head):
        kind, size = head[at : at + 4], struct.unpack_from("<I", head, at + 4)[0]
        if kind == b"data":
            break
        at += 8 + size + size % 2
    else:
        return file, None
    if size not in _UNKNOWN:
        return file, None
    end = file.seek(0, io.SEEK_END)
    file.seek(0)
    rest = min(end - at - 8, 0xFFFFFFF0 - at)
    if rest <= 0:
        return file, None
    changes = {4: struct.pack("<I", at + rest), at + 4: struct.pack("<I", rest)}
    overlaid = io.BufferedReader(_Overlaid(file, changes))
    return overlaid, "the WAV header has no length (the recorder did not finish): all of it read"
