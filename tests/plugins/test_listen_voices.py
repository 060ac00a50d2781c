"""Speaker vectors are clustered into voices, and counted."""

from __future__ import annotations

import numpy as np
import pytest
from stepedit_listen.voices import BETWEEN, MEAN, WITHIN, cluster

SIZE = 256


def drawn(turns: list[int], rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Return vectors of voices as the model supposes them, of length 1."""
    voices = rng.normal(MEAN, np.sqrt(BETWEEN), (max(turns) + 1, SIZE))
    spread = np.sqrt(WITHIN[0] + WITHIN[1] / seconds)
    found = voices[turns] + rng.normal(0, spread, (len(turns), SIZE))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("voices", [1, 2, 4, 6, 10])
def test_voices_are_counted(voices: int) -> None:
    turns = [n % voices for n in range(6 * voices)]
    vectors = drawn(turns, np.random.default_rng(voices), seconds=1.0)
    labels = cluster(vectors, np.full(len(turns), 1.0))
    assert labels.max() + 1 == voices
    assert len({(a, b) for a, b in zip(turns, labels.tolist(), strict=True)}) == voices


def test_a_stray_goes_with_the_nearest_voice() -> None:
    rng = np.random.default_rng(0)
    vectors = drawn([0] * 12 + [1] * 12 + [2], rng, seconds=2.0)
    vectors[-1] = 0.7 * vectors[0] + 0.3 * rng.normal(MEAN, 0.1, SIZE).astype(np.float32)
    vectors[-1] /= np.linalg.norm(vectors[-1])
    labels = cluster(vectors, np.full(len(vectors), 2.0))
    assert set(labels.tolist()) == {0, 1} and labels[-1] == labels[0]


def test_one_vector_is_one_voice() -> None:
    vectors = drawn([0], np.random.default_rng(0), seconds=1.0)
    assert cluster(vectors, np.ones(1)).tolist() == [0]
