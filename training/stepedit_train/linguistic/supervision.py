"""Targets of the linguistic encoder: 20 ms phone labels and phoneme sequences."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from stepedit_train.data.phones import spread_phones

__all__ = ["IGNORED", "LABELS_PER_FRAME", "PhonemeSet", "edit_distance", "frame_labels"]

LABELS_PER_FRAME = 3
"""20 ms labels in a 60 ms frame."""
IGNORED = -100
_STRIPPED = re.compile(r"[\sˈˌ→↗↘↓↑.,;:!?¡¿—…\"'«»“”()\-]")

IntArray = npt.NDArray[np.int64]


def frame_labels(spikes: npt.NDArray[np.int32], frames: int) -> IntArray:
    """Return the three labels of every low-frame-rate frame, int64, shape ``(frames, 3)``.

    Frame ``i`` is made of filterbank rows around 60 * i + 12 ms, so its labels are those of
    20 ms frames 3 * i - 1 to 3 * i + 1. Without spikes nothing is known of a recording and
    every label is ``IGNORED``.
    """
    if not len(spikes):
        return np.full((frames, LABELS_PER_FRAME), IGNORED, dtype=np.int64)
    labels = spread_phones(spikes, LABELS_PER_FRAME * frames)
    shifted = np.concatenate([labels[:1], labels[:-1]])
    return shifted.reshape(frames, LABELS_PER_FRAME)


class PhonemeSet:
    """Symbols of known phoneme strings; id 0 is the blank of CTC.

    Stress, tone and punctuation are left out: the linguistic codes are to carry what is said,
    the semantic codes how.
    """

    def __init__(self, symbols: Iterable[str]) -> None:
        """Number the symbols in the order of their code points."""
        self.symbols = sorted(set(symbols))
        self._ids = {symbol: number + 1 for number, symbol in enumerate(self.symbols)}

    @classmethod
    def of(cls, texts: Iterable[str | None]) -> PhonemeSet:
        """Collect the symbols of phoneme strings."""
        return cls(symbol for text in texts if text for symbol in _STRIPPED.sub("", text))

    def __len__(self) -> int:
        """Return the number of classes, blank included."""
        return len(self.symbols) + 1

    def encode(self, text: str | None) -> list[int]:
        """Return the ids of a phoneme string; symbols that were never collected are left out."""
        stripped = _STRIPPED.sub("", text or "")
        return [self._ids[symbol] for symbol in stripped if symbol in self._ids]


def edit_distance(a: Sequence[int], b: Sequence[int]) -> int:
    """Return the fewest insertions, deletions and substitutions that lead from ``a`` to ``b``."""
    row = np.arange(len(b) + 1)
    for number, symbol in enumerate(a, start=1):
        substituted = row[:-1] + (np.asarray(b) != symbol)
        new = np.concatenate([[number], np.minimum(substituted, row[1:] + 1)])
        # Insertions: a running minimum of (value - place), put back at each place.
        places = np.arange(len(new))
        row = np.minimum.accumulate(new - places) + places
    return int(row[-1])
