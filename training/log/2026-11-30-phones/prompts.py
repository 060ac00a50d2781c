"""Keep the pairs whose voices and texts are as long as clones say at once.

python prompts.py OUT PAIRS=ROWS...

Of each folder of `stepedit pairs`, the first so many rows whose source lasts at most 3.2 s and
whose text has three to nine words, in an order that a hash of their ids gives.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from stepedit_core.storage.pair_rows import shard_paths

LONGEST = 3.2
WORDS = range(3, 10)


def order(name: str) -> str:
    """Return what rows are sorted by."""
    return hashlib.sha256(name.encode()).hexdigest()


def main(out: str, *sources: str) -> None:
    """Write one shard."""
    kept = []
    for source in sources:
        folder, _, most = source.rpartition("=")
        table = pa.concat_tables([pq.read_table(one) for one in shard_paths(Path(folder))])
        seconds, edits = table["source_seconds"].to_pylist(), table["edit_json"].to_pylist()
        names, splits = table["id"].to_pylist(), table["split"].to_pylist()
        fit = [
            at
            for at in range(len(table))
            if seconds[at] <= LONGEST
            and len(json.loads(edits[at])["text"].split()) in WORDS
            and splits[at] in (None, "train")
        ]
        fit.sort(key=lambda at: order(names[at]))
        kept.append(table.take(fit[: int(most)]))
        print(f"{folder}: {len(fit)} fit, {len(kept[-1])} kept")
    place = Path(out) / "shards"
    place.mkdir(parents=True)
    pq.write_table(pa.concat_tables(kept), place / "part-00000.parquet")


if __name__ == "__main__":
    main(*sys.argv[1:])
