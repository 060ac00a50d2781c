"""Print what choosing by the networks' disagreement gives, on cases that ``trial.py`` measured.

python ruled.py OUT

Where the networks differ by more than a limit DeepFilterNet with a share of 0.8, else the ensemble;
for several limits, and with the limit chosen on all speakers but the case's own.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

Row = dict[str, Any]
SINGLE = ("rnnoise", "deepfilternet", "ensemble")
CAREFUL = "deepfilternet 0.8"
LIMITS = (-10.0, -8.0, -7.0, -6.0, -5.0, -4.0, -2.0, 99.0)


def main(out: str) -> None:
    """Print joint success and words misheard."""
    place = Path(out)
    by: dict[str, dict[str, Row]] = defaultdict(dict)
    for row in map(json.loads, (place / "rows.jsonl").read_text("utf-8").splitlines()):
        by[row["id"]][row["mix"]] = row
    cases = []
    for name, own in by.items():
        if not set(SINGLE) <= set(own) or own["ensemble"]["class"].startswith("clean"):
            continue
        with np.load(place / "sounds" / f"{name}.npz") as kept:
            one, two = (kept[net].astype(np.float64) for net in ("rnnoise", "deepfilternet"))
        apart = 10 * np.log10(4 * np.sum((one - two) ** 2) / np.sum((one + two) ** 2))
        cases.append((apart, own))
    scored = [(apart, own) for apart, own in cases if own["ensemble"]["joint"] is not None]

    def picked(apart: float, own: dict[str, Row], limit: float) -> Row:
        return own.get(CAREFUL, own["ensemble"]) if apart > limit else own["ensemble"]

    def said(rows: list[Row]) -> str:
        words = [row["kept"]["text"] for row in rows]
        share = sum(one["errors"] for one in words) / sum(one["length"] for one in words)
        return f"joint {sum(bool(row['joint']) for row in rows)}, misheard {share:.1%}"

    careful = sum(CAREFUL in own for _, own in scored)
    print(f"{len(scored)} noisy cases, {careful} of them with {CAREFUL}")
    for name in SINGLE:
        print(name, said([own[name] for _, own in scored]))
    for limit in LIMITS:
        print(f"limit {limit:g}", said([picked(apart, own, limit) for apart, own in scored]))
    chosen = []
    for apart, own in scored:
        speaker = own["ensemble"]["speaker"]
        others = [one for one in scored if one[1]["ensemble"]["speaker"] != speaker]
        hits = [sum(bool(picked(*one, limit)["joint"]) for one in others) for limit in LIMITS]
        best = [limit for limit, hit in zip(LIMITS, hits, strict=True) if hit == max(hits)]
        chosen.append(picked(apart, own, best[len(best) // 2]))
    print("limit chosen on other speakers", said(chosen))


if __name__ == "__main__":
    main(*sys.argv[1:])
