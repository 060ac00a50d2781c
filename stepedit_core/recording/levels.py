"""The level of a recording every 10 ms: where it is quiet enough to cut."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["HOP_SECONDS", "Levels", "measure_levels"]

HOP_SECONDS = 0.01
_FLOOR = 1e-9  # -90 dBFS: what is softer counts as equally quiet
_ALIKE = 2.0  # within 3 dB of the quietest, the longest stretch is the pause

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Levels:
    """Mean power in steps of 10 ms, without constant offset.

    Attributes:
        power: float32, shape ``(steps,)``, full scale 1.
        rate: of the recording, in Hz.
        samples: length of the recording.
    """

    power: FloatArray
    rate: int
    samples: int

    @property
    def hop(self) -> int:
        """Samples in one step."""
        return max(1, round(HOP_SECONDS * self.rate))

    def quietest(self, low: int, high: int, width: float = 0.05) -> int:
        """Return the middle of the longest quiet stretch between two samples.

        Args:
            low: first sample that may be returned.
            high: last one.
            width: how long it has to be quiet around a cut, in seconds.
        """
        first, last = low // self.hop, min(high // self.hop + 1, len(self.power))
        half = max(0, round(width / HOP_SECONDS) // 2)
        near = self.power[max(0, first - half) : last + half].astype(np.float64)
        if last - first < 2:
            return (low + high) // 2
        total = np.concatenate([[0.0], np.cumsum(near)])
        steps = np.arange(first, last) - max(0, first - half)
        starts = np.maximum(steps - half, 0)
        stops = np.minimum(steps + half + 1, len(near))
        mean = np.maximum((total[stops] - total[starts]) / (stops - starts), _FLOOR)
        quiet = np.flatnonzero(mean <= _ALIKE * mean.min())
        runs = np.split(quiet, np.flatnonzero(np.diff(quiet) > 1) + 1)
        longest = max(runs, key=len)
        middle = (first + (int(longest[0]) + int(longest[-1])) / 2 + 0.5) * self.hop
        return int(min(max(middle, low), high))

    def cuts(self, start: int, stop: int, longest: float) -> list[int]:
        """Return where to cut a stretch so that no piece is longer than so many seconds.

        Each cut lies in the longest pause between four tenths and all of the longest piece.
        """
        most, edges, at = max(2, int(longest * self.rate)), [], start
        while stop - at > most:
            ahead = min(most, (stop - at) * 6 // 10)
            at = self.quietest(at + int(0.4 * ahead), at + ahead, 0.2)
            edges.append(at)
        return edges


def measure_levels(blocks: Iterable[FloatArray], rate: int) -> Levels:
    """Return the levels of mono blocks; the last step may be short."""
    hop = max(1, round(HOP_SECONDS * rate))
    rows: list[FloatArray] = []
    rest, count = np.zeros(0, np.float32), 0
    for block in blocks:
        count += len(block)
        joined = np.concatenate([rest, block])
        whole = len(joined) // hop * hop
        rows.append(joined[:whole].reshape(-1, hop).var(axis=1))
        rest = joined[whole:].copy()
    if len(rest):
        rows.append(rest.var(keepdims=True))
    power = np.concatenate(rows) if rows else np.zeros(0, np.float32)
    return Levels(power.astype(np.float32), rate, count)
