"""A small real training task, and a program that is killed while it runs."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from stepedit_train.batching import BatchPlan
from stepedit_train.checkpoints import seed_everything
from stepedit_train.loop import LoopSettings, Losses, Task, run_loop
from stepedit_train.seeds import generator_of
from torch import Tensor, nn

COSTS = [1.0 + (index % 5) for index in range(23)]


class SumTask(Task):
    """Learn the sum of four numbers, with dropout, so that the global generator matters."""

    def __init__(self, kill_at: int | None = None) -> None:
        seed_everything(1)
        self.model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 1))
        self.kill_at = kill_at

    def batch(self, indices: Sequence[int], step: int) -> Tensor:
        if step == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        noise = torch.randn(len(indices), 4, generator=generator_of(7, step))
        return noise + torch.tensor(indices)[:, None] / 10

    def loss(self, batch: Tensor) -> Losses:
        error = (self.model(batch)[:, 0] - batch.sum(1)).square().mean()
        return Losses(error, {"error": error.item()})

    def validate(self) -> Mapping[str, float]:
        fixed = torch.ones(3, 4)
        return {"output": float(self.model(fixed).mean())}


def settings(**changes: object) -> LoopSettings:
    fields: dict[str, object] = {
        "out": ".",
        "steps": 30,
        "budget": 12.0,
        "learning_rate": 1e-2,
        "warmup": 3,
        "log_every": 4,
        "validate_every": 10,
        "checkpoint_minutes": 0,
        "tensorboard": False,
    }
    return LoopSettings.model_validate(fields | changes)


def run(out: Path, kill_at: int | None = None, **changes: object) -> int:
    """Train and return the steps that are done."""
    chosen = settings(**changes)
    plan = BatchPlan(COSTS, chosen.budget, chosen.seed)
    return run_loop(SumTask(kill_at), plan, chosen, out, "data").step


if __name__ == "__main__":
    run(Path(sys.argv[1]), int(sys.argv[2]))
