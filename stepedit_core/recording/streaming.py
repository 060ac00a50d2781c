"""Cut a stream of blocks into stretches; only the present stretch is in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from stepedit_core.errors import AudioError

__all__ = ["Stretch", "read_stretches"]

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Stretch:
    """Samples of a recording.

    Attributes:
        start: first sample.
        stop: sample after the last.
    """

    start: int
    stop: int


S = TypeVar("S", bound=Stretch)


def read_stretches(
    blocks: Iterable[FloatArray], stretches: Sequence[S], ahead: int = 0
) -> Iterator[tuple[S, FloatArray]]:
    """Yield each stretch with its samples, read once from the beginning.

    Args:
        blocks: mono samples of the recording.
        stretches: in order, without overlap.
        ahead: samples after a stretch that are yielded with it, as far as there are any.

    Raises:
        AudioError: if the blocks end within a stretch.
    """
    source = iter(blocks)
    held: FloatArray = np.zeros(0, np.float32)
    at = 0  # sample of the recording where `held` begins
    for stretch in stretches:
        parts, have = [held], at + len(held)
        while have < stretch.stop + ahead:
            block = next(source, None)
            if block is None:
                break
            if have + len(block) <= stretch.start:  # nothing of it is asked for
                have += len(block)
                parts, at = [], have
                continue
            parts.append(block)
            have += len(block)
        held = np.concatenate(parts) if parts else np.zeros(0, np.float32)
        if have < stretch.stop:
            raise AudioError(
                f"the recording ends at sample {have}, before {stretch.stop}: it was changed "
                "while it was read"
            )
        yield stretch, held[stretch.start - at : stretch.stop + ahead - at].copy()
        held = held[stretch.stop - at :]
        at = stretch.stop
