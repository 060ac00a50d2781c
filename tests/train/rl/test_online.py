"""GRPO and PPO on a tiny engine: they learn, go on where they were killed, and are stopped."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from stepedit_train.ending import TrainingStopped
from stepedit_train.journal import read_journal
from stepedit_train.rl.grpo import GrpoSettings, train_grpo
from stepedit_train.rl.layout import AnswerRow
from stepedit_train.rl.online import what_is_asked
from stepedit_train.rl.ppo import PpoSettings, token_rewards, train_ppo
from stepedit_train.rl.prompts import PromptSource, read_prompts
from stepedit_train.rl.watch import WatchSettings, objection

from stepedit_core.config import GenerationPolicy
from stepedit_core.errors import StepeditError
from stepedit_core.models.engine import Engine
from stepedit_core.models.lm.sampling import Sampling
from stepedit_core.models.lm.step1 import load_step1
from stepedit_core.registry.registry import Registry
from tests.train.rl.making import engine_folder, fields, register


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return engine_folder(tmp_path_factory.mktemp("engine"))


@pytest.fixture(autouse=True)
def _rewards(toys: Registry) -> Iterator[None]:
    register(toys)
    yield


def entries(out: Path) -> list[dict[str, Any]]:
    """Return the log without what depends on the clock."""
    return [
        {name: value for name, value in entry.items() if name != "seconds"}
        for entry in read_journal(out)
    ]


def weights(folder: Path) -> list[torch.Tensor]:
    return list(load_step1(folder / "model", dtype=torch.float32).parameters())


def grpo(folder: Path, model: Path, **changes: Any) -> list[str]:
    return list(train_grpo(GrpoSettings.model_validate(fields(folder, model, **changes))))


def ppo(folder: Path, model: Path, **changes: Any) -> list[str]:
    chosen = {"critic_warmup": 2, "hardest": 1.0, "critic_learning_rate": 1e-2, **changes}
    return list(train_ppo(PpoSettings.model_validate(fields(folder, model, **chosen))))


def went_on(run: Any, folder: Path, model: Path) -> None:
    """Hold that a run that was killed before its last step ends as the whole one did."""
    again = folder / "again"
    (again / "checkpoints").mkdir(parents=True)
    before_last = sorted((folder / "run" / "checkpoints").glob("*.pt"))[-2]
    shutil.copy(before_last, again / "checkpoints")
    shutil.copy(folder / "run" / "log.jsonl", again)  # its last entries are of steps to come
    run(folder, model, out=again)
    assert entries(again) == entries(folder / "run")
    for ours, theirs in zip(weights(again), weights(folder / "run"), strict=True):
        assert torch.equal(ours, theirs)


def test_grpo_learns_and_goes_on_as_if_never_killed(tmp_path: Path, model: Path) -> None:
    def run(*places: Path, **changes: Any) -> list[str]:
        return grpo(*places, answers=8, steps=8, beta=0.01, **changes)

    lines = run(tmp_path, model)
    assert lines[0].startswith("5 requests") and "8 steps" in lines[-1]
    log = [entry for entry in entries(tmp_path / "run") if entry["part"] == "train"]
    assert [entry["step"] for entry in log] == list(range(1, 9))
    assert log[0]["kl"] == 0.0 and log[-1]["kl"] > 0
    rewards = [entry["reward"] for entry in log]
    assert sum(rewards[-3:]) > sum(rewards[:3]) + 0.3
    went_on(run, tmp_path, model)
    engine = Engine.load(str(tmp_path / "run" / "model"), device="cpu")
    assert engine.parts.sampling["temperature"] == 0.3


def test_grpo_of_the_best_of_some_answers(tmp_path: Path, model: Path) -> None:
    grpo(tmp_path, model, answers=8, steps=8, beta=0.01, best_of=3)
    log = [entry for entry in entries(tmp_path / "run") if entry["part"] == "train"]
    rewards = [entry["reward"] for entry in log]
    assert sum(rewards[-3:]) > sum(rewards[:3]) + 0.1
    with pytest.raises(ValueError, match=r"best_of must be smaller than answers \(8\)"):
        grpo(tmp_path, model, answers=8, best_of=8)
    with pytest.raises(StepeditError, match="best_of"):
        grpo(tmp_path, model, answers=8, steps=9, beta=0.01, best_of=2)


def test_grpo_of_parts_learns_and_goes_on(tmp_path: Path, model: Path) -> None:
    def run(*places: Path, **changes: Any) -> list[str]:
        chosen = {"rewards": [{"name": "low_quarters"}], "credit": "parts", **changes}
        return grpo(*places, answers=8, steps=8, beta=0.0, minibatches=2, **chosen)

    run(tmp_path, model)
    log = [entry for entry in entries(tmp_path / "run") if entry["part"] == "train"]
    rewards = [entry["reward"] for entry in log]
    assert sum(rewards[-3:]) > sum(rewards[:3]) + 0.3
    assert all(entry["unscored"] > 0 for entry in log)
    went_on(run, tmp_path, model)
    for wrong in ({"best_of": 2}, {"scale_advantages": True}):
        with pytest.raises(ValueError, match="credit = 'parts' goes with neither"):
            run(tmp_path, model, **wrong)


@pytest.mark.parametrize("stage", [grpo, ppo])
def test_half_precision_learns_on_a_cpu_and_goes_on(
    stage: Any, tmp_path: Path, model: Path
) -> None:
    def run(*places: Path, **changes: Any) -> list[str]:
        return stage(*places, precision="bfloat16", **changes)

    run(tmp_path, model)
    assert all(np.isfinite(entry["loss"]) for entry in entries(tmp_path / "run"))
    went_on(run, tmp_path, model)


def test_ppo_warms_its_critic_and_goes_on(tmp_path: Path, model: Path) -> None:
    ppo(tmp_path, model)
    log = [entry for entry in entries(tmp_path / "run") if entry["part"] == "train"]
    assert [entry["warm"] for entry in log] == [0, 0, 1, 1]
    assert [entry["kl"] > 0 for entry in log] == [False, False, False, True]
    assert log[0]["policy_loss"] == 0 and log[-1]["policy_loss"] != 0
    assert all(entry["value_loss"] > 0 for entry in log)
    went_on(ppo, tmp_path, model)


def test_adapters_alone_are_trained_and_kept(tmp_path: Path, model: Path) -> None:
    grpo(tmp_path, model, lora={"rank": 2, "alpha": 4}, steps=2, passes=2, minibatches=2)
    kept = torch.load(tmp_path / "run" / "checkpoints" / "step-00000002.pt", weights_only=True)
    assert kept["model"] and all("lora" in name for name in kept["model"])
    assert (tmp_path / "run" / "adapter" / "adapter_model.safetensors").is_file()
    log = [entry for entry in entries(tmp_path / "run") if entry["part"] == "train"]
    assert 0 < log[1]["kl"] < float("inf")


def test_edits_that_a_model_does_not_answer_are_named(tmp_path: Path, model: Path) -> None:
    asked = fields(tmp_path, model)["prompts"][0]
    prompts = read_prompts([PromptSource.model_validate(asked)], 0.0, 0)
    policy = GenerationPolicy(edits={"hiss": {"own_codes": True}})
    engine = Engine.load(str(model), device="cpu", generation=policy)
    (line,) = what_is_asked(engine, prompts)
    assert line == "5 requests to train on, 0 to validate on"
    with patch.object(type(engine.parts.decoder.flow), "moved_labels", frozenset({"hiss"})):
        _, line = what_is_asked(engine, prompts)
    assert line.startswith("hiss: this model speaks the source's own codes")


def test_what_cannot_be_scored_is_not_learned_from(tmp_path: Path, model: Path) -> None:
    rewards = [{"name": "unscored"}]
    grpo(tmp_path, model, rewards=rewards, steps=1, beta=0.0, passes=2)
    (entry,) = [one for one in entries(tmp_path / "run") if one["part"] == "train"]
    assert entry["unscored"] in (1 / 8, 1 / 4) and entry["skipped"] == 1.0
    before = load_step1(model, dtype=torch.float32).parameters()
    for ours, theirs in zip(weights(tmp_path / "run"), before, strict=True):
        assert torch.equal(ours, theirs)
    ppo(tmp_path, model, rewards=rewards, steps=1, budget=1, answers=1, out=tmp_path / "none")
    (entry,) = [one for one in entries(tmp_path / "none") if one["part"] == "train"]
    assert entry["unscored"] == 1.0 and entry["skipped"] == 1.0


def test_too_long_requests_are_refused(tmp_path: Path, model: Path) -> None:
    with pytest.raises(StepeditError, match=r"none of its \d requests could be asked"):
        grpo(tmp_path, model, max_tokens=60)


def test_served_rollouts_train_all_weights(tmp_path: Path, model: Path) -> None:
    with pytest.raises(ValueError, match="leave lora out"):
        grpo(tmp_path, model, rollouts="vllm", lora={"rank": 2})
    own = GrpoSettings.model_validate(fields(tmp_path, model))
    assert "rollouts" not in own.curve() and "vllm" not in own.curve()
    served = own.model_copy(update={"rollouts": "vllm"})
    assert served.curve()["rollouts"] == "vllm"


def test_the_hardest_requests_are_found_by_the_rewards(tmp_path: Path, model: Path) -> None:
    lines = grpo(tmp_path, model, hardest=0.4, hardest_answers=2, steps=1)
    scores = json.loads((tmp_path / "run" / "hardest.json").read_text())
    assert len(scores) == 5 and "the 2 hardest are trained on" in lines


def test_the_watch_stops_a_run_and_keeps_what_there_is(tmp_path: Path, model: Path) -> None:
    watch = {"kl": 1e9, "shortest": 50.0, "longest": 100.0, "patience": 2}
    with pytest.raises(TrainingStopped, match=r"stopped after 2 steps: length .* is below 50"):
        grpo(tmp_path, model, watch=watch)
    assert (tmp_path / "run" / "checkpoints" / "step-00000002.pt").is_file()
    assert not (tmp_path / "run" / "model").exists()
    with pytest.raises(TrainingStopped, match="stopped after 2 steps"):
        grpo(tmp_path, model, watch=watch)
    grpo(tmp_path, model, steps=4)
    assert (tmp_path / "run" / "model").is_dir()


def test_held_out_judges_are_no_rewards(tmp_path: Path, model: Path) -> None:
    with pytest.raises(ValueError, match="must not be a reward"):
        grpo(tmp_path, model, watch={"held_out": [{"name": "low_codes"}]})
    with pytest.raises(StepeditError, match="no reward 'low_code'; did you mean"):
        grpo(tmp_path, model, rewards=[{"name": "low_code"}])
    with pytest.raises(ValueError, match="greater than or equal to 2"):
        grpo(tmp_path, model, answers=1)


def test_a_judge_that_falls_is_an_objection() -> None:
    settings = WatchSettings.model_validate({"held_out": [{"name": "words"}], "patience": 2})
    dev = [
        {"part": "dev", "step": at, "held_out_words": value}
        for at, value in enumerate((0.9, 0.85, 0.7, 0.6))
    ]
    assert objection(dev[:3], settings) is None
    assert "held_out_words fell from 0.9 to 0.6" in str(objection(dev, settings))
    train = [{"part": "train", "step": at, "kl": 0.6, "copied": 0.1} for at in range(3)]
    assert "kl 0.6 is above 0.5" in str(objection(train, settings))
    assert objection(train[:1], settings) is None


def test_rewards_of_copied_codes_are_not_lost() -> None:
    drawn = np.array([True] * 5 + [False] * 5 + [True] * 5)
    flags = np.zeros(15, bool)
    ids = 324 + np.arange(15)
    row = AnswerRow([1, 2], ids, drawn, flags, flags, np.full(15, -1), Sampling(), 324, first=5)
    dense = np.arange(20, dtype=np.float32)
    made = token_rewards(row, dense)
    assert made.sum() == dense.sum() and not made[5:10].any()
    assert made[:5].tolist() == [5, 6, 7, 8, 9] and made[10:14].tolist() == [15, 16, 17, 18]
