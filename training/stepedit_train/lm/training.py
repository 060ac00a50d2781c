"""Shared by the language model's stages: settings, Trainer arguments, checkpoints, the result."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import torch
from pydantic import Field

from stepedit_core.atomic import replace_file, write_atomically
from stepedit_core.config import without_own_weights
from stepedit_core.errors import StepeditError, counted
from stepedit_core.models.checkpoint.layout import DECODER_FOLDER, TOKENIZER_NAME
from stepedit_core.models.checkpoint.load import pick_device
from stepedit_core.models.checkpoint.model_files import ROUTES_FILE, SAMPLING
from stepedit_core.models.checkpoint.naming import languages_of, name_folder, named
from stepedit_core.models.lm.chat import MAX_TOKENS
from stepedit_core.models.lm.step1 import load_step1
from stepedit_core.models.reader import READER
from stepedit_train.ending import stop_requests
from stepedit_train.export import save_pretrained
from stepedit_train.lm.callbacks import StopWhenAsked
from stepedit_train.lm.mixture import PackedBatches
from stepedit_train.lm.replay import REPLAY
from stepedit_train.lm.rows import Example
from stepedit_train.lm.vocabulary import DICTIONARY
from stepedit_train.precision import Precision, is_half
from stepedit_train.settings import RunSettings, resolve_path

__all__ = [
    "KEPT_FILES",
    "LanguageModelSettings",
    "base_and_out",
    "complete_checkpoint",
    "copy_part",
    "find_part",
    "load_for_training",
    "planned_steps",
    "save_model_folder",
    "train_or_stop",
    "training_arguments",
]

KEPT_FILES = (
    "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json", DICTIONARY, READER,
    REPLAY, SAMPLING, ROUTES_FILE,
)  # fmt: skip
"""Files of a model folder that go on to the model that is trained from it."""


class LanguageModelSettings(RunSettings):
    """Settings that all stages of the language model have; the defaults are for the 3B model."""

    scaled: ClassVar[tuple[str, ...]] = ("epochs", "steps", "warmup", "save_every")
    continues: ClassVar[tuple[str, str]] = ("model", "model")
    free: ClassVar[frozenset[str]] = frozenset(
        {"base", "device", "kept", "log_every", "out", "save_every", "save_minutes", "tensorboard"}
    )

    model: Path
    """Folder of the language model to start from."""
    weights: str | None = None
    """Start from the model's weights for some of its edits, by their name in its sampling.json."""
    out: Path
    """Folder of the run; the result is ``model`` in it."""
    epochs: float = Field(default=1.0, gt=0)
    """Passes over the mixture."""
    steps: int | None = Field(default=None, ge=1)
    """Optimiser steps, instead of epochs."""
    tokens: int = Field(default=16_384, ge=1)
    """Tokens in a batch on one device, padding included."""
    accumulate: int = Field(default=1, ge=1)
    """Batches in an optimiser step."""
    max_tokens: int = Field(default=MAX_TOKENS, ge=16)
    """Longer rows are left out."""
    learning_rate: float = Field(default=1e-5, gt=0)
    """Start of the cosine."""
    final_learning_rate: float = Field(default=1e-6, ge=0)
    """End of the cosine."""
    warmup: int = Field(default=0, ge=0)
    """Steps of linear rise."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Weight decay of AdamW."""
    beta2: float = Field(default=0.999, gt=0, lt=1)
    """Decay of AdamW's second moment; 0.95 to 0.99 for short runs from random weights."""
    clip: float = Field(default=1.0, gt=0)
    """Largest norm of the gradient."""
    gradient_checkpointing: bool = True
    """Compute activations again in the backward pass, to save memory."""
    precision: Precision = "auto"
    """Precision; weights stay float32. ``auto`` is bfloat16 where an accelerator has it."""
    dev_share: float = Field(default=0.02, ge=0, lt=1)
    """Part of the speakers that is kept for validation."""
    seed: int = Field(default=0, ge=0)
    """Seed of the batches, their order and dropout."""
    log_every: int = Field(default=10, ge=1)
    """Steps between entries of the log."""
    save_every: int = Field(default=200, ge=1)
    """Steps between checkpoints and validations."""
    save_minutes: float | None = Field(default=None, gt=0)
    """Save a checkpoint after so many minutes without one, too."""
    kept: int = Field(default=2, ge=1)
    """Checkpoints kept."""
    device: Literal["auto", "cpu"] = "auto"
    """``auto`` takes accelerators where there are any."""
    tensorboard: bool = True
    """Write TensorBoard events."""

    def is_finished(self) -> bool:
        """Whether the run has written its model."""
        return (resolve_path(self, self.out) / "model" / "config.json").is_file()


def base_and_out(settings: RunSettings, model: Path) -> tuple[Path, Path]:
    """Return the absolute folders of the model to start from and of the run.

    Args:
        settings: of the run.
        model: the setting that names the model.

    Raises:
        StepeditError: if the result would overwrite the model that it starts from.
    """
    base, out = resolve_path(settings, model), settings.folder()
    if out == base or base.is_relative_to(out / "model"):
        raise StepeditError(f"{out}: the result would overwrite the model that it starts from")
    return base, out


def complete_checkpoint(folder: Path) -> Path | None:
    """Return the newest checkpoint that was written to its end, or None.

    The Trainer writes ``trainer_state.json`` last; a folder without a readable one was being
    written when the run was killed.
    """
    found = [path for path in folder.glob("checkpoint-*") if path.name[11:].isdigit()]
    for path in sorted(found, key=lambda path: int(path.name[11:]), reverse=True):
        try:
            json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            shutil.rmtree(path)
            continue
        return path
    return None


def training_arguments(
    settings: LanguageModelSettings, out: Path, steps: int, *, has_dev: bool
) -> Any:
    """Return the Trainer's settings.

    Args:
        settings: of the stage.
        out: folder of the run.
        steps: optimiser steps.
        has_dev: there is something to validate on.
    """
    from transformers import TrainingArguments

    return TrainingArguments(
        output_dir=str(out),
        per_device_train_batch_size=1,  # one item of the dataset is one batch
        per_device_eval_batch_size=1,
        gradient_accumulation_steps=settings.accumulate,
        max_steps=steps,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr": settings.final_learning_rate},
        warmup_steps=settings.warmup,
        weight_decay=settings.weight_decay,
        adam_beta2=settings.beta2,
        max_grad_norm=settings.clip,
        bf16=is_half(settings.precision, pick_device(settings.device)),
        use_cpu=settings.device == "cpu",
        seed=settings.seed,
        data_seed=settings.seed,
        logging_steps=settings.log_every,
        save_steps=settings.save_every,
        save_total_limit=settings.kept,
        eval_strategy="steps" if has_dev else "no",
        eval_steps=settings.save_every,
        remove_unused_columns=False,
        prediction_loss_only=True,
        report_to="tensorboard" if settings.tensorboard else "none",
        disable_tqdm=True,
    )


def planned_steps(
    settings: LanguageModelSettings,
    examples: Sequence[Example],
    lengths: Sequence[int] | None = None,
) -> int:
    """Return the optimiser steps of the run over all devices.

    Args:
        settings: of the stage.
        examples: to train on, with repetitions.
        lengths: see ``PackedBatches``.
    """
    if settings.steps is not None:
        return settings.steps
    one_pass = PackedBatches(examples, settings.tokens, settings.seed, lengths=lengths).per_pass
    together = settings.accumulate * int(os.environ.get("WORLD_SIZE", "1"))
    return max(1, math.ceil(settings.epochs * one_pass / together))


class Checkpointed(Protocol):
    """Settings that say which weights are trained, and what is kept for the backward pass."""

    @property
    def weights(self) -> str | None:
        """Folder of weights in the model's that edits name; None for its own."""

    @property
    def gradient_checkpointing(self) -> bool:
        """Whether activations are calculated again to save memory."""


def load_for_training(settings: Checkpointed, base: Path) -> Any:
    """Return the model in float32, all weights trainable, in training mode.

    Raises:
        CheckpointError: if a file of the folder is missing or damaged.
    """
    folder = base if settings.weights is None else base / settings.weights
    model: Any = load_step1(folder, dtype=torch.float32).train()
    model.requires_grad_(True)
    model.config.use_cache = False
    if settings.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    return model


def find_part(base: Path, name: str) -> Path | None:
    """Return a folder of an engine that lies inside its model's folder or beside it."""
    return next((place for place in (base / name, base.parent / name) if place.is_dir()), None)


def copy_part(source: Path, place: Path) -> None:
    """Copy a file or folder, unless there is something of that name; links are followed.

    A folder that is trained holds all that it needs: it can be moved, packed and passed on, and
    outlives the installation that it was trained from.
    """
    if place.is_symlink():  # releases before linked the parts
        place.unlink()
    if source.is_dir():
        place.mkdir(exist_ok=True)
        for part in sorted(source.iterdir()):
            if part.name != "__pycache__":
                copy_part(part, place / part.name)
    elif not place.exists():

        def copy(partial: Path) -> None:
            shutil.copyfile(source, partial)

        replace_file(place, copy)


def _ask_one_model(rules: Path) -> None:
    """Take names of edits' own weights out of a folder's rules of sampling."""
    if not rules.is_file():
        return
    content = json.loads(rules.read_text(encoding="utf-8"))
    kept = without_own_weights(content)
    if kept != content:
        write_atomically(rules, json.dumps(kept, indent=2) + "\n")


def save_model_folder(model: Any, base: Path, folder: Path, dtype: torch.dtype) -> None:
    """Write a trained model as safetensors, with the base's tokenizer and copies of its parts.

    Routes and rules of sampling are the base's, but that all edits ask what was trained, also those
    for which the base has weights of their own; results call it by the name of the run's folder.
    The folder appears when it is complete.

    Args:
        model: unwrapped; its weights are cast in place.
        base: folder of the model that it was trained from.
        folder: of the result.
        dtype: of the stored weights.
    """
    model.config.use_cache = True
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    save_pretrained(model.to(dtype), partial)
    for name in KEPT_FILES:
        if (base / name).is_file():
            shutil.copyfile(base / name, partial / name)
    _ask_one_model(partial / SAMPLING)
    for name in (DECODER_FOLDER, TOKENIZER_NAME):
        part = find_part(base, name)
        if part is not None:
            copy_part(part, partial / name)
    name_folder(partial, folder.parent.name, named(base), languages_of(base))
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


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
        return (
            done,
            f"stopped after {counted(done.global_step, 'step')}, as asked; call again to go on",
        )
    trainer.save_state()
    return done, None
