"""Runs of the transformers Trainer that end with a checkpoint when SIGTERM asks for it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from stepedit_train.language_model import complete_checkpoint

__all__ = ["StopWhenAsked", "train_or_stop"]


class StopWhenAsked(TrainerCallback):  # type: ignore[misc,unused-ignore]
    """Save a checkpoint and stop after a step during which SIGTERM came."""

    def __init__(self) -> None:
        self.asked = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take SIGTERM as the question, in the main thread, until the block ends."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def take(number: int, frame: Any) -> None:
            self.asked = True

        before = signal.signal(signal.SIGTERM, take)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stop if it was asked, in all processes at the same step."""
        asked = self.asked
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
    stop = StopWhenAsked()
    trainer.add_callback(stop)
    found = complete_checkpoint(out)
    with stop.listening():
        done = trainer.train(resume_from_checkpoint=str(found) if found else None)
    if done.global_step < trainer.args.max_steps:
        return done, f"stopped after {done.global_step} steps, as asked; call again to go on"
    trainer.save_state()
    return done, None
