"""Tell speakers apart by clustering speaker vectors, on no network.

Vectors are those of Resemblyzer (GE2E: Wan et al. 2018, ICASSP). They are clustered from the bottom
up by likelihood: each voice has a point of its own around a common mean, and vectors lie around it
the farther the shorter the speech that they are of (two-covariance model: Brummer & de Villiers
2010, Odyssey). Groups are joined while one voice explains them better than two, which says how many
there are. Unlike a limit on likeness, this counts that long groups tell more than short ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import version
from importlib.util import find_spec
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from stepedit_core import Diariser, StepeditError, Utterance
from stepedit_core.dsp.vad import speech_spans, total_seconds
from stepedit_core.dsp.voices import VOICE_RATE, speaker_vector, voiced_speech

__all__ = ["VoiceClusters", "cluster"]

LEAST_SECONDS = 0.6
"""Shorter speech gives a vector of its words rather than of its voice."""
MEAN, BETWEEN, WITHIN = 0.0325, 0.00203, (0.00107, 0.000612)
"""Of a coefficient of the vectors: its mean, its variance between voices, and within a voice: a
part that stays and one that shrinks with the seconds of speech. Fitted on 30 voices of LibriSpeech,
170 pieces of 1 to 4 s; the part that stays is doubled, since those of a voice were of one or two
recordings, and one voice in ten recordings came out as three."""
LEAST_SHARE, LEAST_COUNT = 0.1, 2
"""Groups smaller than both are taken for strays of the other voices."""
_ROUNDS = 3
"""How often vectors are given to the nearest voice after the groups are made."""
_CURE = "Resemblyzer is not installed: pip install 'stepedit[speakers]'"

FloatArray = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


class VoiceClusters(Diariser):
    """Resemblyzer's vectors, clustered; up to some twenty voices, any language."""

    name: ClassVar[str] = "resemblyzer"
    rank: ClassVar[int] = 50

    def __init__(self, model: str | None = None, *, threads: int = 1) -> None:
        """Load the weights that come with the package."""
        if problem := self.missing():
            raise StepeditError(f"diariser resemblyzer: {problem}")
        self.label = self.title()

    @classmethod
    def title(cls, model: str | None = None) -> str:
        """Return library and version."""
        return f"Resemblyzer {version('resemblyzer')}, clustered by likelihood"

    @classmethod
    def missing(cls) -> str | None:
        """Say what has to be installed."""
        return None if find_spec("resemblyzer") else _CURE

    def tell_apart(self, parts: Iterable[Utterance]) -> list[int | None]:
        """Return the number of each part's speaker; None where too little is said."""
        vectors = [_vector(part) for part in parts]
        known = [(n, *vector) for n, vector in enumerate(vectors) if vector is not None]
        found: list[int | None] = [None] * len(vectors)
        if known:
            places, heard, seconds = zip(*known, strict=True)
            labels = cluster(np.stack(heard), np.array(seconds))
            for n, label in zip(places, labels.tolist(), strict=True):
                found[n] = label
        return found


def cluster(vectors: FloatArray, seconds: Floats) -> IntArray:
    """Return the number of each vector's voice, from 0.

    Args:
        vectors: float32 ``(n, size)`` of length 1.
        seconds: of speech that each vector is of, ``(n,)``.
    """
    labels = _joined(vectors.astype(np.float64), np.asarray(seconds, dtype=np.float64))
    sizes = np.bincount(labels)
    own = np.flatnonzero((sizes >= LEAST_COUNT) | (sizes >= LEAST_SHARE * len(vectors)))
    if len(own) < 2:
        return np.zeros(len(vectors), dtype=np.int64)
    for number in range(_ROUNDS):
        centres = np.stack([np.average(vectors[labels == n], 0, seconds[labels == n]) for n in own])
        centres /= np.linalg.norm(centres, axis=1, keepdims=True)
        nearest = own[np.argmax(vectors @ centres.T, axis=1)]
        # At first the strays alone move: the others made the centres.
        labels = np.where(np.isin(labels, own), labels, nearest) if number == 0 else nearest
        own = np.unique(labels)
    return np.asarray(np.searchsorted(own, labels), dtype=np.int64)


def _joined(vectors: Floats, seconds: Floats) -> IntArray:
    """Return the group of each vector: groups are joined while that makes all likelier.

    A group is told by the precision of what is heard of its voice, and by the sum of its vectors
    weighted so. Each step joins the two groups that gain most.
    """
    weights = 1 / (WITHIN[0] + WITHIN[1] / np.maximum(seconds, 0.1))
    sums = (vectors - MEAN) * weights[:, None]
    labels = np.arange(len(vectors))
    products = sums @ sums.T
    lengths = np.diag(products)
    alone = _evidence(weights, lengths, vectors.shape[1])
    both = lengths[:, None] + lengths + 2 * products
    gains = _evidence(weights[:, None] + weights, both, vectors.shape[1]) - alone[:, None] - alone
    np.fill_diagonal(gains, -np.inf)
    while len(labels) > 1:
        one, other = np.unravel_index(int(np.argmax(gains)), gains.shape)
        if gains[one, other] <= 0:
            break
        labels[labels == other] = one
        weights[one] += weights[other]
        sums[one] += sums[other]
        length = np.sum(sums[one] ** 2, keepdims=True)
        alone[one] = _evidence(weights[[one]], length, vectors.shape[1])[0]
        gains[other, :] = gains[:, other] = -np.inf
        left = np.unique(labels)
        left = left[left != one]
        gains[one, left] = gains[left, one] = _gains(int(one), weights, sums, alone)[left]
    return np.asarray(np.unique(labels, return_inverse=True)[1], dtype=np.int64)


def _gains(one: int, weights: Floats, sums: Floats, alone: Floats) -> Floats:
    """Return what joining one group with each other one adds to the log-likelihood."""
    lengths = np.sum((sums + sums[one]) ** 2, axis=1)
    both = _evidence(weights + weights[one], lengths, sums.shape[1])
    return np.asarray(both - alone - alone[one])


def _evidence(weights: Floats, lengths: Floats, size: int) -> Floats:
    """Return the log-likelihood of groups, up to terms that joining them does not change.

    Args:
        weights: precision of each group.
        lengths: squared length of each group's weighted sum.
        size: of a vector.
    """
    spread = 1 + BETWEEN * weights
    return np.asarray(0.5 * (lengths * BETWEEN / spread - size * np.log(spread)))


def _vector(utterance: Utterance) -> tuple[FloatArray, float] | None:
    """Return the voice's vector, float32 ``(256,)`` of length 1, and the seconds of speech.

    None of too little speech.
    """
    if total_seconds(speech_spans(utterance)) < LEAST_SECONDS / 2:
        return None  # music has no voice, though it has vectors
    speech = voiced_speech(utterance)
    if len(speech) < LEAST_SECONDS * VOICE_RATE:
        return None
    return speaker_vector(speech), len(speech) / VOICE_RATE
