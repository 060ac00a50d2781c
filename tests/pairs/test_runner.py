from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from stepedit_pairs.corpora.manifest import Manifest
from stepedit_pairs.plan import _blocks
from stepedit_pairs.runner import run_pairs
from stepedit_pairs.settings import RunSettings
from stepedit_pairs.work import block_report, read_rejects

from stepedit_core.atomic import _machine
from stepedit_core.errors import StepeditError
from stepedit_core.pairs import PairJob
from stepedit_core.registry.registry import Registry
from stepedit_core.storage.pair_rows import read_rows, row_utterance, shard_paths
from tests.cli.calls import call
from tests.pairs.making import TOY, content, make_corpus, registry, run_toy

__all__ = ["registry"]


def test_row_content(registry: Registry, tmp_path: Path) -> None:
    manifest, _ = make_corpus(tmp_path / "c", 5)
    totals = run_toy(tmp_path / "out", manifest)
    rows = list(read_rows(tmp_path / "out"))
    assert totals.jobs == 5 and totals.kept == len(rows)
    assert totals.kept + totals.rejected == 10
    row = rows[0]
    source, target = row_utterance(row, "source"), row_utterance(row, "target")
    assert source is not None and target is not None and source.sample_rate == 8000
    assert abs(target.samples).max() < abs(source.samples).max()
    assert row["source_text"] == row["target_text"] == "words 0"
    assert row["licence"] == "CC0-1.0" and row["corpus"] == "speech" and row["seed"] == 0
    assert row["builder"] == "QuieterPairs" and row["builder_version"] == 1
    assert 6 <= row["margin"] <= 10 and '"edit": "quieter"' in row["edit_json"]
    assert len({row["id"] for row in rows}) == len(rows)
    metadata = pq.read_schema(shard_paths(tmp_path / "out")[0]).metadata
    assert b'"_type": "Audio"' in metadata[b"huggingface"]


def test_small_margins_are_rejects_with_a_reason(registry: Registry, tmp_path: Path) -> None:
    manifest, _ = make_corpus(tmp_path / "c", 6)
    totals = run_toy(tmp_path / "out", manifest, min_margin=9.0)
    rejects = list(read_rejects(tmp_path / "out"))
    assert totals.rejected == len(rejects) > 0 and totals.kept + totals.rejected == 12
    assert {reject["reason"] for reject in rejects} == {"margin below 9"}
    assert all(reject["details"]["margin"] < 9 for reject in rejects)


def test_rows_are_the_same_bytes_whatever_the_workers(registry: Registry, tmp_path: Path) -> None:
    manifest, _ = make_corpus(tmp_path / "c", 14, broken=2)
    run_toy(tmp_path / "one", manifest)
    run_toy(tmp_path / "two", manifest, workers=2)
    assert content(tmp_path / "one") == content(tmp_path / "two")
    run_toy(tmp_path / "other", manifest, seed=1)
    assert content(tmp_path / "one") != content(tmp_path / "other")


def test_two_workers_share_few_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest, _ = make_corpus(tmp_path / "c", 20)
    seen = tmp_path / "seen"
    seen.mkdir()
    monkeypatch.setenv("TOY_PROCESSES", str(seen))
    monkeypatch.setenv("TOY_PAUSE", "0.2")  # so that one worker does not do all before the other
    given = ["-p", TOY, "pairs", "quieter", "--corpus", manifest, "--out", tmp_path / "out"]
    assert call(*given, "--workers", "2", "--min-margin", "1").exit_code == 0
    processes = {path.name for path in seen.iterdir()}
    assert len(processes) == 2 and str(os.getpid()) not in processes


def test_unfinished_blocks_alone_are_done_again(registry: Registry, tmp_path: Path) -> None:
    manifest, _ = make_corpus(tmp_path / "c", 12)
    out = tmp_path / "out"
    run_toy(out, manifest)
    before, stamp = content(out), (out / "shards/part-000000.parquet").stat().st_mtime_ns
    # As a kill leaves it: a shard without its report, a block with nothing, a partial file.
    (out / "blocks/block-000001.json").unlink()
    (out / "blocks/block-000002.json").unlink()
    (out / "shards/part-000002.parquet").unlink()
    (out / "shards/.part-000002.parquet.x").write_bytes(b"half")
    totals = run_toy(out, manifest)
    assert content(out) == before and totals.jobs == 12
    assert (out / "shards/part-000000.parquet").stat().st_mtime_ns == stamp


def _finished(out: Path) -> int:
    return len(list((out / "blocks").glob("block-*.json")))


def _run_until(command: list[str], env: dict[str, str], out: Path, blocks: int) -> None:
    """Start a run, and kill it once so many blocks are done."""
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while _finished(out) < blocks and time.monotonic() < deadline:
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.02)
    process.kill()
    process.wait()


def test_killed_twice_with_broken_files(tmp_path: Path) -> None:
    manifest, bad = make_corpus(tmp_path / "c", 100, broken=5)
    out = tmp_path / "out"
    run = "from stepedit_core.cli import main; main()"
    given = ["-p", str(TOY), "pairs", "quieter", "--corpus", str(manifest), "--out", str(out)]
    command = [sys.executable, "-c", run, *given, "--block-size", "4", "--min-margin", "1"]
    env = {**os.environ, "TOY_PAUSE": "0.02"}
    _run_until(command, env, out, 3)
    _run_until(command, env, out, _finished(out) + 5)
    assert 8 <= _finished(out) < 25
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ids = [row["id"] for row in read_rows(out, ["id"])]
    assert len(ids) == len(set(ids)) == 2 * (100 - len(bad))
    rejects = list(read_rejects(out))
    assert sorted(path for reject in rejects for path in reject["paths"]) == sorted(bad)
    assert {reject["reason"] for reject in rejects} == {"bad file"}
    assert "190 pairs" in done.stdout and "rejected 5: bad file" in done.stdout
    assert not list(out.glob("*/.*"))
    with (out / "rejects.csv").open() as table:
        assert len(table.readlines()) == 6


def test_other_settings_or_a_foreign_folder_are_refused(registry: Registry, tmp_path: Path) -> None:
    manifest, _ = make_corpus(tmp_path / "c", 3)
    out = tmp_path / "out"
    run_toy(out, manifest)
    with pytest.raises(StepeditError, match=r"other settings \(seed: 5, before 0\)"):
        run_toy(out, manifest, seed=5)
    run_toy(out, manifest, device="cuda")  # where it runs decides nothing
    left = tmp_path / "left"
    left.mkdir()
    (left / f".run.json.stepedit-{_machine()}-999999999-0a1b2c3d").write_bytes(b"ha")
    assert run_toy(left, manifest).kept == run_toy(out, manifest).kept
    assert not list(left.glob(".*"))
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "letter.txt").write_text("mine")
    with pytest.raises(StepeditError, match="not empty and holds no run"):
        run_toy(foreign, manifest)


def test_unknown_options_and_margins(registry: Registry, tmp_path: Path) -> None:
    manifest, _ = make_corpus(tmp_path / "c", 1)
    with pytest.raises(StepeditError, match="no option 'copys'; there is copies"):
        run_toy(tmp_path / "a", manifest, options={"copys": "3"})
    with pytest.raises(StepeditError, match="no margin scorer 'taste'; there is acoustic"):
        run_toy(tmp_path / "b", manifest, margin="taste")
    assert not (tmp_path / "a").exists() and not (tmp_path / "b").exists()


def test_duplicate_ids_and_empty_corpus(registry: Registry, tmp_path: Path) -> None:
    manifest, _ = make_corpus(tmp_path / "c", 2)
    text = manifest.read_text().splitlines()
    manifest.write_text("\n".join([*text, text[-1]]) + "\n")
    with pytest.raises(
        StepeditError, match=r"two jobs have the key '0001\.wav', and ids must differ; take"
    ):
        run_toy(tmp_path / "out", manifest)
    manifest.write_text(text[0] + "\n")
    with pytest.raises(StepeditError, match="nothing to do; 0 recordings"):
        run_toy(tmp_path / "none", manifest)


def test_codes_are_written_where_an_engine_is_given(registry: Registry, tmp_path: Path) -> None:
    manifest, _ = make_corpus(tmp_path / "c", 2)
    run_toy(tmp_path / "out", manifest, engine="fake", min_margin=1.0)
    rows = list(read_rows(tmp_path / "out"))
    assert rows and all(row["source_codes"].startswith("<audio_") for row in rows)
    assert all(row["target_codes"] and row["rejected_codes"] is None for row in rows)


def test_block_reports_add_up(registry: Registry, tmp_path: Path) -> None:
    manifest, _ = make_corpus(tmp_path / "c", 9)
    totals = run_toy(tmp_path / "out", manifest, limit=6)
    reports = [block_report(tmp_path / "out", index) for index in range(3)]
    assert [report.jobs if report else 0 for report in reports] == [4, 2, 0]
    assert totals.jobs == 6


@pytest.mark.parametrize(
    ("jobs", "size"), [(1, 8), (8, 8), (9, 8), (32, 8), (64, 8), (72, 9), (256, 32), (300, 32)]
)
def test_few_jobs_make_several_blocks(jobs: int, size: int) -> None:
    made = [PairJob(str(number), ()) for number in range(jobs)]
    blocks = list(_blocks(iter(made), None))
    assert [job for block in blocks for job in block] == made
    assert {len(block) for block in blocks[:-1]} <= {size} and len(blocks) == -(-jobs // size)


def test_a_block_size_that_is_not_given_goes_on(registry: Registry, tmp_path: Path) -> None:
    manifest, _ = make_corpus(tmp_path / "c", 9)
    run_toy(tmp_path / "out", manifest)
    before = content(tmp_path / "out")
    run_toy(tmp_path / "out", manifest, block_size=None)
    assert content(tmp_path / "out") == before and len(shard_paths(tmp_path / "out")) == 3
    with pytest.raises(StepeditError, match="block_size: 5, before 4"):
        run_toy(tmp_path / "out", manifest, block_size=5)


def test_a_source_of_several_pairs_counts_once(registry: Registry, tmp_path: Path) -> None:
    manifest, _ = make_corpus(tmp_path / "c", 5)
    one = run_toy(tmp_path / "one", manifest, options={"copies": "1"}, min_margin=1.0)
    four = run_toy(tmp_path / "four", manifest, options={"copies": "4"}, min_margin=1.0)
    assert four.kept == 4 * one.kept == 20
    assert four.audio_seconds == pytest.approx(one.audio_seconds)


def settings_of(manifest: Path) -> RunSettings:
    files = (str(TOY),)
    return RunSettings(edit="quieter", corpus=str(manifest), layout="manifest", plugin_files=files)


def test_each_job_is_told(registry: Registry, tmp_path: Path) -> None:
    manifest, _ = make_corpus(tmp_path / "c", 5)
    settings, told = settings_of(manifest), []
    run_pairs(
        tmp_path / "out",
        settings,
        Manifest().items(manifest),
        on_plan=lambda plan, before: told.append(f"{before.jobs} of {plan.jobs}"),
        on_job=lambda: told.append("job"),
        on_block=lambda report: told.append(f"block of {report.jobs}"),
    )
    assert told == ["0 of 5", *["job"] * 5, "block of 5"]


def test_a_second_process_leaves_the_plan_of_the_first(registry: Registry, tmp_path: Path) -> None:
    manifest, _ = make_corpus(tmp_path / "c", 5)
    seen = []

    def second(plan: object, before: object) -> None:
        with pytest.raises(StepeditError, match="another process is writing it"):
            run_toy(tmp_path / "out", manifest)
        seen.extend((tmp_path / "out" / "plan").iterdir())

    run_pairs(tmp_path / "out", settings_of(manifest), Manifest().items(manifest), on_plan=second)
    assert "plan.json" in {path.name for path in seen}


def test_a_run_that_keeps_nothing_fails(tmp_path: Path) -> None:
    manifest, _ = make_corpus(tmp_path / "c", 3)
    for path in manifest.parent.glob("*.wav"):
        path.write_bytes(b"")
    command = [sys.executable, "-c", "from stepedit_core.cli import main; main()", "-p", str(TOY)]
    given = ["pairs", "quieter", "--corpus", str(manifest), "--out", str(tmp_path / "out")]
    done = subprocess.run([*command, *given], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "no pair was kept (bad file)" in done.stderr
    assert (tmp_path / "out" / "rejects.csv").is_file()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_ray_with_two_workers_gives_the_same_bytes(registry: Registry, tmp_path: Path) -> None:
    ray = pytest.importorskip("ray")
    pytest.importorskip("ray.data")
    manifest, _ = make_corpus(tmp_path / "c", 16, broken=2)
    run_toy(tmp_path / "local", manifest)
    try:
        run_toy(tmp_path / "ray", manifest, workers=2, ray_address="local")
    finally:
        ray.shutdown()
    assert content(tmp_path / "local") == content(tmp_path / "ray")
