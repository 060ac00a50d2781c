"""Hugging Face datasets on disk, and recordings that live inside their files.

Read with pyarrow alone: what ``Dataset.save_to_disk`` writes is an Arrow stream, what the hub
holds is Parquet, and both carry their features as JSON. Sound is read when a job needs it.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import soundfile as sf

from stepedit_core.errors import AudioError, StepeditError
from stepedit_core.pairs import CorpusItem
from stepedit_core.utterance import MAX_SECONDS, Utterance
from stepedit_pairs.corpora.columns import item_from_row

__all__ = ["HuggingFace", "StoredItem", "item_of"]

_MARK = "#"
_AUDIO = ("audio", "speech", "wav", "source_audio")
_ARROW, _PARQUET = ".arrow", ".parquet"


class StoredItem(CorpusItem):
    """A recording inside a dataset's file; its path is ``FILE#COLUMN#ROW``."""

    def read(self) -> Utterance:
        """Read the recording with its transcript.

        Raises:
            AudioError: if it is absent, unreadable, too long or holds nothing to work on.
        """
        file, column, row = self.path.rsplit(_MARK, 2)
        try:
            raw = _cell(file, column, int(row))
            with sf.SoundFile(io.BytesIO(raw)) as sound:
                if sound.frames / sound.samplerate > MAX_SECONDS:
                    raise AudioError(f"{self.path}: lasts more than {MAX_SECONDS:.0f} s")
                samples = sound.read(dtype="float32", always_2d=True).mean(axis=1)
                utterance = Utterance(samples, sound.samplerate, self.transcript, self.language)
        except (sf.LibsndfileError, RuntimeError, OSError, ValueError) as error:
            raise AudioError(f"{self.path}: not readable audio ({error})") from error
        problem = utterance.problem()
        if problem:
            raise AudioError(f"{self.path}: {problem}")
        return utterance


def item_of(data: Mapping[str, Any]) -> CorpusItem:
    """Return an item from its fields, of the class that its path asks for."""
    file, _, place = str(data["path"]).partition(_MARK)
    stored = bool(place) and Path(file).suffix in (_ARROW, _PARQUET)
    return StoredItem(**data) if stored else CorpusItem(**data)


class HuggingFace:
    """A dataset saved by ``save_to_disk``, or a folder of Parquet files as the hub has them.

    The recording is a column of type Audio (``audio`` by preference); other columns mean what
    they mean in a manifest, class labels are spelt out.
    """

    name = "hugging_face"

    def recognises(self, path: os.PathLike[str]) -> bool:
        """Say whether there are files of a saved dataset, or Parquet files."""
        return bool(_files(Path(path)))

    def items(self, path: os.PathLike[str]) -> Iterator[CorpusItem]:
        """Yield the rows of all files in order of their names.

        Raises:
            StepeditError: if a file has no column of recordings.
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
        raise StepeditError(f"{file}: no column of type Audio among {', '.join(schema.names)}")
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
        place = f"{file}{_MARK}{audio}{_MARK}{number}"
        item = item_from_row(facts, place, number, root.resolve().stem)
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
        info = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        beside = file.parent / "dataset_info.json"
        if "info" not in info and beside.exists():
            info = {"info": json.loads(beside.read_text(encoding="utf-8"))}
    except ValueError:
        return {}
    features = info.get("info", {}).get("features", {})
    return features if isinstance(features, Mapping) else {}


def _schema(file: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if file.suffix == _PARQUET:
        return pq.read_schema(file)
    with pa.memory_map(str(file)) as source, pa.ipc.open_stream(source) as stream:
        return stream.schema


def _plain_rows(file: Path, columns: list[str]) -> Iterator[Mapping[str, Any]]:
    """Yield the values of all columns but the sound, a batch in memory at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if file.suffix == _PARQUET:
        with pq.ParquetFile(file) as table:
            for batch in table.iter_batches(batch_size=1024, columns=columns):
                yield from batch.to_pylist() if columns else [{}] * batch.num_rows
        return
    with pa.memory_map(str(file)) as source, pa.ipc.open_stream(source) as stream:
        for batch in stream:
            yield from batch.select(columns).to_pylist() if columns else [{}] * batch.num_rows


def _cell(file: str, column: str, row: int) -> bytes:
    """Return the encoded sound of one row.

    Raises:
        ValueError: if the row holds none.
    """
    value = (
        _arrow_cell(file, column, row) if file.endswith(_ARROW) else _group_cell(file, column, row)
    )
    if not isinstance(value, dict):
        raise ValueError("the row holds no recording")
    if value.get("bytes") is not None:
        return bytes(value["bytes"])
    if value.get("path"):
        beside: bytes = (Path(file).parent / value["path"]).read_bytes()
        return beside
    raise ValueError("the row holds no recording")


@lru_cache(maxsize=2)
def _arrow_batches(file: str) -> list[Any]:
    """Return the batches of an Arrow file, mapped into memory and not read."""
    import pyarrow as pa

    return list(pa.ipc.open_stream(pa.memory_map(file)))


def _arrow_cell(file: str, column: str, row: int) -> Any:
    for batch in _arrow_batches(file):
        if row < batch.num_rows:
            return batch.column(column)[row].as_py()
        row -= batch.num_rows
    raise ValueError("no such row")


@lru_cache(maxsize=1)
def _row_group(file: str, column: str, group: int) -> Any:
    """Return one column of a row group; the jobs of a block mostly need the same one."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(file) as table:
        return table.read_row_group(group, columns=[column]).column(0)


def _group_cell(file: str, column: str, row: int) -> Any:
    for group, count in enumerate(_group_sizes(file)):
        if row < count:
            return _row_group(file, column, group)[row].as_py()
        row -= count
    raise ValueError("no such row")


@lru_cache(maxsize=8)
def _group_sizes(file: str) -> tuple[int, ...]:
    import pyarrow.parquet as pq

    metadata = pq.read_metadata(file)
    return tuple(metadata.row_group(i).num_rows for i in range(metadata.num_row_groups))
