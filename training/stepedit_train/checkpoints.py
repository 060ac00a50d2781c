"""Checkpoints of a training run: everything that the next step depends on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from stepedit_core.atomic import replace_file
from stepedit_core.errors import CheckpointError
from stepedit_train.batching import Position

__all__ = [
    "Progress",
    "begin_with",
    "checkpoint_step",
    "drop_old_checkpoints",
    "latest_checkpoint",
    "load_checkpoint",
    "read_checkpoint",
    "save_checkpoint",
    "seed_everything",
]

KEPT = 2
SUFFIX = ".pt"


@dataclass
class Progress:
    """Progress of a run.

    Attributes:
        step: optimiser steps done.
        position: the next batch.
        seconds: wall-clock seconds spent training, over all runs.
        seen: cost of the batches seen, in the unit of the batch budget.
        sums: figures added up since the last entry of the log.
        counts: steps that each of them is from.
    """

    step: int = 0
    position: Position = field(default_factory=Position)
    seconds: float = 0.0
    seen: float = 0.0
    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)


def _random_states() -> dict[str, Any]:
    states: dict[str, Any] = {"torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state_all()
    return states


def _restore_random(states: dict[str, Any]) -> None:
    torch.set_rng_state(states["torch"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states["cuda"])


def save_checkpoint(
    folder: Path,
    progress: Progress,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    settings: str,
) -> Path:
    """Write a checkpoint and remove all but the newest two.

    Args:
        folder: of the run's checkpoints.
        progress: how far the run is.
        model: its weights are kept.
        optimizer: its state is kept.
        settings: JSON of the settings that the curve depends on.
    """
    content = {
        "model": _trained_state(model),
        "optimizer": optimizer.state_dict(),
        "random": _random_states(),
        "step": progress.step,
        "epoch": progress.position.epoch,
        "batch": progress.position.batch,
        "seconds": progress.seconds,
        "seen": progress.seen,
        "sums": progress.sums,
        "counts": progress.counts,
        "settings": settings,
    }
    path = folder / f"step-{progress.step:08d}{SUFFIX}"
    replace_file(path, lambda partial: torch.save(content, partial))
    drop_old_checkpoints(folder)
    return path


def drop_old_checkpoints(folder: Path) -> None:
    """Remove all but the newest two: a run that was killed after its last one left a third."""
    for old in _all(folder)[:-KEPT]:
        old.unlink(missing_ok=True)


def _frozen(model: nn.Module) -> set[str]:
    """Return the names of weights that are not trained: they are where the run began."""
    return {name for name, weight in model.named_parameters() if not weight.requires_grad}


def _trained_state(model: nn.Module) -> dict[str, Any]:
    frozen = _frozen(model)
    return {name: value for name, value in model.state_dict().items() if name not in frozen}


def _all(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"step-*{SUFFIX}"))


def latest_checkpoint(folder: Path) -> Path | None:
    """Return the newest checkpoint of a folder, or None."""
    found = _all(folder)
    return found[-1] if found else None


def checkpoint_step(path: Path) -> int:
    """Return the step that a checkpoint's name says."""
    return int(path.stem.removeprefix("step-"))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint's tensors and plain values; no code is run.

    Raises:
        CheckpointError: if the file is damaged.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for damaged files
        raise CheckpointError(
            f"{path}: cannot be read ({error}); remove it to go on from the one before"
        ) from error
    if not isinstance(content, dict) or "model" not in content:
        raise CheckpointError(f"{path}: is not a training checkpoint")
    return content


def begin_with(folder: Path, model: nn.Module) -> None:
    """Take the newest weights of another run; what that run had not keeps its first values.

    Args:
        folder: of the other run's checkpoints.
        model: of the new run.

    Raises:
        CheckpointError: if there is no checkpoint, or its weights do not fit the model.
    """
    found = latest_checkpoint(folder)
    if found is None:
        raise CheckpointError(f"{folder}: no checkpoint to begin with")
    try:
        strange = model.load_state_dict(read_checkpoint(found)["model"], strict=False)
    except RuntimeError as error:
        raise CheckpointError(f"{found}: has other sizes than the settings") from error
    if strange.unexpected_keys:
        raise CheckpointError(f"{found}: has parts that the settings do not name")


def load_checkpoint(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    settings: str,
    present: Callable[[Mapping[str, Any]], dict[str, Any]] = dict,
) -> Progress:
    """Put a checkpoint into model, optimizer and random states, and return the progress.

    Args:
        path: of the checkpoint.
        model: takes its weights.
        optimizer: takes its state.
        settings: JSON of the settings that the curve depends on, which must be the checkpoint's.
        present: gives the checkpoint's settings their present names.

    Raises:
        CheckpointError: if the file is damaged, or was made with other settings.
    """
    content = read_checkpoint(path)
    if present(json.loads(content["settings"])) != json.loads(settings):
        raise CheckpointError(
            f"{path}: was made with other settings or other recordings; go on with those, or "
            "choose another out folder"
        )
    strange = model.load_state_dict(content["model"], strict=False)
    if strange.unexpected_keys or set(strange.missing_keys) - _frozen(model):
        raise CheckpointError(f"{path}: has other parts than the model")
    optimizer.load_state_dict(content["optimizer"])
    _restore_random(content["random"])
    return Progress(
        int(content["step"]),
        Position(int(content["epoch"]), int(content["batch"])),
        float(content["seconds"]),
        float(content["seen"]),
        dict(content["sums"]),
        dict(content["counts"]),
    )


def seed_everything(seed: int) -> None:
    """Seed torch's global generators, which initialisers and dropout draw from."""
    torch.manual_seed(int(np.uint32(seed)))
