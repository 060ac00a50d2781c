"""Hugging Face datasets on disk, and recordings that live inside their files.

Read with pyarrow alone: what ``Dataset.save_to_disk`` writes is an Arrow stream, what the hub
holds is Parquet, and both carry their features as JSON. Sound is read when a job needs it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
import numpy.typing as npt

from stepedit_core.dsp.channels import mix_down
from stepedit_core.errors import AudioError, StepeditError
from stepedit_core.pairs import CorpusItem
from stepedit_core.storage.shards import open_parquet
from stepedit_core.storage.sound import read_sound
from stepedit_core.storage.stored_json import parse_json
from stepedit_core.utterance import MAX_SECONDS, Utterance
from stepedit_pairs.corpora.columns import TEXT_COLUMNS, item_from_row

__all__ = ["HuggingFace", "StoredItem", "item_of"]

_MARK = "#"
_AUDIO = ("audio", "speech", "wav", "source_audio")
_ARROW, _PARQUET = ".arrow", ".parquet"
_SUFFIXES = (_ARROW, _PARQUET)
_FULL_SCALE = {1: 128.0, 2: 32_768.0, 4: 2_147_483_648.0}
"""What whole numbers of so many bytes are divided by."""


class StoredItem(CorpusItem):
    """A recording inside a dataset's file; its path is ``FILE#COLUMN#ROW``.

    The column's name is percent-encoded, so that the last two marks are the path's own.
    """

    def read(self) -> Utterance:
        """Read the recording with its transcript.

        Raises:
            AudioError: if it is absent, unreadable, too long or holds nothing to work on.
        """
        file, column, row = self.path.rsplit(_MARK, 2)
        try:
            samples, rate = _sound(_cell(file, unquote(column), int(row)), Path(file).parent)
            utterance = Utterance(samples, rate, self.transcript, self.language)
        except (RuntimeError, OSError, ValueError, StepeditError) as error:
            raise AudioError(f"{self.path}: not readable audio ({error})") from error
        problem = utterance.problem()
        if problem:
            raise AudioError(f"{self.path}: {problem}")
        return utterance


def item_of(data: Mapping[str, Any]) -> CorpusItem:
    """Return an item from its fields, of the class that its path asks for."""
    file, *place = str(data["path"]).rsplit(_MARK, 2)
    stored = len(place) == 2 and place[1].isdecimal() and Path(file).suffix in _SUFFIXES
    return StoredItem(**data) if stored else CorpusItem(**data)


class HuggingFace:
    """A dataset saved by ``save_to_disk``, or a folder of Parquet files as the hub has them.

    The recording is a column of type Audio (``audio`` by preference), encoded or decoded to
    ``{array, sampling_rate}``, as ``map`` leaves it; other columns mean what they mean in a
    manifest, class labels are spelt out.
    """

    name = "hugging_face"

    def recognises(self, path: os.PathLike[str]) -> bool:
        """Return whether there are files of a saved dataset, or Parquet files."""
        return bool(_files(Path(path)))

    def items(self, path: os.PathLike[str]) -> Iterator[CorpusItem]:
        """Yield the rows of all files in order of their names.

        Raises:
            StepeditError: if a file is damaged, has no column of recordings, or its words are
                no text.
        """
        root = Path(path)
        for file in _files(root):
            yield from _items_of(root, file)


def _files(root: Path) -> list[Path]:
    """Return the data files of a dataset in order."""
    if root.is_file():
        return [root] if root.suffix == _PARQUET else []
    saved = (root / "state.json").exists() or (root / "dataset_dict.json").exists()
    suffix = _ARROW if saved else _PARQUET
    return sorted(file for file in root.rglob(f"*{suffix}") if file.is_file())


def _items_of(root: Path, file: Path) -> Iterator[CorpusItem]:
    import pyarrow as pa

    schema = _schema(file)
    features = _features(file, schema)
    structs = [field.name for field in schema if pa.types.is_struct(field.type)]
    audio = next((name for name in (*_AUDIO, *structs) if name in structs), None)
    if audio is None:
        raise StepeditError(
            f"{file}: no column of type Audio among {', '.join(schema.names)}; make it one: "
            "dataset.cast_column('audio', Audio())"
        )
    for field in schema:
        if field.name.lower() in TEXT_COLUMNS and pa.types.is_nested(field.type):
            raise StepeditError(
                f"{file}: the column {field.name!r} holds {field.type} where a text belongs"
            )
    plain = [
        field.name
        for field in schema
        if not pa.types.is_nested(field.type) and not pa.types.is_binary(field.type)
    ]
    name = file.name if root.is_file() else file.relative_to(root).as_posix()
    split = _split_of(name)
    for number, row in enumerate(_plain_rows(file, plain)):
        facts = {key.lower(): _spelt(features.get(key), value) for key, value in row.items()}
        facts.setdefault("id", f"{name}{_MARK}{number}")
        facts.setdefault("split", split)
        place = f"{file}{_MARK}{quote(audio, safe='')}{_MARK}{number}"
        try:
            item = item_from_row(facts, place, number, root.resolve().stem)
        except StepeditError as error:
            raise StepeditError(f"{file}, row {number}: {error}") from error
        if item is not None:
            yield item_of({field: getattr(item, field) for field in item.__dataclass_fields__})


def _split_of(name: str) -> str | None:
    for part in name.lower().replace("-", "/").replace(".", "/").split("/"):
        if part in ("train", "test", "validation", "dev"):
            return "dev" if part == "validation" else part
    return None


def _spelt(feature: Any, value: Any) -> Any:
    """Return the name of a class label, or a value as it is."""
    names = feature.get("names") if isinstance(feature, Mapping) else None
    return names[value] if names and isinstance(value, int) and 0 <= value < len(names) else value


def _features(file: Path, schema: Any) -> Mapping[str, Any]:
    """Return the features that a dataset's files describe themselves with."""
    try:
        info = parse_json((schema.metadata or {}).get(b"huggingface", b"{}"))
        beside = file.parent / "dataset_info.json"
        if "info" not in info and beside.exists():
            info = {"info": parse_json(beside.read_text(encoding="utf-8"))}
    except ValueError:
        return {}
    features = info.get("info", {}).get("features", {})
    return features if isinstance(features, Mapping) else {}


def _schema(file: Path) -> Any:
    if file.suffix == _PARQUET:
        with open_parquet(file) as table:
            return table.schema_arrow
    with _stream(file) as stream:
        return stream.schema


@contextmanager
def _stream(file: Path | str) -> Iterator[Any]:
    """Open an Arrow stream; whatever is wrong with it, then or later, is one line."""
    import pyarrow as pa

    try:
        with pa.memory_map(str(file)) as source, pa.ipc.open_stream(source) as stream:
            yield stream
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        why = " ".join(str(error).split())[:120]
        raise StepeditError(
            f"{file}: not a readable Arrow file ({why}); fetch or save the dataset again"
        ) from error


def _plain_rows(file: Path, columns: list[str]) -> Iterator[Mapping[str, Any]]:
    """Yield the values of all columns but the sound, a batch in memory at a time."""
    if file.suffix == _PARQUET:
        with open_parquet(file) as table:
            for batch in table.iter_batches(batch_size=1024, columns=columns):
                yield from batch.to_pylist() if columns else [{}] * batch.num_rows
        return
    with _stream(file) as stream:
        for batch in stream:
            yield from batch.select(columns).to_pylist() if columns else [{}] * batch.num_rows


def _sound(value: Any, folder: Path) -> tuple[npt.NDArray[np.float32], int]:
    """Return the samples and the rate in Hz of a cell, encoded, decoded or beside the file.

    Raises:
        ValueError: if the row holds none, or no recording that can be worked on.
    """
    if not isinstance(value, dict):
        raise ValueError("the row holds no recording")
    if value.get("array") is not None and value.get("sampling_rate"):
        rate = int(value["sampling_rate"])
        if max(np.shape(value["array"]), default=0) > MAX_SECONDS * rate:
            raise ValueError(f"lasts more than {MAX_SECONDS:.0f} s")
        return _decoded(value["array"], rate), rate
    if value.get("bytes") is not None:
        raw = bytes(value["bytes"])
    elif value.get("path"):
        raw = (folder / value["path"]).read_bytes()
    else:
        raise ValueError("the row holds no recording")
    sound = read_sound(raw, max_seconds=MAX_SECONDS)
    return sound.samples, sound.rate


def _decoded(values: Any, rate: int) -> npt.NDArray[np.float32]:
    """Return decoded numbers as mono samples; whole numbers are divided by their full scale."""
    array = np.asarray(values)
    if array.ndim not in (1, 2) or array.dtype.kind not in "iuf":
        raise ValueError(f"the array of the row is no sound (shape {array.shape}, {array.dtype})")
    if array.dtype.kind != "f":
        array = array / _FULL_SCALE.get(array.dtype.itemsize, 32_768.0)
    if array.ndim == 2:  # channels first, as torchcodec has them, or last, as soundfile
        columns = array if array.shape[1] <= array.shape[0] else array.T
        return mix_down(columns.astype(np.float32), rate)[0]
    return array.astype(np.float32)


def _cell(file: str, column: str, row: int) -> Any:
    """Return the cell of a recording, with decoded numbers as an array.

    Raises:
        ValueError: if there is no such row.
    """
    read = _arrow_cell if file.endswith(_ARROW) else _group_cell
    scalar = read(file, column, row)
    if "array" in [field.name for field in scalar.type] and scalar.is_valid:
        return {
            "array": _numbers(scalar["array"]),
            "sampling_rate": scalar["sampling_rate"].as_py(),
        }
    return scalar.as_py()


def _numbers(scalar: Any) -> npt.NDArray[Any] | None:
    """Return a list, or a list of lists, of numbers as an array, or None where there is none."""
    import pyarrow as pa

    values = scalar.values if scalar.is_valid else None
    if values is None:
        return None
    if not pa.types.is_nested(values.type):
        return np.asarray(values.to_numpy(zero_copy_only=False))
    lengths = {len(item.values) for item in values if item.is_valid}
    if len(lengths) != 1 or values.null_count:
        raise ValueError("the channels of the row are not of one length")
    return np.stack([item.values.to_numpy(zero_copy_only=False) for item in values])


@lru_cache(maxsize=2)
def _arrow_batches(file: str) -> list[Any]:
    """Return the batches of an Arrow file, mapped into memory and not read."""
    import pyarrow as pa

    return list(pa.ipc.open_stream(pa.memory_map(file)))


def _arrow_cell(file: str, column: str, row: int) -> Any:
    for batch in _arrow_batches(file):
        if row < batch.num_rows:
            return batch.column(column)[row]
        row -= batch.num_rows
    raise ValueError("no such row")


@lru_cache(maxsize=1)
def _row_group(file: str, column: str, group: int) -> Any:
    """Return one column of a row group; the jobs of a block mostly need the same one."""
    with open_parquet(file) as table:
        # Columns inside a struct are named with a dot, and so may the struct itself be.
        return table.read_row_group(group, columns=[column]).column(column)


def _group_cell(file: str, column: str, row: int) -> Any:
    for group, count in enumerate(_group_sizes(file)):
        if row < count:
            return _row_group(file, column, group)[row]
        row -= count
    raise ValueError("no such row")


@lru_cache(maxsize=8)
def _group_sizes(file: str) -> tuple[int, ...]:
    with open_parquet(file) as table:
        return tuple(table.metadata.row_group(i).num_rows for i in range(table.num_row_groups))
