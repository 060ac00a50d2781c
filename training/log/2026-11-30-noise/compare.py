"""Print what mixtures succeed in, on the cases that all of them have.

python compare.py OUT/rows.jsonl [NAME,...]

Joint success by level, by noise and by rate, words misheard (pooled), phones (hama's log-likelihood
of the words, mean), gain in DNSMOS BAK, OVRL; clean speech apart: words, and whether it is kept.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

Row = dict[str, Any]


def main(path: str, *names: str) -> None:
    """Print tables."""
    rows = [json.loads(line) for line in Path(path).read_text("utf-8").splitlines()]
    by: dict[str, dict[str, Row]] = defaultdict(dict)
    for row in rows:
        by[row["id"]][row["mix"]] = row
    mixes = (
        names[0].split(";" if ":" in names[0] else ",")
        if names
        else sorted({row["mix"] for row in rows} - {"source"})
    )
    cases = [case for case in by.values() if {"source", *mixes} <= set(case)]
    clean = [case for case in cases if case["source"]["class"].startswith("clean")]
    noisy = [case for case in cases if case not in clean]
    print(f"{len(noisy)} noisy, {len(clean)} clean")
    groups: dict[str, list[dict[str, Row]]] = defaultdict(list)
    for case in noisy:
        said = case["source"]["class"]
        high = "24 k" in said or "48 k" in said
        rate = f"rate {'24+' if high else '8' if ' 8 k' in said else '16'}"
        level = " ".join(said.split()[1:3]) if " dB" in said else "no noise"
        for group in ("all", "level " + level, "noise " + said.split()[0], rate):
            groups[group].append(case)
    print(f"{'':16} {'n':>3} " + " ".join(f"{name:>22}" for name in mixes))
    for group, own in sorted(groups.items()):
        scored = [case for case in own if all(case[m]["joint"] is not None for m in mixes)]
        hits = (sum(case[m]["joint"] for case in scored) for m in mixes)
        print(f"{group:16} {len(scored):3} " + " ".join(f"{hit:22}" for hit in hits))
    for title, own in (("noisy", noisy), ("clean", clean)):
        for mix in ("source", *mixes):
            words = [
                (case[mix]["source"] if mix == "source" else case[mix]["kept"])["text"]
                for case in own
            ]
            errors = sum(one["errors"] for one in words) / max(1, sum(w["length"] for w in words))
            phones = np.mean([case[mix].get("phones", np.nan) for case in own]) if own else np.nan
            line = f"{title} {mix:30} words {errors:.1%} phones {phones:.3f}"
            if mix != "source":
                gains = [case[mix]["values"].get("bak_gain") for case in own]
                said = [one for one in gains if one is not None]
                line += f" bak gain {np.mean(said) if said else np.nan:.2f}"
                line += f" ovrl {np.mean([case[mix]['kept']['dnsmos_ovrl'] for case in own]):.2f}"
                failed = defaultdict(int)
                for case in own:
                    for name, passed in case[mix]["checks"].items():
                        failed[name] += passed is False
                    failed["target"] += case[mix]["reached"] is False
                line += " failed " + ", ".join(f"{k} {v}" for k, v in failed.items() if v)
            print(line)


if __name__ == "__main__":
    main(*sys.argv[1:])
