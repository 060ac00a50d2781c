"""Rows of pairs in Parquet shards: their schema, and how they are read again.

A run of ``stepedit pairs`` is a folder with ``shards/part-*.parquet``. Whoever builds pairs and
whoever learns from them read rows here; pyarrow and soundfile decode, nothing else is needed.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import soundfile as sf

from stepedit_core.chain.notation import edit_from_data
from stepedit_core.codes import DualCodes
from stepedit_core.edit import Edit
from stepedit_core.errors import AudioError, StepeditError
from stepedit_core.storage.shards import open_shard
from stepedit_core.storage.stored_json import parse_json
from stepedit_core.utterance import MAX_SECONDS, Utterance

__all__ = [
    "CODED_BY",
    "coded_by",
    "count_rows",
    "finished_shards",
    "leaf_names",
    "read_rows",
    "read_shard",
    "row_codes",
    "row_details",
    "row_edit",
    "row_groups",
    "row_utterance",
    "schema",
    "shard_paths",
]

CODED_BY = b"stepedit_codes"
"""Metadata of a shard: the tokenizer whose codes it holds."""
_AUDIO = ("source_audio", "target_audio", "rejected_audio")
_TEXT = (
    "id", "edit", "edit_json", "source_text", "target_text", "source_codes", "target_codes",
    "rejected_codes", "details", "speaker", "language", "corpus", "split", "licence", "builder",
    "plugin", "stepedit",
)  # fmt: skip
_NUMBERS = {
    "source_start": "float32",
    "target_start": "float32",
    "margin": "float32",
    "source_seconds": "float32",
    "target_seconds": "float32",
    "sample_rate": "int32",
    "builder_version": "int32",
    "seed": "int64",
}


def _hugging_face_metadata() -> bytes:
    """Describe the columns so that ``datasets`` decodes the audio by itself."""
    features: dict[str, Any] = {name: {"_type": "Audio"} for name in _AUDIO}
    features |= {name: {"dtype": "string", "_type": "Value"} for name in _TEXT}
    features["items"] = {"feature": {"dtype": "string", "_type": "Value"}, "_type": "List"}
    features |= {name: {"dtype": kind, "_type": "Value"} for name, kind in _NUMBERS.items()}
    return json.dumps({"info": {"features": features}}).encode()


@cache
def schema() -> Any:
    """Return the columns of a shard, a ``pyarrow.Schema``."""
    import pyarrow as pa

    audio = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    fields = [
        *((name, audio) for name in _AUDIO),
        *((name, pa.string()) for name in _TEXT),
        ("items", pa.list_(pa.string())),
        *((name, pa.type_for_alias(kind)) for name, kind in _NUMBERS.items()),
    ]
    return pa.schema(fields, metadata={b"huggingface": _hugging_face_metadata()})


def leaf_names() -> list[str]:
    """Return the Parquet column paths of the schema."""
    audio = [f"{name}.{part}" for name in _AUDIO for part in ("bytes", "path")]
    return [*audio, *_TEXT, "items.list.element", *_NUMBERS]


def shard_paths(folder: Path) -> list[Path]:
    """Return the finished shards of a run in order; none where there are none yet."""
    return sorted((folder / "shards").glob("part-*.parquet"))


def finished_shards(folder: Path) -> list[Path]:
    """Return the finished shards of a run in order.

    Raises:
        StepeditError: if there are none.
    """
    paths = shard_paths(folder)
    if not paths:
        raise StepeditError(f"{folder}: no shards of `stepedit pairs` in it")
    return paths


def count_rows(paths: Sequence[Path]) -> int:
    """Return the rows of shards after verifying their checksums.

    Raises:
        StepeditError: if one is damaged.
    """
    total = 0
    for path in paths:
        with open_shard(path) as file:
            total += int(file.metadata.num_rows)
    return total


def read_shard(
    path: Path, columns: Sequence[str] | None = None, group: int | None = None
) -> list[dict[str, Any]]:
    """Return the rows of a shard.

    Args:
        path: of the shard.
        columns: names of columns; None reads all.
        group: number of a row group; None reads all.

    Raises:
        StepeditError: if the file is damaged, or has no such column.
    """
    wanted = None if columns is None else list(columns)
    with _opened(path, columns) as file:
        table = file.read(wanted) if group is None else file.read_row_group(group, wanted)
        rows: list[dict[str, Any]] = table.to_pylist()
        return rows


@contextmanager
def _opened(path: Path, columns: Sequence[str] | None) -> Iterator[Any]:
    """Give a shard, its checksum verified, as a ``pyarrow.parquet.ParquetFile`` with columns."""
    with open_shard(path) as file:
        missing = set(schema().names if columns is None else columns) - set(file.schema_arrow.names)
        if missing:
            names = ", ".join(sorted(missing)[:5])
            raise StepeditError(f"{path}: not a shard of pairs (has no column {names})")
        yield file


def coded_by(path: Path) -> str | None:
    """Return the fingerprint of the tokenizer whose codes a shard holds, or None.

    Raises:
        StepeditError: if the file is damaged.
    """
    with open_shard(path) as file:
        named = (file.schema_arrow.metadata or {}).get(CODED_BY)
    return None if named is None else bytes(named).decode()


def row_groups(
    path: Path, columns: Sequence[str] | None = None
) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Yield number and rows of a shard's row groups, one in memory at a time.

    Raises:
        StepeditError: if the file is damaged, or has no such column.
    """
    wanted = None if columns is None else list(columns)
    with _opened(path, columns) as file:
        for number in range(file.num_row_groups):
            yield number, file.read_row_group(number, columns=wanted).to_pylist()


def read_rows(folder: Path, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """Yield the rows of a run in order, a batch in memory at a time.

    Raises:
        StepeditError: if a shard is damaged, or has no such column.
    """
    wanted = None if columns is None else list(columns)
    for path in shard_paths(folder):
        with _opened(path, columns) as file:
            for batch in file.iter_batches(batch_size=64, columns=wanted):
                yield from batch.to_pylist()


def row_utterance(row: Mapping[str, Any], role: str) -> Utterance | None:
    """Return the ``source``, ``target`` or ``rejected`` utterance of a row, or None without one.

    Several channels become their mean. Text and language are those of the columns that were read.

    Raises:
        AudioError: naming the row and the role, if its sound cannot be decoded.
    """
    audio = row[f"{role}_audio"]
    if audio is None:
        return None
    text = row.get("source_text" if role == "source" else "target_text")
    try:
        with sf.SoundFile(io.BytesIO(audio["bytes"] or b"")) as sound:
            if sound.frames > MAX_SECONDS * sound.samplerate:
                raise AudioError(f"lasts more than {MAX_SECONDS:.0f} s")
            samples = sound.read(dtype="float32", always_2d=True)
            if len(samples) != sound.frames or not len(samples):
                raise AudioError("the recording is cut off or empty")
            mono = samples[:, 0] if sound.channels == 1 else samples.mean(axis=1)
            return Utterance(mono, sound.samplerate, text, row.get("language"))
    except (sf.LibsndfileError, RuntimeError, AudioError) as error:
        raise AudioError(f"row {row.get('id', '')}: {role} audio: {error}") from error


def row_codes(row: Mapping[str, Any], role: str) -> DualCodes | None:
    """Return the codes of one side of a row, or None where it has none.

    They begin at the column ``{role}_start``, or at 0 where that is unknown or was not read.

    Raises:
        ValueError: if the column holds anything but audio marks.
    """
    from stepedit_core.models.lm.chat import parse_audio_string

    if not row[f"{role}_codes"]:
        return None
    codes = DualCodes.from_interleaved(parse_audio_string(row[f"{role}_codes"]))
    return replace(codes, start=float(row.get(f"{role}_start") or 0.0))


def row_edit(row: Mapping[str, Any]) -> Edit:
    """Return the edit of a row.

    Raises:
        UnknownEditError: if its plugin is not at hand.
        StepeditError: if it has a parameter that the edit does not take.
    """
    return edit_from_data(parse_json(row["edit_json"]))


def row_details(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the builder's details of a pair, by name."""
    details: dict[str, Any] = parse_json(row["details"] or "{}")
    return details
