"""One process at a time in the folder of a run."""

from __future__ import annotations

from pathlib import Path

import pytest
from stepedit_bench.runner import BenchConfig, run_bench
from stepedit_bench.store import Journal, read_results

from stepedit_core.errors import StepeditError
from stepedit_core.storage.locking import sole_run, sole_writer


def test_a_second_run_is_refused(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with (
        sole_run(run),
        pytest.raises(StepeditError, match="run: another process is writing it"),
        sole_run(run),
    ):
        raise AssertionError("two processes work in one folder")


@pytest.mark.parametrize("content", [None, "result"])
def test_a_folder_goes_if_it_stays_empty(tmp_path: Path, content: str | None) -> None:
    with sole_run(tmp_path / "run"):
        if content:
            (tmp_path / "run" / content).touch()
    left = [path.name for path in (tmp_path / "run").glob("*")]
    assert left == [content] if content else not (tmp_path / "run").exists()


def test_a_file_in_its_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    with pytest.raises(StepeditError, match="run: cannot write there"), sole_run(tmp_path / "run"):
        pass


def test_a_second_bench_is_refused(tmp_path: Path) -> None:
    with sole_writer(tmp_path), pytest.raises(StepeditError, match="another process"):
        run_bench(BenchConfig(), tmp_path, work=[])


def test_a_second_training_is_refused(tmp_path: Path) -> None:
    from stepedit_train.stages import run_stage

    config = tmp_path / "s.toml"
    config.write_text('model = "x"\nout = "out"\n[[data]]\npath = "pairs"\nshare = 1.0\n')
    (tmp_path / "out").mkdir()
    with sole_writer(tmp_path / "out"), pytest.raises(StepeditError, match="another process"):
        list(run_stage("sft", config))


def test_reading_results_leaves_the_line_that_is_being_written(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl", "unit", "rows")
    journal.add("a", [])
    with journal.path.open("ab") as file:
        file.write(b'{"unit": "b"')
    before = journal.path.read_bytes()
    assert Journal(journal.path, "unit", "rows", grows=False).entries == {"a": []}
    assert journal.path.read_bytes() == before
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(StepeditError):
        read_results(tmp_path)
    assert journal.path.read_bytes() == before
    assert Journal(journal.path, "unit", "rows").entries == {"a": []}
    assert journal.path.read_bytes() != before


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs Linux's /proc")
def test_a_place_where_no_lock_can_be() -> None:
    with pytest.raises(StepeditError, match="cannot write in /proc"), sole_writer(Path("/proc/x")):
        pass
