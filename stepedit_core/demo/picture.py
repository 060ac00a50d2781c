"""Pictures of speech without a plotting library: PNG spectrograms and SVG waveforms."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import numpy.typing as npt

from stepedit_core.utterance import Utterance

__all__ = ["HIGHEST_HZ", "LOWEST_HZ", "frequency_place", "spectrogram_png", "waveform_path"]

LOWEST_HZ, HIGHEST_HZ = 60.0, 8000.0
RANGE_DB = 64.0
_WINDOW_SECONDS = 0.03
# Colours from quiet to loud: a dark-to-light map whose lightness rises evenly.
_COLOURS = (
    (5, 6, 20),
    (44, 20, 92),
    (119, 33, 123),
    (196, 60, 103),
    (246, 128, 76),
    (252, 246, 190),
)

FloatArray = npt.NDArray[np.float64]


def _mel(hertz: FloatArray | float) -> FloatArray:
    """Return the mel scale (O'Shaughnessy 1987)."""
    return np.asarray(2595 * np.log10(1 + np.asarray(hertz) / 700))


def frequency_place(hertz: float) -> float:
    """Return a frequency's height in a picture, 0 at the bottom and 1 at the top."""
    low, high = _mel(LOWEST_HZ), _mel(HIGHEST_HZ)
    return float((_mel(hertz) - low) / (high - low))


def _power(utterance: Utterance, columns: int) -> tuple[FloatArray, FloatArray]:
    """Return short-time power, shape ``(columns, bins)``, and the bins' frequencies in Hz."""
    rate = utterance.sample_rate
    size = max(64, round(_WINDOW_SECONDS * rate))
    padded = np.pad(utterance.samples.astype(np.float64), size)
    centres = size + np.round((np.arange(columns) + 0.5) / columns * len(utterance.samples))
    places = centres.astype(int)[:, None] + np.arange(size)[None, :] - size // 2
    n_fft = 1 << (2 * size - 1).bit_length()
    spectrum = np.fft.rfft(padded[places] * np.hanning(size), n_fft, axis=1)
    power = np.asarray(np.abs(spectrum / size) ** 2, np.float64)
    return power, np.asarray(np.fft.rfftfreq(n_fft, 1 / rate), np.float64)


def _palette() -> bytes:
    """Return 256 colours as a PNG palette."""
    marks = np.linspace(0, 255, len(_COLOURS))
    table = [np.interp(np.arange(256), marks, channel) for channel in zip(*_COLOURS, strict=True)]
    return np.round(np.stack(table, axis=1)).astype(np.uint8).tobytes()


def _chunk(kind: bytes, body: bytes) -> bytes:
    """Return one chunk of a PNG file."""
    checksum = struct.pack(">I", zlib.crc32(kind + body))
    return struct.pack(">I", len(body)) + kind + body + checksum


def _png(indices: npt.NDArray[np.uint8]) -> bytes:
    """Return a palette PNG of colour indices, shape ``(height, width)``."""
    height, width = indices.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), indices], axis=1).tobytes()
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    parts = ((b"IHDR", header), (b"PLTE", _palette()), (b"IDAT", zlib.compress(rows, 9)))
    body = b"".join(_chunk(kind, data) for kind, data in parts)
    return b"\x89PNG\r\n\x1a\n" + body + _chunk(b"IEND", b"")


def spectrogram_png(
    utterance: Utterance, *, width: int, height: int = 150, top_db: float = -32.0
) -> bytes:
    """Return a spectrogram as PNG: time to the right, mel frequency 60..8000 Hz upwards.

    Args:
        utterance: what to show.
        width: in pixels.
        height: in pixels.
        top_db: level of the brightest colour in dB per bin; a fixed one makes pictures compare.
    """
    power, hertz = _power(utterance, width)
    edges = _mel(LOWEST_HZ) + (_mel(HIGHEST_HZ) - _mel(LOWEST_HZ)) * np.linspace(0, 1, height)
    wanted = 700 * (10 ** (edges / 2595) - 1)
    levels = 10 * np.log10(np.maximum(power, 1e-14))
    rows = np.stack([np.interp(wanted, hertz, column, right=-140.0) for column in levels], axis=1)
    scaled = np.clip((rows - (top_db - RANGE_DB)) / RANGE_DB, 0, 1) * 255
    return _png(scaled[::-1].astype(np.uint8))


def waveform_path(utterance: Utterance, *, width: int, height: int = 40) -> str:
    """Return an SVG path that fills the space between the lowest and highest samples."""
    middle = height / 2
    blocks = np.array_split(utterance.samples, width)
    high = [middle - middle * min(1.0, float(block.max(initial=0.0))) for block in blocks]
    low = [middle - middle * max(-1.0, float(block.min(initial=0.0))) for block in blocks]
    upper = " ".join(f"{x},{y:.1f}" for x, y in enumerate(high))
    lower = " ".join(f"{x},{y:.1f}" for x, y in reversed(list(enumerate(low))))
    return f"M{upper} L{lower}Z"
