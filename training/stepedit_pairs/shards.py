"""Rows and Parquet shards: one shard for each block of jobs."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import soundfile as sf

from stepedit_core.atomic import write_atomically
from stepedit_core.codes import DualCodes
from stepedit_core.errors import AudioError, StepeditError
from stepedit_core.pairs import EditPair, PairJob
from stepedit_core.shards import open_shard, shard_bytes
from stepedit_core.utterance import MAX_SECONDS, Utterance

__all__ = [
    "CODED_BY",
    "SCHEMA",
    "coded_by",
    "decoded",
    "flac_bytes",
    "read_rows",
    "read_shard",
    "row_audio",
    "row_of",
    "shard_paths",
    "write_shard",
    "write_table",
]

CODED_BY = b"stepedit_codes"
"""Metadata of a shard: the tokenizer whose codes it holds."""
_AUDIO = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_TEXT = [
    "id", "edit", "edit_json", "source_text", "target_text", "source_codes", "target_codes",
    "rejected_codes", "details", "speaker", "language", "corpus", "split", "licence", "builder",
    "plugin", "stepedit",
]  # fmt: skip
_FIELDS: list[tuple[str, pa.DataType]] = [
    ("source_audio", _AUDIO),
    ("target_audio", _AUDIO),
    ("rejected_audio", _AUDIO),
    *((name, pa.string()) for name in _TEXT),
    ("items", pa.list_(pa.string())),
    ("source_start", pa.float32()),
    ("target_start", pa.float32()),
    ("margin", pa.float32()),
    ("source_seconds", pa.float32()),
    ("target_seconds", pa.float32()),
    ("sample_rate", pa.int32()),
    ("builder_version", pa.int32()),
    ("seed", pa.int64()),
]


def _hugging_face_metadata() -> bytes:
    """Describe the columns so that ``datasets`` decodes the audio by itself."""
    features: dict[str, Any] = {}
    for name, kind in _FIELDS:
        if kind == _AUDIO:
            features[name] = {"_type": "Audio"}
        elif pa.types.is_list(kind):
            features[name] = {"feature": {"dtype": "string", "_type": "Value"}, "_type": "List"}
        else:
            dtype = {"float": "float32"}.get(str(kind), str(kind))
            features[name] = {"dtype": dtype, "_type": "Value"}
    return json.dumps({"info": {"features": features}}).encode()


SCHEMA = pa.schema(_FIELDS, metadata={b"huggingface": _hugging_face_metadata()})


def flac_bytes(utterance: Utterance) -> bytes:
    """Return an utterance as a 16-bit FLAC file; samples beyond full scale are clipped."""
    buffer = io.BytesIO()
    sf.write(buffer, utterance.samples, utterance.sample_rate, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def row_audio(row: Mapping[str, Any], role: str) -> Utterance | None:
    """Return the ``source``, ``target`` or ``rejected`` audio of a row, or None without one.

    Raises:
        AudioError: naming the row and the role, if its sound cannot be decoded.
    """
    audio = row[f"{role}_audio"]
    if audio is None:
        return None
    text = row["source_text"] if role == "source" else row["target_text"]
    try:
        samples, rate = decoded(audio["bytes"])
        return Utterance(samples, rate, text, row["language"])
    except AudioError as error:
        raise AudioError(f"row {row.get('id', '')}: {role} audio: {error}") from error


def decoded(content: bytes | None) -> tuple[npt.NDArray[np.float32], int]:
    """Return the samples and the rate in Hz of an encoded mono recording.

    Raises:
        AudioError: if it cannot be decoded, or holds another kind of recording than pairs do.
    """
    try:
        with sf.SoundFile(io.BytesIO(content or b"")) as sound:
            if sound.channels != 1 or sound.frames > MAX_SECONDS * sound.samplerate:
                raise AudioError(
                    f"{sound.channels} channels of {sound.frames / sound.samplerate:.0f} s; "
                    f"pairs hold mono recordings of at most {MAX_SECONDS:.0f} s"
                )
            samples = sound.read(dtype="float32")
            if len(samples) != sound.frames or not len(samples):
                raise AudioError("the recording is cut off or empty")
            return samples, sound.samplerate
    except (sf.LibsndfileError, RuntimeError) as error:
        raise AudioError(f"not readable audio ({error})") from error


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
    columns: dict[str, Any] = {name: "zstd" for name in _leaf_names() if name not in plain}
    compression = {**columns, **dict.fromkeys(plain, "none")}
    write_atomically(path, shard_bytes(table, compression=compression, use_dictionary=False))


def _leaf_names() -> Iterator[str]:
    """Yield the Parquet column paths of the schema."""
    for name, kind in _FIELDS:
        if kind == _AUDIO:
            yield from (f"{name}.bytes", f"{name}.path")
        elif pa.types.is_list(kind):
            yield f"{name}.list.element"
        else:
            yield name


def shard_paths(folder: Path) -> list[Path]:
    """Return the finished shards of a run in order."""
    return sorted((folder / "shards").glob("part-*.parquet"))


def read_shard(path: Path, columns: list[str] | None = None) -> list[dict[str, Any]]:
    """Return the rows of one shard, all columns or some.

    Raises:
        StepeditError: if it is damaged, or holds no pairs.
    """
    wanted = columns or SCHEMA.names
    with open_shard(path) as file:
        missing = set(wanted) - set(file.schema_arrow.names)
        if missing:
            raise StepeditError(f"{path}: not a shard of pairs (no column {min(missing)!r})")
        rows: list[dict[str, Any]] = file.read(columns=columns).to_pylist()
    return rows


def coded_by(path: Path) -> str | None:
    """Return the fingerprint of the tokenizer whose codes a shard holds, or None.

    Raises:
        StepeditError: if it is damaged.
    """
    with open_shard(path) as file:
        named = (file.schema_arrow.metadata or {}).get(CODED_BY)
    return None if named is None else bytes(named).decode()


def read_rows(folder: Path, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """Yield the rows of a run in order, one shard in memory at a time."""
    for path in shard_paths(folder):
        yield from read_shard(path, columns)
