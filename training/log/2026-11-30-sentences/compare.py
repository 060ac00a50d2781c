"""Compare what `hear.py` wrote of two models, request by request: python compare.py ONE OTHER..."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np


def rows(path: str) -> dict[str, dict[str, Any]]:
    """Return the rows of a file by their names."""
    return {row["name"]: row for row in map(json.loads, Path(path).read_text().splitlines())}


def main(first: str, *others: str) -> None:
    """Print means of both and of their differences, weighted by words, with 95 % intervals."""
    start = rows(first)
    for other in others:
        made = rows(other)
        names = [name for name in start if name in made]
        words = np.array([len(start[name]["text"].split()) for name in names])
        for figure in ("we", "certain", "read"):
            if not all(figure in row for row in (start[names[0]], made[names[0]])):
                continue
            one = np.array([np.mean(start[name][figure]) for name in names])
            two = np.array([np.mean(made[name][figure]) for name in names])
            draws = np.random.default_rng(0).integers(len(names), size=(4000, len(names)))
            means = [np.average((two - one)[at], weights=words[at]) for at in draws]
            low, high = np.quantile(means, [0.025, 0.975])
            before, after = (np.average(each, weights=words) for each in (one, two))
            print(
                f"{other}: {len(names)} requests, {figure} {before:.3f} -> {after:.3f}, "
                f"{after - before:+.3f} ({low:.3f} to {high:.3f})"
            )


if __name__ == "__main__":
    main(*sys.argv[1:])
