"""The loop of the stages: one loss curve whatever happens on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from stepedit_train.checkpoints import latest_checkpoint, read_checkpoint
from stepedit_train.journal import Journal, read_journal
from stepedit_train.loop import learning_rate

from stepedit_core.errors import CheckpointError
from tests.train import small_run

ROOT = Path(__file__).parents[2]


def curve(out: Path) -> list[dict[str, object]]:
    """Return the log without the wall clock."""
    return [{k: v for k, v in entry.items() if k != "seconds"} for entry in read_journal(out)]


def test_a_killed_run_goes_on_along_the_same_curve(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    small_run.run(whole)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "tests.train.small_run", str(killed), "17"],
        cwd=ROOT,
        env=environment,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert [entry["step"] for entry in curve(killed)] == [4, 8, 10, 12, 16]
    assert small_run.run(killed) == 30
    assert curve(killed) == curve(whole)
    ends = [latest_checkpoint(out / "checkpoints") for out in (whole, killed)]
    weights = [read_checkpoint(end)["model"] for end in ends if end]
    assert all((weights[0][name] == weights[1][name]).all() for name in weights[0])


def test_the_loss_falls_and_a_finished_run_does_nothing(tmp_path: Path) -> None:
    small_run.run(tmp_path, steps=120)
    losses = [entry["loss"] for entry in read_journal(tmp_path) if entry["part"] == "train"]
    assert sum(losses[-5:]) < 0.3 * sum(losses[:5])
    before = (tmp_path / "log.jsonl").read_bytes()
    assert small_run.run(tmp_path, steps=120) == 120
    assert (tmp_path / "log.jsonl").read_bytes() == before


def test_a_run_does_not_go_on_with_other_settings(tmp_path: Path) -> None:
    small_run.run(tmp_path, steps=3)
    with pytest.raises(CheckpointError, match="other settings"):
        small_run.run(tmp_path, steps=3, learning_rate=0.5)
    assert small_run.run(tmp_path, steps=3, log_every=1) == 3


def test_two_checkpoints_are_kept_and_damage_is_named(tmp_path: Path) -> None:
    small_run.run(tmp_path, steps=5)
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["step-00000004.pt", "step-00000005.pt"]
    newest = tmp_path / "checkpoints" / names[-1]
    newest.write_bytes(newest.read_bytes()[:200])
    with pytest.raises(CheckpointError, match=r"step-00000005\.pt: cannot be read"):
        small_run.run(tmp_path, steps=5)


def test_the_schedule_rises_and_falls() -> None:
    settings = small_run.settings(steps=100, warmup=10, learning_rate=1.0, final_learning_rate=0.1)
    rates = [learning_rate(step, settings) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == pytest.approx(1.0)
    assert rates[55] == pytest.approx(0.55)
    assert rates[100] == pytest.approx(0.1)


def test_the_journal_drops_what_a_resumed_run_repeats(tmp_path: Path) -> None:
    with Journal(tmp_path, tensorboard=False) as journal:
        for step in (1, 2, 3):
            journal.write(step, "train", {"loss": step / 2})
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')  # cut off by a crash
    with Journal(tmp_path, 2, tensorboard=False) as journal:
        journal.write(3, "train", {"loss": 9.0})
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["loss"] for line in lines] == [0.5, 1.0, 9.0]


def test_tensorboard_and_samples(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    import numpy as np
    import soundfile as sf

    with Journal(tmp_path) as journal:
        journal.write(1, "train", {"loss": 1.0})
        path = journal.audio(1, "target", np.full(240, 0.5, np.float32), 24_000)
    assert list((tmp_path / "tensorboard").glob("events.*"))
    samples, rate = sf.read(path)
    assert rate == 24_000 and abs(samples - 0.5).max() < 1e-4
