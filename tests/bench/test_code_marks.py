"""What other code made is made anew: kept recordings, finished units, runs that go on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from stepedit_bench import suites
from stepedit_bench.heldout import requests
from stepedit_bench.heldout.commands import Settings, measure
from stepedit_bench.made_by import code_mark, edits_within
from stepedit_bench.runner import BenchConfig, run_bench

from stepedit_core.chain.notation import parse_edit
from stepedit_core.errors import StepeditError
from stepedit_core.testing import FakeEngine
from tests.bench import bench_kit
from tests.bench.heldout_kit import LightKept

PLUGIN = """
from stepedit_core import Edit
class Halve(Edit):
    def route_problem(self, route): return None
    def apply_dsp(self, speech): return speech.replace(samples=speech.samples * {gain})
"""


def marked(folder: Path, gain: float) -> str:
    """Return the mark of an edit of a package, told by a process of its own."""
    package = folder / "halving"
    package.mkdir(exist_ok=True)
    (package / "__init__.py").write_text("from halving.edit import Halve")
    (package / "edit.py").write_text(PLUGIN.format(gain=gain))
    script = (
        "from halving import Halve; from stepedit_bench.made_by import code_mark;"
        "print(code_mark([Halve()]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=folder, check=True
    )
    return done.stdout.strip()


def test_a_mark_is_of_the_files_of_the_package(tmp_path: Path) -> None:
    first = marked(tmp_path, 0.5)
    (tmp_path / "halving" / "README.md").write_text("decides nothing")
    assert marked(tmp_path, 0.5) == first
    assert marked(tmp_path, 0.4) != first


def test_each_plugin_has_a_mark_of_its_own_and_so_has_what_an_edit_holds() -> None:
    speed, denoise = parse_edit("speed:factor=1.2"), parse_edit("denoise")
    inside = [
        parse_edit(f"masked:inner=({one}),spans=[[0.4,1.2]]")
        for one in ("speed:factor=1.2", "speed:factor=0.9", "denoise")
    ]
    assert [edit.name for edit in edits_within(inside[0])] == ["masked", "speed"]
    marks = [code_mark([edit]) for edit in (speed, denoise, *inside)]
    assert marks[2] == marks[3]  # parameters are told apart by the name of a unit
    assert len({*marks, code_mark()}) == 5


def held(out: Path, row: str, data: Path) -> tuple[list[Any], list[Path]]:
    run = measure(Settings(data, out, (row,), 1, quick=True), FakeEngine(), measures=LightKept(out))
    return [*run.rows], sorted((out / "baseline").rglob("*.flac"))


def test_recordings_and_rows_of_other_code_are_made_anew(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    rows, kept = held(out, "denoise", data)
    assert {path.name.split(".")[-3] for path in kept} == {"dsp", "source"}
    assert held(out, "denoise", data)[1] == kept
    stale = {path: path.read_bytes() for path in kept}
    for path in kept:
        path.write_bytes(b"no sound: must not be read")
    monkeypatch.setattr(requests, "code_mark", lambda edits, scorers=(): "changed")
    again, both = held(out, "denoise", data)
    assert len(both) == 2 * len(kept) and set(kept) < set(both)
    fresh = [path.read_bytes() for path in both if path not in stale]
    assert sorted(fresh) == sorted(stale.values())
    assert len(again) == len(rows)


def test_recordings_of_another_seed_stand_apart() -> None:
    bench_kit.install(bench_kit.cases(1))
    one, other = (suites.Unit("gain", bench_kit.cases(1)[0], seed) for seed in (0, 1))
    assert one.code == other.code and one.mark != other.mark


def test_a_run_does_not_go_on_under_other_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench_kit.install(bench_kit.cases(1))
    config, light = BenchConfig(edits=("gain",)), bench_kit.LightMeasures()
    for _ in range(2):
        run_bench(config, tmp_path, measures=light)
    monkeypatch.setattr(suites, "code_mark", lambda edits, scorers=(): "changed")
    with pytest.raises(StepeditError, match="another code"):
        run_bench(config, tmp_path, measures=light)
