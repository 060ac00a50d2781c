"""Differences of two engines on the same cases of clone, with 95 % intervals over cases.

python paired.py BEFORE AFTER [BEFORE AFTER ...]

Folders are those of `stepedit bench figures` under `engines`; several pairs, as of several seeds,
are taken together.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np


def rows_of(folder: str) -> dict[str, dict[str, Any]]:
    """Return the rows of edited cases, by case."""
    lines = (Path(folder) / "journal.jsonl").read_text().splitlines()
    rows = [row for line in lines for row in json.loads(line)["rows"]]
    return {row["case"]: row for row in rows if row["condition"] == "edit"}


def counts(row: dict[str, Any]) -> list[float]:
    """Return joint success, whether the target is reached, words heard wrong, words."""
    heard = row["words"]["whisper"]
    return [bool(row["joint"]), bool(row["reached"]), heard["errors"], heard["length"]]


def percentages(table: Any) -> Any:
    """Return joint success, reached and word error."""
    words = table[:, 2].sum() / table[:, 3].sum()
    return 100 * np.array([table[:, 0].mean(), table[:, 1].mean(), words])


def main(folders: Sequence[str]) -> None:
    """Print both and the difference."""
    both: list[list[list[float]]] = []
    for before, after in zip(folders[::2], folders[1::2], strict=True):
        ours, theirs = rows_of(before), rows_of(after)
        both += [[counts(ours[case]), counts(theirs[case])] for case in ours if case in theirs]
    table = np.array(both, dtype=float)
    rng = np.random.default_rng(0)
    drawn = [table[rng.integers(len(table), size=len(table))] for _ in range(5000)]
    apart = [percentages(one[:, 1]) - percentages(one[:, 0]) for one in drawn]
    low, high = np.percentile(apart, [2.5, 97.5], axis=0)
    print(len(table), "cases")
    made = zip(percentages(table[:, 0]), percentages(table[:, 1]), low, high, strict=True)
    for name, values in zip(("joint success", "reached", "word error"), made, strict=True):
        print("{}: {:.1f} -> {:.1f} ({:+.1f} to {:+.1f})".format(name, *values))


if __name__ == "__main__":
    main(sys.argv[1:])
