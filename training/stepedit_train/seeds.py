"""Random generators that depend on a seed and names alone, never on what ran before."""

from __future__ import annotations

import hashlib

import numpy as np
import torch

__all__ = ["generator_of", "rng_of", "share_of"]


def _words(seed: int, names: tuple[object, ...]) -> list[int]:
    digest = hashlib.sha256(repr((seed, *names)).encode()).digest()
    return [int(word) for word in np.frombuffer(digest, dtype="<u4")]


def rng_of(seed: int, *names: object) -> np.random.Generator:
    """Return the NumPy generator of a seed and names such as ``("epoch", 3)``."""
    return np.random.default_rng(_words(seed, names))


def generator_of(seed: int, *names: object) -> torch.Generator:
    """Return the torch CPU generator of a seed and names."""
    low, high = _words(seed, names)[:2]
    return torch.Generator().manual_seed(high << 31 | low >> 1)


def share_of(*names: object) -> float:
    """Return a number in [0, 1) that depends on the names alone: for stable splits."""
    return _words(0, names)[0] / 2**32
