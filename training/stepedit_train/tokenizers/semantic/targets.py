"""Targets of the semantic encoder, on frames of one code (40 ms)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stepedit_train.data.phones import spread_phones

__all__ = [
    "CODE_SAMPLES",
    "IGNORED",
    "Targets",
    "targets_of",
]

Array = npt.NDArray[Any]

CODE_SAMPLES = 640
"""Samples of 16 kHz in one code."""
IGNORED = -100
PITCH_ORIGIN = 160.0
"""Hz."""
PROSODY_PER_CODE = 4
FLOOR_DB = -60.0


@dataclass(frozen=True)
class Targets:
    """Of ``n`` codes.

    Attributes:
        phones: int64, shape ``(n, 2)``, ``IGNORED`` where not known.
        pitch: octaves above `PITCH_ORIGIN`, float32, shape ``(n,)``; 0 where unvoiced. Not relative
            to the recording: an edit that raises a whole voice has to show in the codes.
        voiced: float32, shape ``(n, 4)``, 0 or 1.
        level: float32, shape ``(n, 4)``, below the loudest frame, in units of 20 dB.
    """

    phones: npt.NDArray[np.int64]
    pitch: npt.NDArray[np.float32]
    voiced: npt.NDArray[np.float32]
    level: npt.NDArray[np.float32]

    def cut(self, start: int, count: int) -> Targets:
        """Return ``count`` codes from ``start`` on, silence where the recording has ended."""
        end = start + count
        quiet = 0 if (self.phones != IGNORED).any() else IGNORED
        return Targets(
            _filled(self.phones[start:end], count, quiet),
            _filled(self.pitch[start:end], count, 0.0),
            _filled(self.voiced[start:end], count, 0.0),
            _filled(self.level[start:end], count, FLOOR_DB / 20),
        )


def _filled(part: Array, count: int, fill: float) -> Array:
    """Lengthen an array to ``count`` rows."""
    out: Array = np.full((count, *part.shape[1:]), fill, dtype=part.dtype)
    out[: len(part)] = part
    return out


def targets_of(
    spikes: npt.NDArray[np.int32], prosody: npt.NDArray[np.float16], count: int
) -> Targets:
    """Return the targets of a recording's codes.

    Args:
        spikes: phones of the cache.
        prosody: pitch and level of the cache, shape ``(2, frames)`` at 10 ms.
        count: codes.
    """
    phones = spread_phones(spikes, 2 * count).reshape(count, 2)
    if not len(spikes):
        phones[:] = IGNORED
    f0, level = _fitted(prosody.astype(np.float32), PROSODY_PER_CODE * count)
    voiced = (f0 > 0).astype(np.float32)
    octaves = np.where(f0 > 0, np.log2(np.maximum(f0, 1.0) / PITCH_ORIGIN), 0.0).reshape(count, -1)
    rows = voiced.reshape(count, -1)
    pitch = octaves.sum(1) / np.maximum(rows.sum(1), 1.0)
    relative = np.maximum(level - level.max(initial=FLOOR_DB), FLOOR_DB) / 20
    return Targets(
        phones,
        pitch.astype(np.float32),
        rows,
        relative.reshape(count, -1).astype(np.float32),
    )


def _fitted(prosody: npt.NDArray[np.float32], frames: int) -> npt.NDArray[np.float32]:
    """Cut or lengthen to a number of frames; what is added is unvoiced and silent."""
    out = np.zeros((2, frames), np.float32)
    out[1] = -100.0
    kept = min(frames, prosody.shape[1])
    out[:, :kept] = prosody[:, :kept]
    return out
