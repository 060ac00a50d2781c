"""Compare answers to the same requests, before and after, with 95 % intervals over requests.

python compare.py BEFORE.jsonl AFTER.jsonl

Files are those of draw.py (how sure tiny.en is, how codes read) or of measure.py (words as Whisper
base hears them, voice). One answer is the mean of sixteen; as it ships, the one that reads best.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

Row = Mapping[str, Any]
ERROR, VOICE = 0.2, 0.7
"""What a clone that reaches its target has at most, and at least (`stepedit_clone.scorer`)."""


def read(row: Row) -> Any:
    """Return how well the codes read, as probabilities; 0 where they cannot be read."""
    return np.array([0.0 if one is None else np.exp(one) for one in row["read"]])


def sure(row: Row) -> Any:
    """Return how sure tiny.en is of the words, as probabilities."""
    return np.exp(row["certain"])


def error(row: Row) -> Any:
    """Return word errors; who says everything twice counts as 1."""
    return np.minimum(row["word_error"], 1.0)


def reached(row: Row) -> Any:
    """Return whether words and voice are those asked for."""
    return (np.array(row["word_error"]) <= ERROR) & (np.array(row["voice"]) >= VOICE)


def ships(of: Callable[[Row], Any]) -> Callable[[Row], float]:
    """Return a figure of the answer that reads best."""
    return lambda row: float(of(row)[int(read(row).argmax())])


def mean(of: Callable[[Row], Any]) -> Callable[[Row], float]:
    """Return the mean of a figure."""
    return lambda row: float(np.mean(of(row)))


def best(of: Callable[[Row], Any]) -> Callable[[Row], float]:
    """Return the largest of a figure."""
    return lambda row: float(np.max(of(row)))


FIGURES: Mapping[str, Callable[[Row], float]] = {
    "sure, one answer": mean(sure),
    "sure, best of 16": best(sure),
    "log sure, one answer": mean(lambda row: np.array(row["certain"])),
    "reader, one answer": mean(read),
    "reader, best of 16": best(read),
    "word error, one answer": mean(error),
    "word error, as it ships": ships(error),
    "reached, one answer": mean(reached),
    "reached, as it ships": ships(reached),
    "voice, one answer": mean(lambda row: np.array(row["voice"])),
    "length": lambda row: float(np.mean(row["groups"]) / row["expected"]),
}


def main(before: str, after: str) -> None:
    """Print all figures that both files have."""
    ours, theirs = (
        {row["name"]: row for row in map(json.loads, Path(one).read_text().splitlines())}
        for one in (before, after)
    )
    both = [(ours[name], theirs[name]) for name in ours if name in theirs]
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(both), size=(5000, len(both)))
    print(len(both), "requests")
    for name, of in FIGURES.items():
        try:
            values = np.array([[of(one) for one in pair] for pair in both])
        except KeyError:
            continue
        low, high = np.percentile((values[:, 1] - values[:, 0])[drawn].mean(1), [2.5, 97.5])
        start, end = values.mean(0)
        print(f"{name}: {start:.3f} -> {end:.3f}, {end - start:+.3f} ({low:+.3f} to {high:+.3f})")


if __name__ == "__main__":
    main(*sys.argv[1:])
