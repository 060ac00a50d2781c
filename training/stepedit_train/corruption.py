"""Corrupt the inputs of training: codes, positions, mels and audio.

A model that is taught with faultless input alone copies blindly, or believes its own errors later
(exposure bias). Every function takes its randomness as an argument.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from stepedit_core.codes import LINGUISTIC_SIZE, SEMANTIC_SIZE

__all__ = [
    "blurred",
    "coloured_noise",
    "disturb_places",
    "disturb_rows",
    "mix_source_rows",
    "move_levels",
    "noise_for",
    "replace_codes",
    "replace_tokens",
    "scramble_rows",
    "uneven_noise",
]

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

ANY_LINGUISTIC, ANY_SEMANTIC, NEAR_SEMANTIC = 0.05, 0.03, 0.1
"""Shares of codes that become any other, and of semantic codes that move by one level."""
SHIFT, DRIFT = 0.4, 1.5
"""Deviation of a shift of all places, in rows of 40 ms; and the largest one that it grows to."""
RUN = 6.0
"""Mean length of stretches, in groups, that are the source's or the target's."""

POINTS, BENDS_DB, SWELLS_DB = 8, 6.0, 4.0
"""Uneven noise: points of its curve over frequency; deviations over frequency and time."""
SWELL_SECONDS = 0.5
QUIETEST = 1e-3
"""Deviation below which a signal counts as silent; its noise is set against this level."""


def replace_codes(codes: IntArray, size: int, share: float, rng: np.random.Generator) -> IntArray:
    """Return codes of one codebook, a share of which are any others of its ``size`` codes."""
    return np.where(rng.random(len(codes)) < share, rng.integers(0, size, len(codes)), codes)


def replace_tokens(tokens: IntArray, share: float, rng: np.random.Generator) -> IntArray:
    """Return tokens of both codebooks, a share of which are any others of their own codebook.

    Args:
        tokens: int64 ``(n,)``, semantic codes behind the linguistic ones.
        share: of all tokens.
        rng: source of the changes.
    """
    linguistic = rng.integers(0, LINGUISTIC_SIZE, len(tokens))
    semantic = LINGUISTIC_SIZE + rng.integers(0, SEMANTIC_SIZE, len(tokens))
    other = np.where(tokens < LINGUISTIC_SIZE, linguistic, semantic)
    return np.where(rng.random(len(tokens)) < share, other, tokens)


def move_levels(
    codes: IntArray, share: float, levels: Sequence[int], rng: np.random.Generator
) -> IntArray:
    """Return semantic codes of which a share has one digit moved by one level.

    Args:
        codes: int64 ``(n,)`` of finite scalar quantisation; negative ones are no codes and stay.
        share: of the codes that can be moved.
        levels: of the quantiser's digits, lowest place first.
        rng: source of the changes.
    """
    place, step = rng.integers(0, len(levels), len(codes)), rng.choice([-1, 1], len(codes))
    weights = np.cumprod([1, *levels[:-1]])[place]
    count = np.asarray(levels)[place]
    digit = codes // weights % count
    inside = (digit + step >= 0) & (digit + step < count) & (codes >= 0)
    moves = (rng.random(len(codes)) < share) & inside
    return np.where(moves, codes + step * weights, codes)


def disturb_rows(rows: IntArray, rng: np.random.Generator, levels: Sequence[int]) -> IntArray:
    """Return rows with some codes changed; rows without a linguistic code keep none.

    Args:
        rows: int64, shape ``(n, 2)``, as of `token_rows`.
        rng: source of the changes.
        levels: of the semantic quantiser's numbers, lowest place first.
    """
    changed = rows.copy()
    wrong = (rng.random(len(rows)) < ANY_LINGUISTIC) & (rows[:, 0] < LINGUISTIC_SIZE)
    changed[wrong, 0] = rng.integers(0, LINGUISTIC_SIZE, int(wrong.sum()))
    first, size = LINGUISTIC_SIZE + 1, int(np.prod(levels))
    code = move_levels(rows[:, 1] - first, NEAR_SEMANTIC, levels, rng)
    changed[:, 1] = first + replace_codes(code, size, ANY_SEMANTIC, rng)
    return changed


def disturb_places(places: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Return positions in the reference that are off by a little, as those of an answer are."""
    shift = rng.normal(0, SHIFT) + rng.uniform(-DRIFT, DRIFT) * np.linspace(-1, 1, len(places))
    return (places + shift).astype(np.float32)


def mix_source_rows(
    rows: IntArray, source: IntArray, places: FloatArray, rng: np.random.Generator
) -> IntArray:
    """Return rows of which stretches are the source's, as of a model that copies too much.

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


def scramble_rows(rows: IntArray, rng: np.random.Generator) -> IntArray:
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


def _shaped(spectrum: npt.NDArray[np.complex128], count: int, slope: float) -> FloatArray:
    wave = np.fft.irfft(spectrum / np.arange(1, len(spectrum) + 1) ** slope, count)
    return (wave / max(float(wave.std()), 1e-9)).astype(np.float32)


def coloured_noise(rng: np.random.Generator, count: int) -> FloatArray:
    """Return noise with a spectrum between white and brown, power 1, shape ``(count,)``."""
    spectrum = np.fft.rfft(rng.standard_normal(count))
    return _shaped(spectrum, count, rng.uniform(0.0, 1.0))


def uneven_noise(rng: np.random.Generator, count: int, rate: int) -> FloatArray:
    """Return coloured noise with hills over frequency that swells over time, power 1.

    Args:
        rng: source of all choices.
        count: samples.
        rate: Hz.
    """
    spectrum = np.fft.rfft(rng.standard_normal(count))
    octaves = np.log2(np.arange(1, len(spectrum) + 1))
    bends = rng.normal(0.0, BENDS_DB, POINTS)
    curve = np.interp(octaves, np.linspace(0, octaves[-1], POINTS), bends)
    noise = _shaped(spectrum * 10 ** (curve / 20), count, rng.uniform(0.0, 1.0))
    points = 2 + int(count / rate / SWELL_SECONDS)
    swells = rng.normal(0.0, SWELLS_DB, points)
    level = 10 ** (np.interp(np.linspace(0, points - 1, count), np.arange(points), swells) / 20)
    swollen = noise * level
    return (swollen / max(float(swollen.std()), 1e-9)).astype(np.float32)


def blurred(mel: Tensor, rng: np.random.Generator, noise: float) -> Tensor:
    """Return mels ``(b, bins, t)`` smoothed over time and bands, with noise up to a deviation."""
    amount = torch.from_numpy(rng.uniform(0, 0.25, (2, len(mel), 1, 1)).astype(np.float32))
    for axis, share in ((2, amount[0]), (1, amount[1])):
        edges = (1, 1, 0, 0) if axis == 2 else (0, 0, 1, 1)
        padded = F.pad(mel[:, None], edges, mode="replicate")[:, 0]
        size = mel.shape[axis]
        sides = padded.narrow(axis, 0, size) + padded.narrow(axis, 2, size)
        mel = (1 - 2 * share) * mel + share * sides
    drawn = torch.from_numpy(rng.standard_normal(mel.shape).astype(np.float32))
    level = torch.from_numpy(rng.uniform(0, noise, (len(mel), 1, 1)).astype(np.float32))
    return mel + level * drawn


def noise_for(
    speech: FloatArray, rng: np.random.Generator, snr_db: tuple[float, float], rate: int
) -> FloatArray:
    """Return noise for a signal, at a ratio drawn from a range in dB."""
    level = max(float(speech.std()), QUIETEST) * 10 ** (-rng.uniform(*snr_db) / 20)
    return np.float32(level) * uneven_noise(rng, len(speech), rate)
