"""Encode the rows of a finished run: add codes, or replace those of another tokenizer."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from stepedit_core.atomic import write_atomically
from stepedit_core.codes import DualCodes
from stepedit_core.edit import Edit
from stepedit_core.errors import StepeditError
from stepedit_core.pairs import MIN_MARGIN, EditPair
from stepedit_core.storage.locking import sole_writer
from stepedit_core.storage.pair_rows import (
    CODED_BY,
    coded_by,
    read_shard,
    row_utterance,
    shard_paths,
)
from stepedit_pairs.encoding import Encoder, encode_pairs
from stepedit_pairs.settings import RunSettings
from stepedit_pairs.shards import SCHEMA, write_table

__all__ = ["Reencoded", "encode_run"]

ROLES = ("source", "target", "rejected")
FAILURES = "encode-failures.jsonl"


@dataclass
class Reencoded:
    """Result of encoding a run.

    Attributes:
        shards: shards in the run.
        fresh: shards that were encoded now; the others had these codes already.
        rows: rows of the fresh shards with codes.
        failed: rows without codes, and damaged shards by their name, with the reason.
        seconds: audio encoded now, in seconds; what several rows share counts once.
    """

    shards: int
    fresh: int = 0
    rows: int = 0
    failed: dict[str, str] = field(default_factory=dict)
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
    cannot be encoded loses its codes, a damaged shard stays as it is, and both are listed in
    ``encode-failures.jsonl``; the others are encoded.

    Args:
        folder: the run.
        encoder: an engine or a tokenizer.
        fingerprint: names the codes; see ``tokenizer_hash``.
        out: folder for a copy of the run with codes; the run itself if None.
        on_shard: called after each shard.

    Raises:
        StepeditError: if the folder holds no run, or no finished shard, or another process
            writes it.
    """
    settings = RunSettings.load(folder)
    paths = shard_paths(folder)
    if not paths:
        raise StepeditError(f"{folder}: no finished shard to encode")
    target = folder if out is None else out
    with sole_writer(target):
        if out is not None:
            _begin_copy(folder, out, settings)
        done = Reencoded(len(paths))
        for path in paths:
            try:
                _encode_missing(path, target / "shards" / path.name, encoder, fingerprint, done)
            except StepeditError as error:
                done.failed[path.name] = str(error)
            if on_shard is not None:
                on_shard(done)
    failures = target / FAILURES
    if done.failed:
        lines = [json.dumps({"id": name, "error": why}) for name, why in done.failed.items()]
        write_atomically(failures, "\n".join(lines) + "\n")
    else:
        failures.unlink(missing_ok=True)
    return done


def _encode_missing(
    path: Path, place: Path, encoder: Encoder, fingerprint: str, done: Reencoded
) -> None:
    """Encode a shard unless it has these codes; rows that then got none still count as failed."""
    if not (place.is_file() and coded_by(place) == fingerprint):
        _encode_shard(path, place, encoder, fingerprint, done)
        return
    for row in read_shard(place, ["id", "source_codes", "target_codes"]):
        if row["source_codes"] is None or row["target_codes"] is None:
            done.failed[row["id"]] = "could not be encoded before; see why in its recording"


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


class _Stored(Edit):
    """Stands for the edit of a row, of which codes do not depend."""


def _pair(row: Mapping[str, Any]) -> EditPair:
    source, target = row_utterance(row, "source"), row_utterance(row, "target")
    if source is None or target is None:
        raise StepeditError("the row has no audio")
    details = json.loads(row["details"] or "{}")
    margin = MIN_MARGIN if row["margin"] is None else row["margin"]  # codes do not depend on it
    return EditPair(source, target, _Stored(), margin, details, row_utterance(row, "rejected"))


def _encode_shard(
    path: Path, place: Path, encoder: Encoder, fingerprint: str, done: Reencoded
) -> None:
    """Encode the rows of one shard and write it; a row that cannot be read spoils no other."""
    rows = read_shard(path)
    pairs: dict[int, EditPair] = {}
    for number, row in enumerate(rows):
        try:
            pairs[number] = _pair(row)
        except (StepeditError, ValueError, TypeError) as error:
            done.failed[row["id"]] = str(error)
    found = dict(zip(pairs, encode_pairs(encoder, list(pairs.values())), strict=True))
    heard: dict[str, float] = {}
    for number, row in enumerate(rows):
        codes: Mapping[str, DualCodes] = {}
        given = found.get(number)
        if isinstance(given, StepeditError):
            done.failed[row["id"]] = str(given)
        elif given is not None:
            codes = given
            done.rows += 1
            for side in (pairs[number].source, pairs[number].target):
                heard[side.digest] = side.seconds
        for role in ROLES:
            row[f"{role}_codes"] = codes[role].token_string() if role in codes else None
        for role in ROLES[:2]:
            row[f"{role}_start"] = codes[role].start if role in codes else None
    metadata = {**SCHEMA.metadata, CODED_BY: fingerprint.encode()}
    write_table(place, pa.Table.from_pylist(rows, schema=SCHEMA.with_metadata(metadata)))
    done.seconds += sum(heard.values())
    done.fresh += 1
