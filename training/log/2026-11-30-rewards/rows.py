"""Write requests of `draw.py` as prompts, and their draws as preferences or as answers to learn.

python rows.py MANIFEST OUT DRAWS.jsonl... [--pairs N] [--gap G]

With pairs, of each request the best draw above the worst, the second best above the second
worst, and so on, where their rewards (exponential of the fit) lie the gap apart; without, the
request alone.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from stepedit_pairs.shards import flac_bytes, write_shard
from stepedit_paralinguistic import Paralinguistic

from stepedit_core.registry.corpora import find_reader
from stepedit_core.storage.pair_rows import schema


def main() -> None:
    """Write ``OUT/shards``."""
    parser = argparse.ArgumentParser()
    parser.add_argument("manifest", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("draws", type=Path, nargs="+")
    parser.add_argument("--pairs", type=int, default=0)
    parser.add_argument("--gap", type=float, default=0.3)
    given = parser.parse_args()
    lines = [line for one in given.draws for line in one.read_text().splitlines()]
    rows = [json.loads(line) for line in lines]
    items = {one.id: one for one in find_reader(given.manifest, None).items(given.manifest)}
    empty: dict[str, Any] = dict.fromkeys(schema().names)
    made: list[dict[str, Any]] = []
    for row in rows:
        item = items[row["item"]]
        source = item.read()
        edit = Paralinguistic(text=row["text"])
        asked = empty | {
            "id": row["name"],
            "edit": edit.name,
            "edit_json": json.dumps(edit.to_data(), ensure_ascii=False),
            "source_audio": {"bytes": flac_bytes(source), "path": "source.flac"},
            "source_text": source.transcript,
            "target_text": row["text"],
            "source_codes": row["source"],
            "source_start": row["start"],
            "speaker": row["speaker"],
            "language": source.language,
            "split": "train",
            "source_seconds": source.seconds,
        }
        if not given.pairs:
            made.append(asked)
            continue
        rewards = np.exp(np.minimum(0.0, np.array(row["fits"])))
        order = np.argsort(-rewards, kind="stable")
        for number in range(given.pairs):
            best, worst = int(order[number]), int(order[-1 - number])
            gap = float(rewards[best] - rewards[worst])
            if gap < given.gap:
                continue
            facts = {"preference": {"by": "fits", "gap": gap}}
            made.append(
                asked
                | {
                    "id": f"{row['name']}#{number}",
                    "target_codes": row["codes"][best],
                    "rejected_codes": row["codes"][worst],
                    "details": json.dumps(facts),
                }
            )
    write_shard(given.out, 0, made)
    print(len(made), "rows of", len(rows), "requests")


if __name__ == "__main__":
    main()
