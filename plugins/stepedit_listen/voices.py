"""Tell speakers apart by clustering speaker vectors, on no network.

Vectors are those of Resemblyzer (GE2E: Wan et al. 2018, ICASSP), the clusters those of spectral
clustering (Ng, Jordan & Weiss 2001, NIPS); how many there are is read off average linkage with a
least likeness.
"""

from __future__ import annotations

import warnings
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
ALIKE = 0.69
"""Mean likeness (cosine) from which two groups of vectors are one voice."""
LEAST_SHARE, LEAST_COUNT = 0.1, 2
"""Groups smaller than both are taken for strays of the other voices."""
_SHARPNESS = 10.0  # of the affinity: exp(sharpness * (cosine - 1))
_CURE = "Resemblyzer and scikit-learn are not installed: pip install 'stepedit[speakers]'"

FloatArray = npt.NDArray[np.float32]
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
        return f"Resemblyzer {version('resemblyzer')}, spectral clustering"

    @classmethod
    def missing(cls) -> str | None:
        """Say what has to be installed."""
        there = all(find_spec(name) for name in ("resemblyzer", "sklearn"))
        return None if there else _CURE

    def tell_apart(self, parts: Iterable[Utterance]) -> list[int | None]:
        """Return the number of each part's speaker; None where too little is said."""
        vectors = [_vector(part) for part in parts]
        known = [n for n, vector in enumerate(vectors) if vector is not None]
        found: list[int | None] = [None] * len(vectors)
        if known:
            labels = cluster(np.stack([v for v in vectors if v is not None]))
            for n, label in zip(known, labels.tolist(), strict=True):
                found[n] = label
        return found


def cluster(vectors: FloatArray, alike: float = ALIKE) -> IntArray:
    """Return the number of each vector's voice, from 0.

    Args:
        vectors: float32 ``(n, size)`` of length 1.
        alike: mean cosine from which two groups are one voice.
    """
    from sklearn.cluster import AgglomerativeClustering, SpectralClustering

    if len(vectors) < 2:
        return np.zeros(len(vectors), dtype=np.int64)
    linked = AgglomerativeClustering(
        n_clusters=None, metric="cosine", linkage="average", distance_threshold=1 - alike
    ).fit_predict(vectors)
    sizes = np.bincount(linked)
    count = int(np.sum((sizes >= LEAST_COUNT) | (sizes >= LEAST_SHARE * len(vectors))))
    if count < 2:
        return np.zeros(len(vectors), dtype=np.int64)
    affinity = np.exp(_SHARPNESS * (np.clip(vectors @ vectors.T, -1, 1) - 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a graph in several parts is no problem here
        spectral = SpectralClustering(
            count, affinity="precomputed", assign_labels="cluster_qr", random_state=0
        )
        return np.asarray(spectral.fit_predict(affinity), dtype=np.int64)


def _vector(utterance: Utterance) -> FloatArray | None:
    """Return the voice's vector, float32 ``(256,)`` of length 1, or None of too little speech."""
    if total_seconds(speech_spans(utterance)) < LEAST_SECONDS / 2:
        return None  # music has no voice, though it has vectors
    speech = voiced_speech(utterance)
    return speaker_vector(speech) if len(speech) >= LEAST_SECONDS * VOICE_RATE else None
