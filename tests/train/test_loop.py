"""The loop of the stages: one loss curve whatever happens on the way."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from rich.console import Console
from stepedit_train.checkpoints import latest_checkpoint, read_checkpoint
from stepedit_train.journal import Journal, read_journal, step_bar
from stepedit_train.loop import learning_rate
from stepedit_train.precision import is_half

from stepedit_core.errors import CheckpointError, StepeditError
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


def test_half_arithmetic_learns_with_float32_weights(tmp_path: Path) -> None:
    half, whole = tmp_path / "half", tmp_path / "whole"
    for out, precision in ((half, "bfloat16"), (whole, "float32")):
        small_run.run(out, steps=120, precision=precision)
    losses = [entry["loss"] for entry in read_journal(half) if entry["part"] == "train"]
    assert curve(half) != curve(whole) and sum(losses[-5:]) < 0.3 * sum(losses[:5])
    end = latest_checkpoint(half / "checkpoints")
    assert end is not None
    assert {weight.dtype for weight in read_checkpoint(end)["model"].values()} == {torch.float32}
    with pytest.raises(CheckpointError, match="other settings"):
        small_run.run(half, steps=120)


def test_without_an_accelerator_auto_is_float32(tmp_path: Path) -> None:
    assert not is_half("auto", torch.device("cpu")) and is_half("bfloat16", torch.device("cpu"))
    for precision in ("auto", "float32"):
        small_run.run(tmp_path / precision, steps=5, precision=precision, device="cpu")
    assert curve(tmp_path / "auto") == curve(tmp_path / "float32")


def test_a_run_does_not_go_on_with_other_settings(tmp_path: Path) -> None:
    small_run.run(tmp_path, steps=3)
    with pytest.raises(CheckpointError, match="other settings"):
        small_run.run(tmp_path, steps=3, learning_rate=0.5)
    assert small_run.run(tmp_path, steps=3, log_every=1) == 3


def weights(out: Path) -> dict[str, torch.Tensor]:
    """Return the newest weights of a run."""
    found = latest_checkpoint(out / "checkpoints")
    assert found is not None
    return dict(read_checkpoint(found)["model"])


def rewrite(out: Path, state: dict[str, torch.Tensor]) -> None:
    """Put other weights into the newest checkpoint of a run."""
    found = latest_checkpoint(out / "checkpoints")
    assert found is not None
    torch.save(read_checkpoint(found) | {"model": state}, found)


def test_start_from_another_run(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    small_run.run(first, steps=40)
    # A rate near zero leaves the weights where they began; a path starts at ``base``.
    small_run.run(second, steps=1, learning_rate=1e-12, base=tmp_path, start="first")
    for name, tensor in weights(first).items():
        torch.testing.assert_close(weights(second)[name], tensor, atol=1e-6, rtol=0)
    found = latest_checkpoint(second / "checkpoints")
    assert found is not None and found.name == "step-00000001.pt"  # steps are counted anew


def test_start_with_missing_weights(tmp_path: Path) -> None:
    for name in ("first", "fresh"):
        small_run.run(tmp_path / name, steps=1, learning_rate=1e-12)
    state = weights(tmp_path / "first")
    rewrite(tmp_path / "first", {name: state[name] + 1 for name in ("0.weight", "0.bias")})
    small_run.run(tmp_path / "out", steps=1, learning_rate=1e-12, start=tmp_path / "first")
    made, fresh = weights(tmp_path / "out"), weights(tmp_path / "fresh")
    torch.testing.assert_close(made["0.weight"], fresh["0.weight"] + 1, atol=1e-6, rtol=0)
    torch.testing.assert_close(made["3.weight"], fresh["3.weight"], atol=1e-6, rtol=0)


@pytest.mark.parametrize("restart", ["elsewhere", None])
def test_a_resumed_run_does_not_look_at_where_it_began(tmp_path: Path, restart: str | None) -> None:
    first, whole, parted = (tmp_path / name for name in ("first", "whole", "parted"))
    small_run.run(first, steps=10, learning_rate=0.1)
    small_run.run(whole, start=first)
    shutil.copytree(whole, parted)
    (parted / "checkpoints" / "step-00000030.pt").unlink()
    shutil.rmtree(first)
    start = None if restart is None else tmp_path / restart
    assert small_run.run(parted, start=start) == 30
    assert curve(parted) == curve(whole)
    assert all(torch.equal(weights(parted)[n], tensor) for n, tensor in weights(whole).items())


def test_start_errors(tmp_path: Path) -> None:
    first = tmp_path / "first"

    def refusal() -> str:
        with pytest.raises(StepeditError) as caught:
            small_run.run(tmp_path / "out", steps=2, start=first)
        assert latest_checkpoint(tmp_path / "out" / "checkpoints") is None
        text = str(caught.value)
        assert "\n" not in text and str(first) in text
        return text

    assert "no checkpoint to begin with" in refusal()
    small_run.run(first, steps=2)
    state = weights(first)
    rewrite(first, state | {"0.weight": torch.zeros(16, 5)})
    assert "step-00000002.pt: has other sizes than the settings" in refusal()
    rewrite(first, state | {"walk.pull": torch.zeros(3)})
    assert "has parts that the settings do not name" in refusal()


def test_two_checkpoints_are_kept_and_damage_is_named(tmp_path: Path) -> None:
    small_run.run(tmp_path, steps=5)
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["step-00000004.pt", "step-00000005.pt"]
    newest = tmp_path / "checkpoints" / names[-1]
    newest.write_bytes(newest.read_bytes()[:200])
    with pytest.raises(CheckpointError, match=r"step-00000005\.pt: cannot be read"):
        small_run.run(tmp_path, steps=5)


def test_a_third_checkpoint_of_a_killed_run_goes(tmp_path: Path) -> None:
    small_run.run(tmp_path, steps=3)
    folder = tmp_path / "checkpoints"
    shutil.copyfile(folder / "step-00000002.pt", folder / "step-00000001.pt")
    assert small_run.run(tmp_path, steps=3) == 3
    assert sorted(path.name for path in folder.iterdir()) == [
        "step-00000002.pt",
        "step-00000003.pt",
    ]


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


def test_progress_bar() -> None:
    for terminal in (True, False):
        written = io.StringIO()
        console = Console(file=written, force_terminal=terminal, width=100)
        with step_bar(40, 10, console) as show:
            show(12, 0.5)
        text = written.getvalue()
        assert ("12/40" in text and "loss 0.5000" in text) if terminal else text == ""
