"""Join pieces at measured seams: spliced where it is quiet, cross-faded over 10 ms elsewhere.

A cross-fade never takes time. Beside a piece that was left alone, the edited one fades from and
to the source's own sound inside itself. Two edited pieces overlap by what the chain was given
beyond the first one's end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from stepedit_core.dsp.cutting import cross_faded

__all__ = ["FADE_SECONDS", "QUIET_DB", "Joiner", "is_quiet"]

FADE_SECONDS = 0.01
QUIET_DB = -54.0
"""Seams softer than this on both sides are spliced, in dBFS."""

FloatArray = npt.NDArray[np.float32]


def is_quiet(samples: FloatArray) -> bool:
    """Say whether the level of samples lies below -54 dBFS, a constant offset left out."""
    return not len(samples) or float(samples.var(dtype=np.float64)) < 10 ** (QUIET_DB / 10)


@dataclass
class _Edited:
    """An edited piece whose end waits for what follows."""

    samples: FloatArray
    core: FloatArray
    over: int


@dataclass
class Joiner:
    """Takes pieces in order and hands joined samples on.

    Attributes:
        write: takes the samples, in order.
        rate: in Hz.
        lengths: samples that each piece takes in what is written.
        spliced: seams that were quiet.
        faded: seams that were cross-faded.
    """

    write: Callable[[FloatArray], None]
    rate: int
    lengths: list[int] = field(default_factory=list)
    spliced: int = 0
    faded: int = 0
    _waiting: _Edited | None = field(default=None, repr=False)

    @property
    def fade(self) -> int:
        """Samples of a cross-fade."""
        return max(1, round(FADE_SECONDS * self.rate))

    def leave(self, samples: FloatArray) -> None:
        """Append samples of the source as they are."""
        self._let_go(before_source=True)
        self._give(samples)

    def add(self, edited: FloatArray, source: FloatArray, ahead: int) -> None:
        """Append an edited piece.

        Args:
            edited: what the chain made of ``source``; at least one sample.
            source: the piece, and ``ahead`` samples of the next one.
            ahead: how many samples of the next piece were edited with this one.
        """
        new, core = edited.copy(), source[: len(source) - ahead]
        over = min(round(ahead * len(new) / max(1, len(source))), len(new) // 2)
        overlap = self._let_go(before_source=False)
        if overlap is None and self.lengths:
            overlap = core
        if overlap is not None:
            n = min(len(overlap), len(new) // 2, self.fade)
            if self._seam(overlap[:n], new[:n]):
                new[:n] = cross_faded(overlap[:n], new[:n])
        self._waiting = _Edited(new, core, over)

    def close(self) -> None:
        """Append what still waits."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self._give(waiting.samples[: len(waiting.samples) - waiting.over])

    def _let_go(self, *, before_source: bool) -> FloatArray | None:
        """Append the piece that waits; return what of it overlaps the next one."""
        waiting, self._waiting = self._waiting, None
        if waiting is None:
            return None
        own = waiting.samples[: len(waiting.samples) - waiting.over]
        n = min(self.fade, len(own) // 2, len(waiting.core))
        if before_source and n and self._seam(own[-n:], waiting.core[-n:]):
            own[-n:] = cross_faded(own[-n:], waiting.core[-n:])
        self._give(own)
        return None if before_source else waiting.samples[len(own) :]

    def _give(self, samples: FloatArray) -> None:
        """Hand samples of one piece on."""
        self.lengths.append(len(samples))
        self.write(samples)

    def _seam(self, left: FloatArray, right: FloatArray) -> bool:
        """Say whether a seam needs a cross-fade, and count it."""
        fades = len(left) > 0 and not (is_quiet(left) and is_quiet(right))
        self.faded += fades
        self.spliced += not fades
        return fades
