"""Runs of the transformers Trainer that end with a checkpoint when SIGTERM asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from stepedit_train.language_model import complete_checkpoint
from stepedit_train.requests import stop_requests

__all__ = ["StopWhenAsked", "train_or_stop"]


class StopWhenAsked(TrainerCallback):  # type: ignore[misc,unused-ignore]
    """Save a checkpoint and stop after a step during which SIGTERM came."""

    def __init__(self, asked: Sequence[int]) -> None:
        """Look at requests as `stop_requests` collects them."""
        self.asked = asked

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stop if it was asked, in all processes at the same step."""
        asked = bool(self.asked)
        if args.world_size > 1:
            flag = torch.tensor(float(asked), device=args.device)
            torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MAX)
            asked = bool(flag)
        if asked:
            control.should_save = control.should_training_stop = True


def train_or_stop(trainer: Any, out: Path) -> tuple[Any, str | None]:
    """Train, or go on from the last complete checkpoint, until the end or until SIGTERM.

    Args:
        trainer: of transformers.
        out: folder of its checkpoints.

    Returns:
        The Trainer's result, and a line that says where it stopped; None if it came to the end.
    """
    found = complete_checkpoint(out)
    with stop_requests() as asked:
        trainer.add_callback(StopWhenAsked(asked))
        done = trainer.train(resume_from_checkpoint=str(found) if found else None)
    if done.global_step < trainer.args.max_steps:
        return done, f"stopped after {done.global_step} steps, as asked; call again to go on"
    trainer.save_state()
    return done, None
