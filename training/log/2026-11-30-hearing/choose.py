"""Word error of the draw that is chosen, by who chooses and among how many.

python choose.py DRAWS.jsonl

DRAWS.jsonl: of ``../2026-11-30-sentences/hear.py`` with 16 draws.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Row = dict[str, Any]
SURE, AT_ONCE = -0.4, 2


def in_read_order(row: Row) -> npt.NDArray[np.intp]:
    """Return the draws as their codes read, the best first."""
    return np.argsort(-np.array(row["read"]), kind="stable")


def surest_of(row: Row, most: int) -> tuple[int, int]:
    """Return the draw that is heard most surely among so many that read best, and their number."""
    order = in_read_order(row)[:most]
    return int(order[np.argmax(np.array(row["certain"])[order])]), most


def until_sure(row: Row, most: int) -> tuple[int, int]:
    """Return the same where some are heard at once until one is sure."""
    order, sure = in_read_order(row)[:most], np.array(row["certain"])
    heard = AT_ONCE
    while heard < most and sure[order[:heard]].max() < SURE:
        heard += AT_ONCE
    order = order[:heard]
    return int(order[np.argmax(sure[order])]), heard


def main(path: str) -> None:
    """Print a line for each rule: word error, difference from the reader's choice, draws heard."""
    rows = [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]
    words = np.array([len(row["text"].split()) for row in rows], float)
    again = np.random.default_rng(0).integers(len(rows), size=(4000, len(rows)))
    by_reader = np.array([row["we"][in_read_order(row)[0]] for row in rows])
    rules: dict[str, Callable[[Row], tuple[int, int]]] = {
        "reader": lambda row: (int(in_read_order(row)[0]), 0),
        **{f"surest of {n}": (lambda row, n=n: surest_of(row, n)) for n in (4, 8, 12, 16)},
        **{f"until sure, {n} at most": (lambda row, n=n: until_sure(row, n)) for n in (8, 12, 16)},
    }
    mean = np.array([np.mean(row["we"]) for row in rows])
    least = np.array([np.min(row["we"]) for row in rows])
    table = {"any": (mean, 0.0), "best": (least, 0.0)}
    for name, rule in rules.items():
        chosen = [rule(row) for row in rows]
        errors = np.array([row["we"][at] for row, (at, _) in zip(rows, chosen, strict=True)])
        table[name] = errors, float(np.mean([heard for _, heard in chosen]))
    for name, (errors, heard) in table.items():
        gain = errors - by_reader
        low, high = np.quantile(
            [np.average(gain[i], weights=words[i]) for i in again], (0.025, 0.975)
        )
        error = np.average(errors, weights=words)
        print(f"{name:24} {error:6.1%} ({low:+.1%} to {high:+.1%}) heard {heard:.1f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
