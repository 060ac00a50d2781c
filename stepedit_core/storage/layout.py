"""What a sound file says of itself before its samples are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

__all__ = ["Blocks", "FloatArray", "Layout"]

FloatArray = npt.NDArray[np.float32]
Blocks = Callable[[], Iterator[FloatArray]]
_CUT_OFF = 0.5
"""Codecs pad, and containers round; a file this much shorter than its header says is cut off."""


@dataclass(frozen=True)
class Layout:
    """Properties of a file that a decoder gives before its samples are read."""

    rate: int
    channels: int
    subtype: str | None
    frames: int | None
    note: str | None = None

    @property
    def seconds(self) -> float:
        """Length that the header promises, 0 where it has none."""
        return (self.frames or 0) / self.rate

    def noting(self, note: str | None) -> Layout:
        """Return the layout with a further note."""
        return replace(self, note="; ".join(filter(None, (self.note, note))) or None)

    def cut_off(self, frames: int) -> str | None:
        """Return a note that a file holds fewer frames than its header promises, or None."""
        missing = self.seconds - frames / self.rate
        return (
            f"the file ends {missing:.2f} s before its header says" if missing > _CUT_OFF else None
        )
