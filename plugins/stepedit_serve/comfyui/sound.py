"""WAV files of 32-bit floats, as nodes send them, and of what a service answers."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

__all__ = ["FloatArray", "read_wav", "wav_bytes"]

FloatArray = npt.NDArray[np.float32]
_FLOAT, _PCM, _EXTENSIBLE = 3, 1, 0xFFFE


def wav_bytes(samples: FloatArray, rate: int) -> bytes:
    """Return a WAV file of 32-bit floats.

    Args:
        samples: float32 ``(frames, channels)``.
        rate: in Hz.
    """
    channels = samples.shape[1]
    data = np.ascontiguousarray(samples, "<f4").tobytes()
    kind = struct.pack("<HHIIHH", _FLOAT, channels, rate, rate * channels * 4, channels * 4, 32)
    chunks = b"fmt " + struct.pack("<I", len(kind)) + kind
    chunks += b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def read_wav(content: bytes) -> tuple[FloatArray, int]:
    """Return samples, float32 ``(frames, channels)``, and rate of a WAV file.

    Raises:
        ValueError: if it is none of 16-bit integers or 32-bit floats.
    """
    chunks = dict(_chunks(content))
    if b"fmt " not in chunks or b"data" not in chunks:
        raise ValueError("the service answered with something that is no WAV file")
    kind, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", chunks[b"fmt "])
    if kind == _EXTENSIBLE:
        (kind,) = struct.unpack_from("<H", chunks[b"fmt "], 24)
    if (kind, bits) == (_FLOAT, 32):
        samples = np.frombuffer(chunks[b"data"], "<f4").astype(np.float32)
    elif (kind, bits) == (_PCM, 16):
        samples = (np.frombuffer(chunks[b"data"], "<i2") / 32768.0).astype(np.float32)
    else:
        raise ValueError(f"a WAV file of kind {kind} with {bits} bits is not read here")
    return samples.reshape(-1, channels), rate


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the chunks of a RIFF file."""
    at = 12
    while at + 8 <= len(content):
        name, size = struct.unpack_from("<4sI", content, at)
        yield name, content[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
