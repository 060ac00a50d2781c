"""Write requests of clones: short voices of training speakers, and short texts.

python prompts.py OUT COUNT SENTENCES PAIRS...

Of the rows of `stepedit pairs clone` those whose source, the voice, lasts at most 3.2 s; the text
is one of three to nine words: of the other rows in turn with SENTENCES, one a line. What the rows
had recorded as an answer is left out: answers are drawn and heard.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stepedit_core.storage.pair_rows import shard_paths

LONGEST = 3.2
WORDS = range(3, 10)


def fits(text: str) -> bool:
    """Return whether a text is as long as a phrase that is said at once."""
    return len(text.split()) in WORDS


def main(out: str, count: str, sentences: str, *folders: str) -> None:
    """Write one shard."""
    table = pa.concat_tables(
        [pq.read_table(shard) for folder in folders for shard in shard_paths(Path(folder))]
    )
    edits = [json.loads(one) for one in table["edit_json"].to_pylist()]
    seconds, splits = table["source_seconds"].to_pylist(), table["split"].to_pylist()
    voices = [
        at
        for at, length in enumerate(seconds)
        if length <= LONGEST and splits[at] in (None, "train")
    ]
    said = sorted({edit["text"] for edit in edits if fits(edit["text"])})
    read = [one for one in Path(sentences).read_text(encoding="utf-8").splitlines() if fits(one)]
    rng = np.random.default_rng(0)
    rows = table.take([voices[at] for at in rng.integers(len(voices), size=int(count))])
    texts = [str(rng.choice(said if at % 2 else read)) for at in range(len(rows))]
    asked = [
        json.dumps({**json.loads(edit), "text": text})
        for edit, text in zip(rows["edit_json"].to_pylist(), texts, strict=True)
    ]
    names = [f"{name}/{at}" for at, name in enumerate(rows["id"].to_pylist())]
    for name, values in (("edit_json", asked), ("id", names)):
        at = rows.schema.get_field_index(name)
        rows = rows.set_column(at, name, pa.array(values, rows.schema.field(at).type))
    for name in ("target_audio", "target_text", "target_codes"):
        if name in rows.column_names:
            at = rows.schema.get_field_index(name)
            kind = rows.schema.field(at).type
            rows = rows.set_column(at, name, pa.nulls(len(rows), kind))
    place = Path(out) / "shards"
    place.mkdir(parents=True)
    pq.write_table(rows, place / "part-00000.parquet")
    print(f"{len(rows)} requests, {len(voices)} voices, {len(said)} + {len(read)} texts")


if __name__ == "__main__":
    main(*sys.argv[1:])
