"""GRPO whose answers vLLM draws; needs the extra ``vllm``, and no GPU."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("vllm")

from stepedit_train.journal import read_journal
from stepedit_train.rl.grpo import GrpoSettings, train_grpo

from stepedit_core.registry.registry import Registry
from tests.models.vllm_serving import sqrt_alibi
from tests.train.rl.making import engine_folder, fields, register

pytestmark = pytest.mark.slow


def test_grpo_learns_from_served_answers(tmp_path: Path, toys: Registry) -> None:
    register(toys)
    sqrt_alibi.register()
    options = {"enforce_eager": True, "kv_cache_memory_bytes": 64 * 2**20}
    changes = {"answers": 8, "steps": 8, "beta": 0.01, "rollouts": "vllm", "vllm": options}
    settings = fields(tmp_path, engine_folder(tmp_path / "engine"), **changes)
    list(train_grpo(GrpoSettings.model_validate(settings)))
    log = [entry for entry in read_journal(tmp_path / "run") if entry["part"] == "train"]
    rewards = [entry["reward"] for entry in log]
    assert len(rewards) == 8 and sum(rewards[-3:]) > sum(rewards[:3]) + 0.3
