from __future__ import annotations

import io
import random
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stepedit_core.errors import StepeditError
from stepedit_core.locking import sole_writer
from stepedit_core.shards import open_shard, shard_bytes, verify_checksum


def _table() -> pa.Table:
    rng = random.Random(0)
    audio = [{"bytes": rng.randbytes(700), "path": f"{n}.flac"} for n in range(9)]
    return pa.table({"audio": audio, "text": [f"words {n}" for n in range(9)]})


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    content, path = shard_bytes(_table(), compression="zstd"), tmp_path / "part-000000.parquet"
    path.write_bytes(content)
    assert verify_checksum(path)
    rng = random.Random(1)
    mark = content.index(b"stepedit-sha256:")
    for _ in range(300):
        place, bit = rng.randrange(len(content)), 1 << rng.randrange(8)
        flipped = bytearray(content)
        flipped[place] ^= bit
        path.write_bytes(flipped)
        if mark <= place < mark + 16:  # only the mark itself: the data are whole
            continue
        with pytest.raises(StepeditError, match=r"part-000000\.parquet: .*build it again"):
            verify_checksum(path)
    path.write_bytes(content[:-100])
    with pytest.raises(StepeditError, match="not a whole Parquet file"):
        verify_checksum(path)


def test_any_reader_takes_a_shard_with_a_checksum(tmp_path: Path) -> None:
    content = shard_bytes(_table())
    assert pq.read_table(io.BytesIO(content)) == _table()
    plain = tmp_path / "plain.parquet"
    pq.write_table(_table(), plain)
    assert not verify_checksum(plain)  # as releases before wrote them
    with open_shard(plain) as file:
        assert file.read() == _table()


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    for target in (tmp_path, tmp_path / "x.jsonl"):
        refused = []

        def second(place: Path = target, into: list[str] = refused) -> None:
            try:
                with sole_writer(place):
                    into.append("got it")
            except StepeditError as error:
                into.append(str(error))

        with sole_writer(target):
            other = threading.Thread(target=second)
            other.start()
            other.join()
        assert "another process is writing it" in refused[0]
        second()
        assert refused[1] == "got it"
    assert not list(tmp_path.iterdir())
