from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile as sf
import stepedit_emotion
from stepedit_pairs.corpora.stored import StoredItem
from stepedit_pairs.plan import read_block, write_plan
from stepedit_pairs.settings import RunSettings
from stepedit_pairs.shards import flac_bytes

from stepedit_core.errors import AudioError, StepeditError
from stepedit_core.registry.corpora import find_reader
from stepedit_core.registry.registry import Registry
from stepedit_core.testing import speech_like
from tests.pairs.making import registry
from tests.pairs.toy_pairs import QuieterPairs

__all__ = ["registry"]


def _sound(seed: int) -> dict[str, object]:
    return {"bytes": flac_bytes(speech_like(0.3, 8000, seed=seed)), "path": f"{seed}.flac"}


def _parquet(folder: Path, rows: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(
        [
            {"audio": _sound(n), "transcription": f"words {n}", "speaker_id": n % 2}
            for n in range(rows)
        ]
    )
    path = folder / "train-00000-of-00001.parquet"
    pq.write_table(table, path, row_group_size=2)
    return path


def test_parquet_rows_are_read_when_needed(registry: Registry, tmp_path: Path) -> None:
    _parquet(tmp_path / "set" / "data", 5)
    reader = find_reader(tmp_path / "set", registry=registry)
    items = list(reader.items(tmp_path / "set"))
    assert reader.name == "hugging_face" and len(items) == 5
    assert items[3].transcript == "words 3" and items[3].speaker == "1"
    assert items[3].split == "train"
    for number in (3, 0, 4):
        got = items[number].read()
        expected, _ = sf.read(io.BytesIO(_sound(number)["bytes"]), dtype="float32")  # type: ignore[arg-type]
        np.testing.assert_array_equal(got.samples, expected)
        assert got.transcript == f"words {number}" and got.sample_rate == 8000


def test_stored_items_pass_through_the_plan(registry: Registry, tmp_path: Path) -> None:
    path = _parquet(tmp_path / "set", 3)
    items = find_reader(path, registry=registry).items(path)
    settings = RunSettings(edit="quieter", corpus=str(path), layout="hugging_face")
    write_plan(tmp_path / "run", QuieterPairs(), items, settings)
    jobs = read_block(tmp_path / "run", 0)
    assert len(jobs) == 3 and isinstance(jobs[2].items[0], StoredItem)
    assert jobs[2].items[0].read().seconds == pytest.approx(0.3)


def test_rows_without_sound_are_bad_files(registry: Registry, tmp_path: Path) -> None:
    rows = [{"audio": {"bytes": b"noise", "path": None}, "text": "a"}, {"audio": None, "text": "b"}]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema([("audio", kind), ("text", pa.string())])
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), tmp_path / "a.parquet")
    items = list(find_reader(tmp_path, registry=registry).items(tmp_path))
    for item in items:
        with pytest.raises(AudioError, match=r"a\.parquet#audio#"):
            item.read()
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "a.parquet")
    with pytest.raises(StepeditError, match="no column of type Audio among text"):
        list(find_reader(tmp_path, registry=registry).items(tmp_path))


@pytest.mark.filterwarnings("ignore")
def test_a_dataset_saved_by_datasets(registry: Registry, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    registry.register(stepedit_emotion, "emotion")  # it says which spellings its labels have
    features = datasets.Features(
        {
            "audio": datasets.Audio(decode=False),
            "text": datasets.Value("string"),
            "emotion": datasets.ClassLabel(names=["neutral", "anger"]),
        }
    )
    rows = [{"audio": _sound(n), "text": f"t{n}", "emotion": n in (1, 2)} for n in range(4)]
    table = pa.Table.from_pylist(rows).cast(features.arrow_schema)
    made = datasets.Dataset(datasets.table.InMemoryTable(table))
    datasets.DatasetDict({"train": made, "test": made.select([2])}).save_to_disk(tmp_path / "d")
    items = list(find_reader(tmp_path / "d", registry=registry).items(tmp_path / "d"))
    assert [(item.split, item.transcript) for item in items] == [
        ("test", "t2"), ("train", "t0"), ("train", "t1"), ("train", "t2"), ("train", "t3"),
    ]  # fmt: skip
    assert [item.labels["emotion"] for item in items[1:]] == [
        "neutral",
        "angry",
        "angry",
        "neutral",
    ]
    expected, _ = sf.read(io.BytesIO(_sound(3)["bytes"]), dtype="float32")  # type: ignore[arg-type]
    np.testing.assert_array_equal(items[4].read().samples, expected)


@pytest.mark.parametrize("place", ["take #1/train.parquet", "plain/train #2.parquet"])
def test_number_signs_in_names(registry: Registry, tmp_path: Path, place: str) -> None:
    path = tmp_path / place
    path.parent.mkdir()
    _parquet(tmp_path, 2).rename(path)
    items = find_reader(path, registry=registry).items(path)
    settings = RunSettings(edit="quieter", corpus=str(path), layout="hugging_face")
    write_plan(tmp_path / "run", QuieterPairs(), items, settings)
    jobs = read_block(tmp_path / "run", 0)
    assert [job.items[0].read().transcript for job in jobs] == ["words 0", "words 1"]


@pytest.mark.parametrize("kind", [pa.float32(), pa.float64(), pa.int16()])
@pytest.mark.parametrize("channels", [0, 1, 2])
def test_decoded_numbers(
    registry: Registry, tmp_path: Path, kind: pa.DataType, channels: int
) -> None:
    speech = speech_like(0.3, 8000, seed=1).samples
    numbers = np.round(speech * 32768).astype(np.int16) if kind == pa.int16() else speech
    values = [list(numbers)] * channels if channels else list(numbers)
    sound = pa.struct(
        [
            ("array", pa.list_(pa.list_(kind) if channels else kind)),
            ("path", pa.string()),
            ("sampling_rate", pa.int64()),
        ]
    )
    rows = [{"audio": {"array": values, "path": None, "sampling_rate": 8000}, "text": "a"}]
    schema = pa.schema([("audio", sound), ("text", pa.string())])
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    (item,) = find_reader(path, registry=registry).items(path)
    got = item.read()
    np.testing.assert_allclose(got.samples, speech, atol=2e-5)
    assert got.sample_rate == 8000 and got.transcript == "a"


def test_damaged_sets(registry: Registry, tmp_path: Path) -> None:
    path = _parquet(tmp_path, 3)
    content = path.read_bytes()
    for damaged in (content[:-30], b"", b"PAR1", content[:200] + bytes(50) + content[250:]):
        path.write_bytes(damaged)
        with pytest.raises(StepeditError, match=r"train-00000.*\.parquet") as caught:
            [item.read() for item in find_reader(path, registry=registry).items(path)]
        assert "\n" not in str(caught.value)
    words = pa.table({"audio": [_sound(0)], "text": [["a", "b"]]})
    pq.write_table(words, path)
    with pytest.raises(StepeditError, match="column 'text' holds list"):
        list(find_reader(path, registry=registry).items(path))
