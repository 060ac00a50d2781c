"""The training loop of the stages that are not language models."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor, nn

from stepedit_core.errors import counted
from stepedit_core.models.checkpoint.load import pick_device
from stepedit_train.batching import BatchPlan
from stepedit_train.checkpoints import (
    Progress,
    begin_with,
    checkpoint_step,
    drop_old_checkpoints,
    latest_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from stepedit_train.ending import TrainingStopped, stop_requests
from stepedit_train.journal import Journal, step_bar
from stepedit_train.precision import Precision, arithmetic
from stepedit_train.settings import RunSettings, resolve_path

__all__ = [
    "LoopSettings",
    "Losses",
    "Task",
    "curve_settings",
    "learning_rate",
    "run_loop",
]


if TYPE_CHECKING:
    from _typeshed import DataclassInstance

B = TypeVar("B", bound="DataclassInstance")


class LoopSettings(RunSettings):
    """Settings of the loop itself."""

    scaled: ClassVar[tuple[str, ...]] = ("steps", "warmup", "validate_every")
    begins: ClassVar[tuple[str, ...]] = ("start", "weights")
    free: ClassVar[frozenset[str]] = frozenset(
        {
            "base",
            "cache",
            "checkpoint_minutes",
            "device",
            "log_every",
            "out",
            "start",
            "tensorboard",
            "validate_every",
        }
    )

    steps: int = Field(ge=1)
    """Optimiser steps."""
    budget: float = Field(gt=0)
    """Padded cost of a batch, in the unit of the stage: seconds of audio, or tokens."""
    learning_rate: float = Field(gt=0)
    """Peak of the schedule."""
    final_learning_rate: float = Field(default=0.0, ge=0)
    """End of the cosine."""
    warmup: int = Field(default=200, ge=0)
    """Steps of linear rise."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Weight decay of AdamW."""
    clip: float = Field(default=1.0, gt=0)
    """Largest norm of the gradient."""
    start: Path | None = None
    """Run of the same sizes whose newest weights this one begins with; None: random weights."""
    seed: int = Field(default=0, ge=0)
    """Seed of the weights, the order of the data and the augmentation."""
    checkpoint_minutes: float = Field(default=10.0, ge=0)
    """A checkpoint is written this often, and at the end."""
    log_every: int = Field(default=20, ge=1)
    """Steps between entries of the log."""
    validate_every: int = Field(default=500, ge=1)
    """Steps between validations."""
    tensorboard: bool = True
    """Write TensorBoard events beside the JSON lines."""
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``."""
    precision: Precision = "float32"
    """Precision of the losses; ``auto`` is bfloat16 where an accelerator has it."""

    def curve(self) -> dict[str, Any]:
        """Return the settings that the loss curve depends on, as JSON values."""
        # Unsaid where it is usual, so that runs from before there was a choice go on.
        usual = {"precision"} if self.precision == "float32" else set()
        return {name: value for name, value in super().curve().items() if name not in usual}

    def is_finished(self) -> bool:
        """Whether the newest checkpoint of the run is its last."""
        found = latest_checkpoint(self.folder() / "checkpoints")
        return found is not None and checkpoint_step(found) >= self.steps


@dataclass(frozen=True)
class Losses:
    """Loss of one batch.

    Attributes:
        total: what is minimised, a scalar.
        parts: figures for the log; one that a batch says nothing about is left out.
    """

    total: Tensor
    parts: Mapping[str, float]


def _movable(value: object) -> bool:
    return hasattr(value, "to")


class Task(ABC):
    """Base of a stage: a model, its batches and its loss.

    Attributes:
        model: what is trained.
        device: where it is trained; the loop sets it.
    """

    model: nn.Module
    device: torch.device = torch.device("cpu")
    validates_first: ClassVar[bool] = False
    """Whether the loop validates before the first step, too."""

    def moved(self, batch: B) -> B:
        """Return a dataclass of a batch with everything that has a ``to`` on the device."""
        if self.device.type == "cpu":
            return batch
        values = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
        found = {name: value.to(self.device) for name, value in values.items() if _movable(value)}
        return dataclasses.replace(batch, **found)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the optimiser's parameter groups; ``pace`` is a factor of a group's rate."""
        return [{"params": list(self.model.parameters())}]

    @abstractmethod
    def batch(self, indices: Sequence[int], step: int) -> Any:
        """Return the batch of these items; all randomness comes from the seed and ``step``."""

    @abstractmethod
    def loss(self, batch: Any) -> Losses:
        """Return the loss of a batch."""

    @abstractmethod
    def validate(self) -> Mapping[str, float]:
        """Return figures on data that is not trained on; the model is in evaluation mode."""

    def rate(self, step: int, settings: LoopSettings) -> float:
        """Return the learning rate of a step."""
        return learning_rate(step, settings)

    def update(
        self, optimizer: torch.optim.Optimizer, batch: Any, settings: LoopSettings
    ) -> Losses:
        """Take one step, by one or several moves of the optimiser, and return the losses."""
        return _update(self, optimizer, batch, settings)

    def objection(self, entries: Sequence[Mapping[str, Any]]) -> str | None:
        """Return why a run is not to go on, from the entries of its log, or None."""
        return None

    def samples(self) -> Mapping[str, tuple[npt.NDArray[np.float32], int]]:
        """Return recordings to listen to, by name, with their rate in Hz; none by default."""
        return {}


def learning_rate(step: int, settings: LoopSettings) -> float:
    """Return the rate of a step: linear warm-up, then a cosine to the final rate."""
    peak, last = settings.learning_rate, settings.final_learning_rate
    if step < settings.warmup:
        return peak * (step + 1) / settings.warmup
    done = (step - settings.warmup) / max(1, settings.steps - settings.warmup)
    return last + (peak - last) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def _add_figures(progress: Progress, parts: Mapping[str, float]) -> None:
    for name, value in parts.items():
        progress.counts[name] = progress.counts.get(name, 0) + 1
        progress.sums[name] = progress.sums.get(name, 0.0) + value


def _take_means(progress: Progress) -> dict[str, float]:
    """Return the means of the figures since the last call, and begin anew."""
    means = {name: value / progress.counts[name] for name, value in progress.sums.items()}
    progress.sums, progress.counts = {}, {}
    return means


def _update(
    task: Task, optimizer: torch.optim.Optimizer, batch: Any, settings: LoopSettings
) -> Losses:
    """Take one step and return the losses before it."""
    task.model.train()
    with arithmetic(settings.precision, task.device):
        losses = task.loss(batch)
    optimizer.zero_grad(set_to_none=True)
    losses.total.backward()  # type: ignore[no-untyped-call]
    norm = nn.utils.clip_grad_norm_(task.model.parameters(), settings.clip)
    is_finite = bool(torch.isfinite(norm))
    if is_finite:
        optimizer.step()
    parts = {**losses.parts, "skipped": float(not is_finite)}
    if is_finite:
        parts |= {"loss": losses.total.item(), "gradient": norm.item()}
    return Losses(losses.total.detach(), parts)


def curve_settings(settings: LoopSettings, data: str = "") -> str:
    """Return as JSON what the loss curve depends on: settings, and a hash of the data."""
    return json.dumps(settings.curve() | {"data": data})


def run_loop(
    task: Task, plan: BatchPlan, settings: LoopSettings, out: Path, data: str = ""
) -> Progress:
    """Train until the steps are done, from the last checkpoint where there is one.

    A run that was killed and is started again passes through the same losses as one that was
    not: the checkpoint holds weights, optimiser, random states and the place in the data, and
    whatever is random about a batch depends on the seed and the step alone.

    Args:
        task: model, batches and loss.
        plan: order of the data.
        settings: of the loop.
        out: folder of the run: ``checkpoints/``, ``log.jsonl``, ``tensorboard/``.
        data: hash of the data, so that a run does not go on with other recordings.
    """
    task.device = pick_device(settings.device)
    task.model.to(task.device)
    optimizer = torch.optim.AdamW(
        task.parameter_groups(), settings.learning_rate, weight_decay=settings.weight_decay
    )
    frozen = curve_settings(settings, data)
    found = latest_checkpoint(out / "checkpoints")
    if found is None and settings.start is not None:
        begin_with(resolve_path(settings, settings.start) / "checkpoints", task.model)
    progress = Progress()
    if found is not None:
        present = type(settings).with_present_names
        progress = load_checkpoint(found, task.model, optimizer, frozen, present)
        drop_old_checkpoints(found.parent)
    with (
        Journal(out, progress.step, tensorboard=settings.tensorboard) as journal,
        stop_requests() as asked,
        step_bar(settings.steps, progress.step) as show,
    ):
        run = _Run(task, settings, progress, optimizer, journal, frozen)
        before = progress.step
        if before:
            run.check()
        if task.validates_first and not journal.entries:
            run.validate()
        run.take_steps(plan, asked, show)
        if progress.step > before:
            run.save()
    return progress


@dataclass
class _Run:
    """State and files of a run of the loop.

    Attributes:
        task: model, batches and loss.
        settings: of the loop.
        progress: step, place in the data, and figures since the last entry of the log.
        optimizer: of the task's parameters.
        journal: log of the run, in its folder.
        frozen: JSON of the settings that a checkpoint must agree with.
    """

    task: Task
    settings: LoopSettings
    progress: Progress
    optimizer: torch.optim.Optimizer
    journal: Journal
    frozen: str

    def take_steps(
        self, plan: BatchPlan, asked: Sequence[int], show: Callable[[int, float], None]
    ) -> None:
        """Take the steps that are left, or as many as there are before a stop is asked for."""
        task, settings, progress = self.task, self.settings, self.progress
        began = saved = time.monotonic()
        before = progress.seconds
        for indices, after in plan.start_at(progress.position):
            if progress.step >= settings.steps or asked:
                return
            rate = task.rate(progress.step, settings)
            for group in self.optimizer.param_groups:
                group["lr"] = rate * group.get("pace", 1.0)
            losses = task.update(self.optimizer, task.batch(indices, progress.step), settings)
            _add_figures(progress, losses.parts)
            progress.step += 1
            progress.position = after
            progress.seen += sum(plan.costs[index] for index in indices)
            now = time.monotonic()
            progress.seconds = before + now - began
            show(progress.step, losses.parts.get("loss", math.nan))
            if progress.step % settings.log_every == 0:
                facts = {"rate": rate, "seconds": progress.seconds, "seen": progress.seen}
                self.journal.write(progress.step, "train", _take_means(progress) | facts)
            if progress.step % settings.validate_every == 0 or progress.step == settings.steps:
                self.validate()
            self.check(save=True)
            if now - saved >= settings.checkpoint_minutes * 60:
                self.save()
                saved = now

    def save(self) -> None:
        """Write a checkpoint."""
        folder = self.journal.folder / "checkpoints"
        save_checkpoint(folder, self.progress, self.task.model, self.optimizer, self.frozen)

    def validate(self) -> None:
        """Write figures and sample recordings of the current step."""
        self.task.model.eval()
        with torch.inference_mode():
            figures, recordings = self.task.validate(), self.task.samples()
        if figures:
            self.journal.write(self.progress.step, "dev", figures)
        for name, (samples, rate) in recordings.items():
            self.journal.audio(self.progress.step, name, samples, rate)

    def check(self, *, save: bool = False) -> None:
        """Stop the run if its task objects, after a step that wrote into the log.

        Args:
            save: write a checkpoint before stopping.

        Raises:
            TrainingStopped: if the task objects.
        """
        step, settings = self.progress.step, self.settings
        if step % settings.log_every and step % settings.validate_every:
            return
        why = self.task.objection(self.journal.entries)
        if why is None:
            return
        if save:
            self.save()
        raise TrainingStopped(
            f"{self.journal.folder}: stopped after {counted(step, 'step')}: {why}"
        )
