"""Runs with damaged, hostile or useless content: one line says it, nothing is lost in silence."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from stepedit_pairs.card import write_card
from stepedit_pairs.jsonl import export_jsonl, import_jsonl
from stepedit_pairs.plan import read_block, read_sample
from stepedit_pairs.reencoding import FAILURES, encode_run
from stepedit_pairs.report import write_rejects, write_report
from stepedit_pairs.settings import RunSettings
from stepedit_pairs.shards import write_table
from stepedit_pairs.work import read_rejects

from stepedit_core.errors import StepeditError
from stepedit_core.registry.registry import Registry
from stepedit_core.storage.locking import sole_writer
from stepedit_core.storage.pair_rows import read_rows, read_shard, shard_paths
from stepedit_core.testing import FakeEngine
from tests.pairs.making import make_corpus, registry, run_toy

__all__ = ["registry"]


@pytest.fixture
def run(registry: Registry, tmp_path: Path) -> Path:
    manifest, _ = make_corpus(tmp_path / "c", 10)
    run_toy(tmp_path / "run", manifest, min_margin=1.0)
    return tmp_path / "run"


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 4
    path.write_bytes(content)


def change_rows(path: Path, **changes: object) -> None:
    """Write a shard again with other values in its first row."""
    rows = read_shard(path)
    rows[0].update(changes)
    write_table(path, pa.Table.from_pylist(rows, schema=pa.parquet.read_schema(path)))


def test_flipped_bits_are_noticed_by_readers(run: Path, tmp_path: Path) -> None:
    shard = shard_paths(run)[1]
    flip(shard)
    with pytest.raises(StepeditError, match=r"part-000001\.parquet: does not fit its checksum"):
        export_jsonl(run, tmp_path / "x" / "out.jsonl")
    assert not list((tmp_path / "x").iterdir())
    with pytest.raises(StepeditError, match=r"part-000001\.parquet"):
        write_card(run)
    done = encode_run(run, FakeEngine(), "first")
    assert set(done.failed) == {shard.name} and done.fresh == done.shards - 1
    assert "checksum" in (run / FAILURES).read_text()


def test_one_bad_flac_is_one_row_without_codes(run: Path) -> None:
    first = shard_paths(run)[0]
    name = read_shard(first, ["id"])[0]["id"]
    change_rows(first, target_audio={"bytes": b"fLaC but no more", "path": "target.flac"})
    done = encode_run(run, FakeEngine(), "first")
    assert set(done.failed) == {name} and done.rows == 19 and done.fresh == done.shards
    assert "target audio" in done.failed[name]
    again = encode_run(run, FakeEngine(), "first")  # nothing to do, and still not whole
    assert set(again.failed) == {name} and again.fresh == 0


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("plan/plan.json", b"{", "delete .*plan"),
        ("plan/plan.json", b'{"blocks": 9, "jobs": 10}', "block 8 of the plan is missing"),
        ("plan/plan.json", b'{"blocks": "x"}', "damaged .*delete .*plan"),
        ("plan/block-000001.jsonl", b"\xff\xfe\xff", "block-000001.jsonl"),
        ("plan/block-000001.jsonl", b'{"key": "a"}\n', "line 1: damaged .*delete .*plan"),
        ("plan/sample.json", b"[[]]", "sample.json: damaged"),
        ("blocks/block-000001.json", b'{"index": 7}', "block-000001.json: damaged .*delete"),
        ("blocks/block-000001.json", b"", "block-000001.json: damaged"),
        ("rejects/block-000001.jsonl", b'{"key": 1}\n', "line 1: damaged"),
        ("run.json", b'{"edit": "quieter", "corpus": 3}', "run.json: not settings of a run"),
        ("run.json", b"\0", "run.json: damaged"),
    ],
)
def test_damaged_files_of_a_run(run: Path, name: str, content: bytes, what: str) -> None:
    (run / name).write_bytes(content)
    manifest = run.parent / "c" / "speech.csv"
    with pytest.raises(StepeditError, match=rf"(?s){what}") as caught:
        RunSettings.load(run)
        list(read_rejects(run))
        read_sample(run)
        read_block(run, 1)
        run_toy(run, manifest, min_margin=1.0)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_a_lost_shard_is_said(run: Path) -> None:
    shard_paths(run)[0].unlink()
    with pytest.raises(StepeditError, match="the shard of this block is gone; delete"):
        run_toy(run, run.parent / "c" / "speech.csv", min_margin=1.0)


def test_two_processes_on_one_run_or_file(run: Path, tmp_path: Path) -> None:
    with sole_writer(run), pytest.raises(StepeditError, match="another process"):
        run_toy(run, run.parent / "c" / "speech.csv", min_margin=1.0)
    file = tmp_path / "out.jsonl"
    with sole_writer(file), pytest.raises(StepeditError, match="another process"):
        export_jsonl(run, file)
    assert not file.exists()


def test_an_export_replaces_the_one_before(run: Path, tmp_path: Path, registry: Registry) -> None:
    file = tmp_path / "x" / "out.jsonl"
    assert export_jsonl(run, file) == 20
    manifest, _ = make_corpus(tmp_path / "few", 1)
    run_toy(tmp_path / "small", manifest, min_margin=1.0)
    assert export_jsonl(tmp_path / "small", file) == 2
    assert sorted(path.name for path in file.parent.iterdir()) == ["out.jsonl", "out_audio"]
    assert len(list((file.parent / "out_audio").iterdir())) == 4


def _public(run: Path, folder: Path) -> list[dict[str, object]]:
    export_jsonl(run, folder / "t.jsonl")
    return [json.loads(line) for line in (folder / "t.jsonl").read_text().splitlines()]


def test_imports_decode_every_recording(run: Path, tmp_path: Path) -> None:
    rows = _public(run, tmp_path / "x")
    Path(str(rows[3]["target_audio"])).write_bytes(b"fLaC" + bytes(400))
    with pytest.raises(StepeditError, match=r"t\.jsonl, line 4: .*0000004-target\.flac"):
        import_jsonl(tmp_path / "x" / "t.jsonl", tmp_path / "back")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c", "run", "x"]


@pytest.mark.parametrize(
    "changes",
    [
        {"margin": 99}, {"margin": "high"}, {"items": "x"}, {"details": "[1]"}, {"edit": "loud"},
        {"speaker": {"name": "x"}}, {"source_audio": "gone.flac"}, {"source_text": None},
    ],
)  # fmt: skip
def test_imports_of_wrong_rows(run: Path, tmp_path: Path, changes: dict[str, object]) -> None:
    rows = _public(run, tmp_path / "x")
    rows[0].update(changes)
    if changes == {"source_text": None}:
        del rows[0]["source_text"]
    file = tmp_path / "x" / "t.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(StepeditError, match=r"t\.jsonl, line 1: "):
        import_jsonl(file, tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_rows_without_margin(run: Path, tmp_path: Path) -> None:
    rows = [{**row, "margin": None} for row in _public(run, tmp_path / "x")]
    file = tmp_path / "x" / "t.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert import_jsonl(file, tmp_path / "back") == 20
    assert "margin not measured" in write_report(tmp_path / "back").read_text()
    assert "**Pairs**: 20" in write_card(tmp_path / "back").read_text()
    assert {row["margin"] for row in read_rows(tmp_path / "back")} == {None}


def test_cards_and_tables_hold_text_alone(registry: Registry, tmp_path: Path) -> None:
    manifest, bad = make_corpus(tmp_path / "c", 4, broken=1)
    formula = tmp_path / "c" / "=HYPERLINK(1).wav"
    shutil.move(bad[0], formula) if Path(bad[0]).exists() else formula.write_bytes(b"")
    lines = manifest.read_text().replace(Path(bad[0]).name, formula.name)
    hostile = "<img src=x onerror=alert(1)> [a](http://b) \x1b[2J"
    manifest.write_text(lines.replace("CC0-1.0", hostile))
    run_toy(tmp_path / "run", manifest, min_margin=1.0)
    body = write_card(tmp_path / "run").read_text().partition("\n---\n")[2]
    assert "&lt;img" in body and "<img" not in body and "[a](" not in body and "\x1b" not in body
    with write_rejects(tmp_path / "run").open(newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert "'=HYPERLINK(1).wav" in cells
    assert not any(cell.startswith(("=", "+", "-", "@")) for cell in cells)
