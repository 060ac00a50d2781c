"""Disturb token rows as a language model's are wrong: now and then, and mostly by a little."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from stepedit_core.codes import LINGUISTIC_SIZE

__all__ = ["disturb_rows"]

ANY_LINGUISTIC, ANY_SEMANTIC, NEAR_SEMANTIC = 0.05, 0.03, 0.1
"""Shares of codes that become any other, and of semantic codes that move by one level."""


def disturb_rows(
    rows: npt.NDArray[np.int64], rng: np.random.Generator, levels: Sequence[int]
) -> npt.NDArray[np.int64]:
    """Return rows with some codes changed; rows without a linguistic code keep none.

    Args:
        rows: int64, shape ``(n, 2)``, as of `token_rows`.
        rng: source of the changes.
        levels: of the semantic quantiser's numbers, lowest place first.
    """
    changed = rows.copy()
    count = len(rows)
    wrong = (rng.random(count) < ANY_LINGUISTIC) & (rows[:, 0] < LINGUISTIC_SIZE)
    changed[wrong, 0] = rng.integers(0, LINGUISTIC_SIZE, int(wrong.sum()))
    first, size = LINGUISTIC_SIZE + 1, int(np.prod(levels))
    code = rows[:, 1] - first
    place, step = rng.integers(0, len(levels), count), rng.choice([-1, 1], count)
    weights = np.cumprod([1, *levels[:-1]])[place]
    digit = code // weights % np.asarray(levels)[place]
    inside = (digit + step >= 0) & (digit + step < np.asarray(levels)[place])
    near = (rng.random(count) < NEAR_SEMANTIC) & inside
    code = np.where(near, code + step * weights, code)
    wrong = rng.random(count) < ANY_SEMANTIC
    changed[:, 1] = first + np.where(wrong, rng.integers(0, size, count), code)
    return changed
