"""Add codes to a run that was built without them, or give it those of another tokenizer."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from stepedit_core.atomic import write_atomically
from stepedit_core.codes import DualCodes
from stepedit_core.edit import Edit
from stepedit_core.errors import StepeditError
from stepedit_core.pair_rows import CODED_BY, read_shard, row_utterance, shard_paths
from stepedit_core.pairs import EditPair
from stepedit_pairs.encoding import Encoder, encode_pairs
from stepedit_pairs.settings import RunSettings
from stepedit_pairs.shards import SCHEMA, write_table

__all__ = ["Reencoded", "encode_run"]

ROLES = ("source", "target", "rejected")


@dataclass
class Reencoded:
    """What became of a run's rows.

    Attributes:
        shards: shards in the run.
        fresh: shards that were encoded now; the others had these codes already.
        rows: rows of the fresh shards with codes.
        failed: rows of the fresh shards that could not be encoded, by their id.
        seconds: audio encoded now, in seconds.
    """

    shards: int
    fresh: int = 0
    rows: int = 0
    failed: dict[str, str] | None = None
    seconds: float = 0.0


def encode_run(
    folder: Path,
    encoder: Encoder,
    fingerprint: str,
    *,
    out: Path | None = None,
    on_shard: Callable[[Reencoded], None] | None = None,
) -> Reencoded:
    """Give every row of a run the codes of an encoder, going on where an earlier call stopped.

    A shard says whose codes it holds, and one with the codes asked for is left alone. A row that
    cannot be encoded loses its codes and is listed in ``encode-failures.jsonl``.

    Args:
        folder: the run.
        encoder: an engine or a tokenizer.
        fingerprint: names the codes; see :func:`stepedit_pairs.tokenizing.tokenizer_fingerprint`.
        out: folder for a copy of the run with codes; the run itself if None.
        on_shard: called after each shard.

    Raises:
        StepeditError: if the folder holds no run, or no finished shard.
    """
    settings = RunSettings.load(folder)
    paths = shard_paths(folder)
    if not paths:
        raise StepeditError(f"{folder}: no finished shard to encode")
    target = folder if out is None else out
    if out is not None:
        _begin_copy(folder, out, settings)
    done = Reencoded(len(paths), failed={})
    for path in paths:
        place = target / "shards" / path.name
        if not (place.is_file() and _coded_by(place) == fingerprint):
            _encode_shard(path, place, encoder, fingerprint, done)
        if on_shard is not None:
            on_shard(done)
    if done.failed:
        lines = [json.dumps({"id": name, "error": why}) for name, why in done.failed.items()]
        write_atomically(target / "encode-failures.jsonl", ("\n".join(lines) + "\n").encode())
    return done


def _begin_copy(folder: Path, out: Path, settings: RunSettings) -> None:
    """Start the copy of a run, or check that it is one.

    Raises:
        StepeditError: if the folder holds another run.
    """
    if (out / "run.json").is_file():
        changed = settings.difference(RunSettings.load(out))
        if changed:
            raise StepeditError(f"{out} holds another run ({changed}); choose another --out")
        return
    for kind in ("rejects", "blocks", "plan"):
        for path in (folder / kind).glob("[!.]*"):
            write_atomically(out / kind / path.name, path.read_bytes())
    settings.save(out)


def _coded_by(path: Path) -> str | None:
    metadata = pq.read_schema(path).metadata or {}
    named = metadata.get(CODED_BY)
    return None if named is None else named.decode()


class _Stored(Edit):
    """Stands for the edit of a row, of which codes do not depend."""


def _pair(row: Mapping[str, Any]) -> EditPair:
    source, target = row_utterance(row, "source"), row_utterance(row, "target")
    if source is None or target is None:
        raise StepeditError("the row has no audio")
    details = json.loads(row["details"] or "{}")
    return EditPair(
        source, target, _Stored(), row["margin"], details, row_utterance(row, "rejected")
    )


def _encode_shard(
    path: Path, place: Path, encoder: Encoder, fingerprint: str, done: Reencoded
) -> None:
    """Encode the rows of one shard and write it."""
    rows = read_shard(path)
    pairs = [_pair(row) for row in rows]
    for row, pair, found in zip(rows, pairs, encode_pairs(encoder, pairs), strict=True):
        codes: Mapping[str, DualCodes] = {}
        if isinstance(found, StepeditError):
            assert done.failed is not None
            done.failed[row["id"]] = str(found)
        else:
            codes = found
            done.rows += 1
            done.seconds += pair.source.seconds + pair.target.seconds
        for role in ROLES:
            row[f"{role}_codes"] = codes[role].token_string() if role in codes else None
        for role in ROLES[:2]:
            row[f"{role}_start"] = codes[role].start if role in codes else None
    metadata = {**SCHEMA.metadata, CODED_BY: fingerprint.encode()}
    write_table(place, pa.Table.from_pylist(rows, schema=SCHEMA.with_metadata(metadata)))
    done.fresh += 1
