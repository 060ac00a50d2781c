from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from stepedit_bench.judging import JudgeChoice
from stepedit_bench.produce import Protocol
from stepedit_bench.runner import BenchConfig, run_bench
from stepedit_bench.store import JOURNAL, RESULTS, read_results

from stepedit_core import DecodeRequest, DualCodes, GenerateRequest, Utterance
from stepedit_core.errors import StepeditError
from stepedit_core.registry.registry import get_registry, set_registry
from stepedit_core.testing.fake_engine import FakeEngine
from tests.bench.bench_kit import Gain, LightMeasures, cases, install

ROOT = Path(__file__).resolve().parents[2]


def _rows(folder: Path, condition: str = "edit") -> list[dict[str, Any]]:
    return [row for row in read_results(folder) if row["condition"] == condition]


def _digests(folder: Path) -> dict[str, str]:
    """Return a hash of everything that must be the same after a resumed run."""
    files = [folder / RESULTS, folder / "run.json", *sorted((folder / "wavs").rglob("*.wav"))]
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def test_rows_hold_target_preservation_and_provenance(tmp_path: Path) -> None:
    install(cases(3))
    config = BenchConfig(edits=("gain",), protocol=Protocol(iterations=2))
    run_bench(config, tmp_path, measures=LightMeasures())
    rows = read_results(tmp_path)
    assert [(row["condition"], row["iteration"]) for row in rows[:3]] == [
        ("source", 0),
        ("edit", 1),
        ("edit", 2),
    ]
    first = rows[1]
    assert first["reached"] is True and first["joint"] is True
    assert first["values"]["gain_db"] == pytest.approx(3.0, abs=0.05)
    assert first["values"]["lost"] is None
    assert first["scorer_version"] == 3 and first["route"] == "dsp"
    assert first["language"] == "en" and first["speaker"] == "ljspeech"
    assert rows[0]["reached"] is False, "an untouched input has not reached the target"
    assert rows[2]["values"]["gain_db"] == pytest.approx(6.0, abs=0.05), "edits pile up"
    loudest = [row["checks"]["loudness"] for row in _rows(tmp_path) if row["case"] == "case 2"]
    assert loudest == [True, False], "5 dB may pass, 10 dB may not"
    audio = Utterance.read(tmp_path / first["audio"])
    assert audio.digest == first["audio_sha256"]
    assert "seconds" not in json.loads((tmp_path / RESULTS).read_text().splitlines()[0])


def test_failed_and_unsupported_edits(tmp_path: Path) -> None:
    bad = [
        case.model_copy(update={"id": name, "edit": Gain(db=db)})
        for case, name, db in zip(cases(2), ("broken", "none"), (99, -99), strict=True)
    ]
    install([*cases(1), *bad])
    run_bench(BenchConfig(), tmp_path, measures=LightMeasures())
    by_case = {row["case"]: row for row in _rows(tmp_path)}
    assert by_case["broken"]["status"] == "failed"
    assert "breaks on purpose" in by_case["broken"]["problem"]
    assert by_case["none"]["status"] == "unsupported"
    assert all(by_case[name]["joint"] is False for name in ("broken", "none"))
    assert by_case["case 0"]["joint"] is True


def test_refusals_are_unscored_counted_and_shown(tmp_path: Path) -> None:
    from stepedit_bench.summary import summarise

    install(cases(6, ask=True))
    measures = LightMeasures(JudgeChoice({"emotion": "loudness"}))
    run_bench(BenchConfig(judges={"emotion": "loudness"}), tmp_path, measures=measures)
    rows = _rows(tmp_path)
    unscored = [row for row in rows if row["reached"] is None]
    assert unscored and all(row["joint"] is None for row in unscored)
    assert all(row["verdicts"][-1]["refused"] for row in unscored)
    group = next(g for g in summarise(rows) if g.condition == "edit")
    assert group.unscored == len(unscored) and group.n == 6
    assert group.reached is not None and group.reached.n == 6 - len(unscored)
    assert group.reasons == {"I would rather not say": len(unscored)}
    assert group.joint_bounds is not None
    assert group.joint_bounds[1] - group.joint_bounds[0] == pytest.approx(len(unscored) / 6)


def test_a_missing_judge_is_unscored_with_the_cure(tmp_path: Path) -> None:
    install(cases(1, ask=True))
    run_bench(BenchConfig(), tmp_path, measures=LightMeasures())
    (row,) = _rows(tmp_path)
    assert row["reached"] is None and "--judge" in row["unscored"]


def test_engine_batches(tmp_path: Path) -> None:
    sizes: list[int] = []

    class Counting(FakeEngine):
        def generate(self, requests: Sequence[GenerateRequest]) -> list[DualCodes]:
            sizes.append(len(requests))
            return super().generate(requests)

    install(cases(5))
    config = BenchConfig(batch=3, protocol=Protocol(iterations=2))
    run_bench(config, tmp_path / "a", engine=Counting(), measures=LightMeasures())
    assert sizes == [3, 3, 2, 2]
    assert len(_rows(tmp_path / "a", "identity")) == 5
    run_bench(
        config.model_copy(update={"batch": 1}),
        tmp_path / "b",
        engine=FakeEngine(),
        measures=LightMeasures(),
    )
    alone, together = ((tmp_path / name / RESULTS).read_bytes() for name in "ab")
    assert alone == together, "a case's result hangs on its seed, not on its neighbours"


def test_failing_request_in_a_batch(tmp_path: Path) -> None:
    class Picky(FakeEngine):
        def generate(self, requests: Sequence[GenerateRequest]) -> list[DualCodes]:
            if any(request.utterance.seconds < 2 for request in requests):
                raise StepeditError("too short for me")
            return super().generate(requests)

    install(cases(3))
    run_bench(BenchConfig(), tmp_path, engine=Picky(), measures=LightMeasures())
    assert [row["status"] for row in _rows(tmp_path)] == ["failed", "ok", "ok"]


def test_prompt_fixed_decodes_in_the_first_voice(tmp_path: Path) -> None:
    heard: list[str] = []

    class Listening(FakeEngine):
        def decode(self, requests: Sequence[DecodeRequest]) -> list[Utterance]:
            heard.extend(request.reference.digest for request in requests)
            return super().decode(requests)

    install(cases(1))
    for fixed in (True, False):
        heard.clear()
        protocol = Protocol(iterations=3, prompt_fixed=fixed)
        run_bench(
            BenchConfig(protocol=protocol),
            tmp_path / str(fixed),
            engine=Listening(),
            measures=LightMeasures(),
        )
        assert len(set(heard)) == (1 if fixed else 3)


def test_a_folder_without_recordings_of_the_cases_is_refused(tmp_path: Path) -> None:
    install(cases(2))
    (tmp_path / "others").mkdir()
    config = BenchConfig(edits=("gain",), protocol=Protocol(source=str(tmp_path / "others")))
    with pytest.raises(StepeditError, match=r"no recording of case 'case 0'.* none of another"):
        run_bench(config, tmp_path / "run", measures=LightMeasures())
    assert not (tmp_path / "run").exists()


def test_other_settings_are_refused(tmp_path: Path) -> None:
    install(cases(1))
    run_bench(BenchConfig(), tmp_path, measures=LightMeasures())
    with pytest.raises(StepeditError, match="another seed"):
        run_bench(BenchConfig(seed=1), tmp_path, measures=LightMeasures())


@pytest.mark.parametrize("engine", ["dsp", "fake"])
def test_killed_and_resumed_equals_uninterrupted(tmp_path: Path, engine: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}

    def start(name: str, delay: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.bench.bench_kit", str(tmp_path / name), engine]
        return subprocess.Popen([*command, delay], cwd=ROOT, env=environment)

    assert start("whole", "0").wait() == 0
    victim = start("killed", "0.1")
    journal = tmp_path / "killed" / JOURNAL
    while not (journal.exists() and journal.read_bytes().count(b"\n") >= 2):
        assert victim.poll() is None, "the run ended before it could be killed"
        time.sleep(0.01)
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait()
    assert not (tmp_path / "killed" / RESULTS).exists()
    with journal.open("ab") as file:
        file.write(b'{"unit": "gain/case 7", "rows": [{"torn')
    finished = journal.read_bytes().count(b"\n")
    assert 2 <= finished < 8
    assert start("killed", "0").wait() == 0
    assert _digests(tmp_path / "killed") == _digests(tmp_path / "whole")
    kept = journal.read_bytes().splitlines()
    assert len(kept) == 8, "finished units are not done again"


def test_workers_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("jiwer")
    pytest.importorskip("pyloudnorm")
    plugin = tmp_path / "half.py"
    plugin.write_text(_PLUGIN_FILE)
    results = []
    for workers in (1, 2):
        monkeypatch.delitem(sys.modules, plugin.stem, raising=False)
        set_registry(None)  # all plugins, as the workers have them
        get_registry().register_file(plugin)
        folder = tmp_path / str(workers)
        run_bench(BenchConfig(edits=("half",), workers=workers), folder)
        results.append((folder / RESULTS).read_bytes())
    assert results[0] == results[1]


_PLUGIN_FILE = '''
from stepedit_core import Case, Edit, Rendered, Score, Scorer, hookimpl

class Half(Edit):
    """Halve the level of half a second of noise."""
    def render(self, utterance, rng):
        return Rendered(utterance.replace(samples=utterance.samples / 2))

class HalfScorer(Scorer):
    """Reached where the peak is halved."""
    def prepare(self, case, clean, rng):
        from stepedit_core import Prepared
        short = clean.replace(samples=clean.samples[:4000] + rng.normal(0, 1e-3, 4000))
        return Prepared(short.replace(transcript=None))
    def score(self, case, prepared, output, measures):
        ratio = abs(output.samples).max() / abs(prepared.source.samples).max()
        return Score(bool(ratio < 0.6), {"ratio": float(ratio)})

@hookimpl
def stepedit_edits():
    return [Half]

@hookimpl
def stepedit_scorer(edit):
    return HalfScorer() if edit.name == "half" else None

@hookimpl
def stepedit_cases(edit, suite):
    if edit.name == "half":
        return [Case(id=str(n), edit=Half(), audio="speech:office") for n in range(2)]
'''
