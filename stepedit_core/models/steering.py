"""Steer draws towards their words: those that read badly give way while they are being drawn.

A language model slips now and then, and a long answer without any slip is rare among few. So the
answers that are drawn for one request are read as they grow, and each goes on from one that is
drawn again by how well it says the beginning of the text: sequential Monte Carlo with the phone
reader as its potential (Doucet, de Freitas and Gordon 2001, chapter 1; for language models, Lew
et al. 2023, "Sequential Monte Carlo Steering of Large Language Models using Probabilistic
Programs"). Weights are those of the whole beginning, not of what was added since the last draw,
which keeps fewer of the worse answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stepedit_core.codes import GROUP_SIZE, DualCodes
from stepedit_core.models.reading import PhoneReader

__all__ = ["Draws", "Steering", "redrawn"]


@dataclass(frozen=True)
class Draws:
    """The rows of a batch that are drawn for one request.

    Attributes:
        start: first row.
        count: how many.
        words: what they are to say; None where nobody can read them.
        seed: of the request.
    """

    start: int
    count: int
    words: str | None
    seed: int


def redrawn(
    scores: npt.NDArray[np.float64], rng: np.random.Generator
) -> npt.NDArray[np.int64] | None:
    """Return for each row the one that it goes on from, or None if all stay.

    Systematic resampling: a row of weight w is taken ``count * w`` times, rounded up or down. Rows
    that are taken at all stay where they are.

    Args:
        scores: logarithms of the weights, ``(count,)``; minus infinity is never taken.
        rng: the only source of randomness.
    """
    best = scores.max()
    if not np.isfinite(best):
        return None
    weights = np.exp(scores - best)
    edges = np.cumsum(weights) / weights.sum()
    places = (rng.random() + np.arange(len(scores))) / len(scores)
    taken = np.bincount(
        np.searchsorted(edges, places, side="right").clip(max=len(scores) - 1),
        minlength=len(scores),
    )
    if taken.max() == 1:
        return None
    rows = np.arange(len(scores))
    rows[taken == 0] = np.repeat(rows, np.maximum(taken - 1, 0))
    return rows


class Steering:
    """Reads the rows of a batch as they grow.

    Args:
        reader: of phones.
        audio_base: id of the first audio token.
        draws: the requests' rows, which are all rows of the batch.
        groups: groups of codes between two readings.
    """

    def __init__(
        self, reader: PhoneReader, audio_base: int, draws: Sequence[Draws], groups: int
    ) -> None:
        self.reader, self.audio_base, self.draws = reader, audio_base, draws
        self.every = GROUP_SIZE * groups

    def rows(self, ids: Sequence[Sequence[int]], ended: Sequence[bool]) -> list[int] | None:
        """Return for each row the one that it goes on from, or None if all stay.

        Args:
            ids: audio ids of each row so far, in whole groups.
            ended: whether a row has come to its end.
        """
        order = list(range(len(ids)))
        for draws in self.draws:
            stop = draws.start + draws.count
            own, over = ids[draws.start : stop], ended[draws.start : stop]
            if draws.words is None or draws.count == 1 or all(over):
                continue
            codes = [
                DualCodes.from_interleaved(np.array(row, np.int64) - self.audio_base) for row in own
            ]
            scores = self.reader.follow(codes, over, draws.words)
            rng = np.random.default_rng([abs(draws.seed), max(map(len, own))])
            rows = redrawn(scores, rng)
            if rows is not None:
                order[draws.start : stop] = [draws.start + int(row) for row in rows]
        return None if order == list(range(len(ids))) else order
