"""Write pairs as rows of Parquet shards: one shard for each block of jobs."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import soundfile as sf

from stepedit_core.atomic import write_atomically
from stepedit_core.codes import DualCodes
from stepedit_core.pair_rows import CODED_BY, leaf_names, schema
from stepedit_core.pairs import EditPair, PairJob
from stepedit_core.shards import shard_bytes
from stepedit_core.utterance import Utterance

__all__ = [
    "SCHEMA",
    "flac_bytes",
    "row_of",
    "write_shard",
    "write_table",
]

SCHEMA = schema()


def flac_bytes(utterance: Utterance) -> bytes:
    """Return an utterance as a 16-bit FLAC file; samples beyond full scale are clipped."""
    buffer = io.BytesIO()
    sf.write(buffer, utterance.samples, utterance.sample_rate, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def _audio(utterance: Utterance | None, name: str) -> dict[str, Any] | None:
    return None if utterance is None else {"bytes": flac_bytes(utterance), "path": f"{name}.flac"}


def row_of(
    pair: EditPair,
    job: PairJob,
    number: int,
    codes: Mapping[str, DualCodes],
    provenance: Mapping[str, Any],
) -> dict[str, Any]:
    """Return a pair as a row.

    Args:
        pair: what the builder made.
        job: the job it came from.
        number: the pair's place in the job.
        codes: codes by role (``source``, ``target``, ``rejected``), where an engine was given.
        provenance: builder, version, plugin, seed and stepedit's version.
    """
    first = job.items[0]
    name = f"{job.key}#{number}"
    licences = sorted({item.licence for item in job.items if item.licence})
    return {
        "id": name,
        "edit": pair.edit.name,
        "edit_json": json.dumps(pair.edit.to_data(), ensure_ascii=False),
        "source_audio": _audio(pair.source, "source"),
        "target_audio": _audio(pair.target, "target"),
        "rejected_audio": _audio(pair.rejected, "rejected"),
        "source_text": pair.source.transcript,
        "target_text": pair.target.transcript,
        **{
            f"{role}_codes": codes[role].token_string() if role in codes else None
            for role in ("source", "target", "rejected")
        },
        **{
            f"{role}_start": codes[role].start if role in codes else None
            for role in ("source", "target")
        },
        "details": json.dumps(dict(pair.details), ensure_ascii=False, default=float),
        "speaker": first.speaker,
        "language": pair.source.language or first.language,
        "corpus": first.corpus or None,
        "split": first.split,
        "licence": " + ".join(licences) or None,
        "items": [item.id for item in job.items],
        "margin": pair.margin,
        "source_seconds": pair.source.seconds,
        "target_seconds": pair.target.seconds,
        "sample_rate": pair.source.sample_rate,
        **provenance,
    }


def _shard_path(folder: Path, index: int) -> Path:
    return folder / "shards" / f"part-{index:06d}.parquet"


def write_shard(
    folder: Path, index: int, rows: list[dict[str, Any]], coded_by: str | None = None
) -> None:
    """Write the rows of a block; the name appears when the shard is complete.

    Args:
        folder: of the run.
        index: the block's number.
        rows: of the block.
        coded_by: fingerprint of the tokenizer that gave the codes.
    """
    metadata = dict(SCHEMA.metadata)
    if coded_by is not None:
        metadata[CODED_BY] = coded_by.encode()
    table = pa.Table.from_pylist(rows, schema=SCHEMA.with_metadata(metadata))
    write_table(_shard_path(folder, index), table)


def write_table(path: Path, table: pa.Table) -> None:
    """Write a shard; the name appears when it is complete."""
    # FLAC does not compress further, so the audio columns are stored as they are.
    plain = ["source_audio.bytes", "target_audio.bytes", "rejected_audio.bytes"]
    columns: dict[str, Any] = {name: "zstd" for name in leaf_names() if name not in plain}
    compression = {**columns, **dict.fromkeys(plain, "none")}
    write_atomically(path, shard_bytes(table, compression=compression, use_dictionary=False))
