"""Write drawn answers as preferences: of each request the best above the worst.

python rows.py MANIFEST OUT DRAWS.jsonl... --pairs N --gap G --by certain=1 read=0.5

The score of an answer is the weighted sum of its scores, each over its deviation among all answers
once the request's mean is taken off. Preferences that lie closer than the gap are left out.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from stepedit_clone import Clone
from stepedit_pairs.shards import flac_bytes, write_shard

from stepedit_core.registry.corpora import find_reader
from stepedit_core.storage.pair_rows import schema

LEAST = -20.0
"""What an answer counts as that has no room for its words."""


def scores(rows: Sequence[Mapping[str, Any]], by: Mapping[str, float]) -> list[Any]:
    """Return the scores of all requests' answers, each ``(answers,)``."""
    total = [np.zeros(len(row["codes"])) for row in rows]
    for name, weight in by.items():
        held = [np.maximum(np.array(row[name], dtype=float), LEAST) for row in rows]
        centred = [one - one.mean() for one in held]
        spread = np.concatenate(centred).std()
        total = [sum_ + weight * one / spread for sum_, one in zip(total, centred, strict=True)]
    return total


def main() -> None:
    """Write ``OUT/shards``."""
    parser = argparse.ArgumentParser()
    parser.add_argument("manifest", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("draws", type=Path, nargs="+")
    parser.add_argument("--pairs", type=int, default=2)
    parser.add_argument("--gap", type=float, default=1.0)
    parser.add_argument("--by", nargs="+", required=True)
    given = parser.parse_args()
    by = {name: float(value) for name, value in (one.split("=") for one in given.by)}
    lines = [line for one in given.draws for line in one.read_text().splitlines()]
    rows = [json.loads(line) for line in lines]
    items = {one.id: one for one in find_reader(given.manifest, None).items(given.manifest)}
    empty: dict[str, Any] = dict.fromkeys(schema().names)
    made: list[dict[str, Any]] = []
    for at, (row, score) in enumerate(zip(rows, scores(rows, by), strict=True)):
        voice = items[row["name"].rpartition("/")[0]]
        source = voice.read()
        order = np.argsort(-score, kind="stable")
        for number in range(given.pairs):
            best, worst = int(order[number]), int(order[-1 - number])
            if score[best] - score[worst] < given.gap:
                continue
            facts = {"preference": {"by": " ".join(given.by), "gap": score[best] - score[worst]}}
            edit = Clone(text=row["text"])
            made.append(
                empty
                | {
                    "id": f"{at}/{row['name']}#{number}",
                    "edit": edit.name,
                    "edit_json": json.dumps(edit.to_data(), ensure_ascii=False),
                    "source_audio": {"bytes": flac_bytes(source), "path": "source.flac"},
                    "source_text": voice.transcript,
                    "target_text": row["text"],
                    "source_codes": row["source"],
                    "source_start": row["start"],
                    "target_codes": row["codes"][best],
                    "rejected_codes": row["codes"][worst],
                    "details": json.dumps(facts),
                    "speaker": row["speaker"],
                    "language": voice.language,
                    "split": "train",
                    "source_seconds": source.seconds,
                }
            )
    write_shard(given.out, 0, made)
    print(len(made), "preferences of", len(rows), "requests")


if __name__ == "__main__":
    main()
