"""Disturb what the decoder is given as it is wrong in use: codes at times, places by a little."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from stepedit_core.codes import LINGUISTIC_SIZE

__all__ = ["disturb_places", "disturb_rows", "keep_source", "mislead_rows"]

ANY_LINGUISTIC, ANY_SEMANTIC, NEAR_SEMANTIC = 0.05, 0.03, 0.1
"""Shares of codes that become any other, and of semantic codes that move by one level."""

SHIFT, DRIFT = 0.4, 1.5
"""Deviation of a shift of all places, in rows of 40 ms; and the largest one that it grows to."""
RUN = 6.0
"""Mean length of stretches, in groups, that are the source's or the target's."""


def disturb_places(
    places: npt.NDArray[np.float32], rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Return places that are off by a little, as an answer's are that is told not quite evenly."""
    shift = rng.normal(0, SHIFT) + rng.uniform(-DRIFT, DRIFT) * np.linspace(-1, 1, len(places))
    return (places + shift).astype(np.float32)


def keep_source(
    rows: npt.NDArray[np.int64],
    source: npt.NDArray[np.int64],
    places: npt.NDArray[np.float32],
    rng: np.random.Generator,
) -> npt.NDArray[np.int64]:
    """Return rows of which stretches are the source's, as a model leaves them that copies too much.

    Args:
        rows: of the target, whole groups, ``(n, 2)``.
        source: rows of the source.
        places: of the target's rows in the source; where they are not known nothing is kept.
        rng: source of the choice.
    """
    changed = rows.copy()
    for group in np.flatnonzero(_stretches(len(rows) // 3, rng.uniform(0.1, 0.95), rng)):
        middle = places[3 * group + 1]
        at = -1 if np.isnan(middle) else 3 * round((float(middle) - 1) / 3)
        if 0 <= at <= len(source) - 3:
            changed[3 * group : 3 * group + 3] = source[at : at + 3]
    return changed


def mislead_rows(rows: npt.NDArray[np.int64], rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return rows of which stretches are of other places of the utterance.

    So a model is wrong that did not understand its source: what it says sounds like speech, by
    the right voice, and is something else.

    Args:
        rows: int64, shape ``(n, 2)``.
        rng: source of the choice.
    """
    groups = len(rows) // 3
    if groups < 8:
        return rows
    wrong = np.repeat(_stretches(groups, rng.uniform(0.05, 0.99), rng), 3)
    changed = rows.copy()
    other = np.roll(rows[: 3 * groups], 3 * int(rng.integers(4, groups - 3)), axis=0)
    changed[: 3 * groups][wrong] = other[wrong]
    return changed


def _stretches(groups: int, share: float, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Return groups in stretches, about a share of all: a chain of two states."""
    leave, enter = min(1.0, 1 / (RUN * share)), min(1.0, 1 / (RUN * (1 - share)))
    inside, found = bool(rng.random() < share), np.zeros(groups, dtype=bool)
    for group in range(groups):
        found[group] = inside
        inside = bool(rng.random() >= leave) if inside else bool(rng.random() < enter)
    return found


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
