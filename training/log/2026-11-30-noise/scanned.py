"""Print what ``scan.py`` found: means over cases, and the difference from the ensemble.

python scanned.py OUT/scan.jsonl
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np


def main(path: str) -> None:
    """Print a line for each mixture, noisy and clean cases apart."""
    rows = [json.loads(line) for line in Path(path).read_text("utf-8").splitlines()]
    for title in ("noisy", "clean"):
        own = [row for row in rows if row["class"].startswith("clean") == (title == "clean")]
        if not own:
            continue
        names = list(own[0]["phones"])
        values = np.array([[row["phones"][name] for name in names] for row in own])
        gap = values - values[:, [names.index("ensemble")]]
        again = np.random.default_rng(0).integers(len(own), size=(4000, len(own)))
        print(title, len(own))
        for at, name in enumerate(names):
            low, high = np.quantile(gap[again, at].mean(axis=1), (0.025, 0.975))
            sdr = [row["sdr"].get(name, np.nan) for row in own]
            print(
                f"{name:26} phones {values[:, at].mean():.3f}, to the ensemble "
                f"{gap[:, at].mean():+.3f} ({low:+.3f} to {high:+.3f}), better "
                f"{(gap[:, at] > 0).sum()}, SI-SDR {np.median(sdr):.1f}"
            )


if __name__ == "__main__":
    main(*sys.argv[1:])
