"""Callbacks of the Trainer: free-running decoding on dev rows, and checkpoints by the clock."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from pydantic import Field
from transformers import TrainerCallback

from stepedit_core.codes import GROUP_SIZE
from stepedit_core.models.lm.constraints import grammar
from stepedit_core.models.lm.generation import generate
from stepedit_core.models.lm.sampling import GREEDY
from stepedit_core.models.lm.token_layout import TokenLayout
from stepedit_train.lm.rows import Example
from stepedit_train.settings import Settings

__all__ = [
    "GenerationEval",
    "GenerationEvalSettings",
    "SaveByClock",
    "StopWhenAsked",
    "generation_figures",
    "spread",
]

_EARLY = 0.75


class GenerationEvalSettings(Settings):
    """Answers that the model gives by itself to rows of validation speakers, greedily."""

    rows: int = Field(default=16, ge=1)
    """Rows, taken in turn from all edits."""
    every: int = Field(default=200, ge=1)
    """Steps between two looks."""
    max_groups: int = Field(default=60, ge=1)
    """Rows with longer answers (in groups of 120 ms) are not taken."""


def spread(examples: Sequence[Example], count: int, max_groups: int) -> list[Example]:
    """Return up to ``count`` examples, one edit after the other, in a fixed order."""
    by_edit: dict[str, list[Example]] = {}
    for one in sorted(examples, key=lambda one: (one.speaker, one.name)):
        if len(one.ids) - one.prompt <= GROUP_SIZE * max_groups + 1:
            by_edit.setdefault(one.edit, []).append(one)
    turns = max(map(len, by_edit.values()), default=0)
    in_turn = [rows[at] for at in range(turns) for rows in by_edit.values() if at < len(rows)]
    return in_turn[:count]


def generation_figures(
    model: Any, examples: Sequence[Example], layout: TokenLayout
) -> dict[str, float]:
    """Return means over the examples of each edit.

    ``EDIT_length`` is the relative error of the answer's length, ``EDIT_early`` the share of
    answers that are more than a quarter too short, ``EDIT_linguistic`` and ``EDIT_semantic``
    the shares of the target's tokens that stand at the same place of the answer.

    Args:
        model: in evaluation mode.
        examples: with the targets as answers.
        layout: where audio ids lie.
    """
    targets = [one.ids[one.prompt : -1] for one in examples]
    outputs = generate(
        model,
        [one.ids[: one.prompt] for one in examples],
        layout=layout,
        sampling=GREEDY,
        constraints=[grammar(1, round(0.3 * len(target)) + 10) for target in targets],
        alignments=[one.alignment for one in examples],
    )
    found: dict[str, list[float]] = {}
    for one, target, output in zip(examples, targets, outputs, strict=True):
        ratio = len(output.ids) / len(target)
        same = [a == b for a, b in zip(target, output.ids, strict=False)]
        same += [False] * (len(target) - len(same))
        linguistic = [hit for place, hit in enumerate(same) if place % GROUP_SIZE < 2]
        semantic = [hit for place, hit in enumerate(same) if place % GROUP_SIZE >= 2]
        figures = {
            "length": abs(ratio - 1),
            "early": float(ratio < _EARLY),
            "linguistic": sum(linguistic) / len(linguistic),
            "semantic": sum(semantic) / len(semantic),
        }
        for name, value in figures.items():
            found.setdefault(f"{one.edit}_{name}", []).append(value)
    return {name: round(sum(each) / len(each), 4) for name, each in sorted(found.items())}


class GenerationEval(TrainerCallback):  # type: ignore[misc,unused-ignore]
    """Log ``generation_figures`` of some validation rows at regular steps."""

    def __init__(
        self, examples: Sequence[Example], settings: GenerationEvalSettings, layout: TokenLayout
    ) -> None:
        self.examples = spread(examples, settings.rows, settings.max_groups)
        self.every, self.layout = settings.every, layout
        self.trainer: Any = None
        """Set once the Trainer exists; its log takes the figures."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Look, if it is time."""
        if state.global_step % self.every or not self.examples or not state.is_world_process_zero:
            return
        model = self.trainer.accelerator.unwrap_model(self.trainer.model)
        model = model.get_base_model() if hasattr(model, "get_base_model") else model
        was_training = model.training
        model.eval()
        figures = generation_figures(model, self.examples, self.layout)
        model.train(was_training)
        self.trainer.log({f"free_{name}": value for name, value in figures.items()})


class SaveByClock(TrainerCallback):  # type: ignore[misc,unused-ignore]
    """Ask for a checkpoint when so many minutes have passed since the last."""

    def __init__(self, minutes: float) -> None:
        self.seconds = 60 * minutes
        self._last = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Ask, if it is time."""
        if time.monotonic() - self._last >= self.seconds:
            control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take note of a checkpoint."""
        self._last = time.monotonic()


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
