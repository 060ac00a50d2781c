"""Rows of pairs are read by one reader, whoever asks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stepedit_core.errors import StepeditError, UnknownEditError
from stepedit_core.pair_rows import (
    count_rows,
    finished_shards,
    read_rows,
    read_shard,
    row_codes,
    row_details,
    row_edit,
    row_groups,
    row_utterance,
    schema,
    shard_paths,
)
from stepedit_core.registry.registry import Registry
from tests.toy_edits import Hiss
from tests.train.making import codes, make_pairs


@pytest.fixture(autouse=True)
def _toys(toys: Registry) -> Iterator[None]:
    yield


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_pairs(tmp_path / "run", [Hiss(), Hiss()])


def test_a_row_gives_back_its_pair(run: Path) -> None:
    row = list(read_rows(run))[1]
    assert set(row) == set(schema().names)
    said = row_utterance(row, "source")
    assert said is not None and said.transcript == "words 1" and said.sample_rate == 8000
    assert row_utterance(row, "rejected") is None
    assert (
        row_codes(row, "target") == codes(1)
        and row_codes({"rejected_codes": None}, "rejected") is None
    )
    assert row_edit(row) == Hiss() and row_details(row) == {}
    with pytest.raises(UnknownEditError):
        row_edit({"edit_json": '{"edit": "nobodys"}'})


def test_columns_and_groups_are_read_alone(run: Path) -> None:
    (path,) = shard_paths(run)
    assert (
        list(read_rows(run, ["id"]))
        == read_shard(path, ["id"], 0)
        == [{"id": "0#0"}, {"id": "1#0"}]
    )
    assert [number for number, _ in row_groups(path, ["id"])] == [0]
    assert count_rows([path]) == 2 == len(read_shard(path))


def test_what_cannot_be_read_is_named(run: Path, tmp_path: Path) -> None:
    (path,) = finished_shards(run)
    with pytest.raises(StepeditError, match="has no column colour"):
        read_shard(path, ["colour"])
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(StepeditError, match=r"not a whole Parquet file; .* build it again"):
        list(read_rows(run))
    assert shard_paths(tmp_path) == []
    with pytest.raises(StepeditError, match="no shards of `stepedit pairs`"):
        finished_shards(tmp_path)
