"""The ``sft`` stage: fine-tune the language model on pairs with the transformers Trainer."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field

from stepedit_core.errors import MissingDependencyError, StepeditError
from stepedit_core.models.chat import MAX_TOKENS, preferred_encoding
from stepedit_core.models.folder_sampling import SAMPLING
from stepedit_core.models.generation import TokenLayout
from stepedit_core.models.layout import DECODER_FOLDER, TOKENIZER_NAME
from stepedit_core.models.step1 import load_step1
from stepedit_core.models.step1.loading import read_config
from stepedit_core.models.text import TextTokenizer
from stepedit_train.settings import Settings, resolve_path
from stepedit_train.sft.mixture import Mixture, PackedBatches, Source, collate, read_mixture
from stepedit_train.sft.noise import NoiseSettings
from stepedit_train.sft.replay import REPLAY
from stepedit_train.sft.rows import Example
from stepedit_train.sft.spelling import DICTIONARY
from stepedit_train.sft.trainer import SftTrainer
from stepedit_train.sft.watching import FreeRuns, FreeRunSettings, SaveByClock

__all__ = ["LoraSettings", "SftSettings", "complete_checkpoint", "train_sft"]

ADAPTED = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
KEPT_FILES = (
    "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json", DICTIONARY, REPLAY,
    SAMPLING,
)  # fmt: skip


class LoraSettings(Settings):
    """Low-rank adapters (Hu et al. 2021) on all linear layers of the stack."""

    rank: int = Field(default=32, ge=1)
    """Rank."""
    alpha: int = Field(default=64, ge=1)
    """Scale; the adapter's output is multiplied by alpha / rank."""
    dropout: float = Field(default=0.05, ge=0, lt=1)
    """Before the adapter."""


class SftSettings(Settings):
    """Settings of the sft stage; the defaults are for the 3B model."""

    model: Path
    """Folder of the language model to start from."""
    out: Path
    """Folder of the run; the result is ``model`` in it."""
    data: tuple[Source, ...]
    """Folders of `stepedit pairs`, or files of pre-tokenised examples."""
    cached: bool = True
    """Keep pre-tokenised rows in ``out``, so that a resumed run need not read them again."""
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
    """Of AdamW."""
    beta2: float = Field(default=0.999, gt=0, lt=1)
    """Of AdamW; 0.95 to 0.99 for short runs from random weights."""
    clip: float = Field(default=1.0, gt=0)
    """Largest norm of the gradient."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Part of the target's probability that is spread over the vocabulary."""
    noise: NoiseSettings = NoiseSettings()
    """What is changed about source and answer as the model reads them."""
    gradient_checkpointing: bool = True
    """Compute activations again in the backward pass, to save memory."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the arithmetic; weights stay float32. ``auto`` is bfloat16 where an accelerator has it."""
    lora: LoraSettings | None = None
    """Train adapters instead of all weights."""
    dev_share: float = Field(default=0.02, ge=0, lt=1)
    """Part of the speakers that is kept for validation."""
    seed: int = 0
    """Of the batches, their order and dropout."""
    log_every: int = Field(default=10, ge=1)
    """Steps between entries of the log."""
    save_every: int = Field(default=200, ge=1)
    """Steps between checkpoints and validations."""
    save_minutes: float | None = Field(default=None, gt=0)
    """Save a checkpoint after so many minutes without one, too."""
    free_runs: FreeRunSettings | None = None
    """Let the model answer validation rows by itself now and then; needs ``dev_share``."""
    kept: int = Field(default=2, ge=1)
    """Checkpoints kept."""
    device: Literal["auto", "cpu"] = "auto"
    """``auto`` takes accelerators where there are any."""
    tensorboard: bool = True
    """Write TensorBoard events."""


def complete_checkpoint(folder: Path) -> Path | None:
    """Return the newest checkpoint that was written to its end, or None.

    The Trainer writes ``trainer_state.json`` last; a folder without a readable one was being
    written when the run was killed.
    """
    found = [path for path in folder.glob("checkpoint-*") if path.name[11:].isdigit()]
    for path in sorted(found, key=lambda path: int(path.name[11:]), reverse=True):
        try:
            json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            shutil.rmtree(path)
            continue
        return path
    return None


def _has_bfloat16(settings: SftSettings) -> bool:
    if settings.precision != "auto":
        return settings.precision == "bfloat16"
    is_accelerated = settings.device == "auto" and torch.cuda.is_available()
    return is_accelerated and torch.cuda.is_bf16_supported()


def _arguments(settings: SftSettings, out: Path, steps: int, *, has_dev: bool) -> Any:
    """Return the Trainer's settings."""
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
        bf16=_has_bfloat16(settings),
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


def _with_adapters(model: Any, lora: LoraSettings, seed: int) -> Any:
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise MissingDependencyError(
            "lora needs the peft package: pip install 'stepedit[train]'"
        ) from error
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(ADAPTED),
        task_type="CAUSAL_LM",
    )
    torch.manual_seed(seed)
    return get_peft_model(model, config)


def _save(trainer: Any, settings: SftSettings, base: Path, out: Path, dtype: torch.dtype) -> None:
    """Write the result as a model folder, adapters merged in, the base's other parts linked."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    if settings.lora is not None:
        model.save_pretrained(str(out / "adapter"))
        model = model.merge_and_unload()
    model.config.use_cache = True
    model.to(dtype).save_pretrained(str(out / "model"))
    for name in KEPT_FILES:
        if (base / name).is_file():
            shutil.copyfile(base / name, out / "model" / name)
    for name in (DECODER_FOLDER, TOKENIZER_NAME):
        places = [place for place in (base / name, base.parent / name) if place.is_dir()]
        link = out / "model" / name
        if places and not link.exists():
            link.symlink_to(places[0].resolve(), target_is_directory=True)


def _mixture(settings: SftSettings, base: Path) -> Mixture:
    sources = [
        source.model_copy(update={"path": resolve_path(settings, source.path)})
        for source in settings.data
    ]
    return read_mixture(
        sources,
        TextTokenizer.load(base),
        preferred_encoding(base),
        max_tokens=settings.max_tokens,
        dev_share=settings.dev_share,
        seed=settings.seed,
        cache=resolve_path(settings, settings.out) / "examples" if settings.cached else None,
    )


def _steps(settings: SftSettings, mixture: Mixture) -> int:
    """Return the optimiser steps of the run over all devices."""
    if settings.steps is not None:
        return settings.steps
    one_pass = PackedBatches(mixture.train, settings.tokens, settings.seed).per_pass
    together = settings.accumulate * int(os.environ.get("WORLD_SIZE", "1"))
    return max(1, math.ceil(settings.epochs * one_pass / together))


def _trainer(settings: SftSettings, model: Any, mixture: Mixture, tokenizer: TextTokenizer) -> Any:
    """Return the Trainer, with data, noise and what is looked at on the way."""
    steps = _steps(settings, mixture)
    out = resolve_path(settings, settings.out)
    arguments = _arguments(settings, out, steps, has_dev=bool(mixture.dev))
    count = steps * settings.accumulate * arguments.world_size
    noise = (settings.noise, tokenizer) if settings.noise.is_on else None
    by_edit: dict[str, list[Example]] = {}
    for one in mixture.dev:
        by_edit.setdefault(one.edit, []).append(one)
    dev = {
        edit: PackedBatches(rows, settings.tokens, settings.seed)
        for edit, rows in sorted(by_edit.items())
    }
    watchers: list[Any] = []
    if settings.save_minutes is not None:
        watchers.append(SaveByClock(settings.save_minutes))
    if settings.free_runs is not None:
        watchers.append(FreeRuns(mixture.dev, settings.free_runs, TokenLayout.of(tokenizer)))
    trainer = SftTrainer(
        model=model,
        args=arguments,
        train_dataset=PackedBatches(mixture.train, settings.tokens, settings.seed, count, noise),
        eval_dataset=dev or None,
        data_collator=partial(collate, aligned=model.config.source_alignment is not None),
        callbacks=watchers,
        smoothing=settings.label_smoothing,
    )
    for watcher in watchers:
        watcher.trainer = trainer
    return trainer


def train_sft(settings: SftSettings) -> Iterator[str]:
    """Fine-tune, or go on from the last checkpoint; yield lines that say what was done.

    Raises:
        StepeditError: if there is nothing to train on, or a file is missing or damaged.
    """
    base, out = resolve_path(settings, settings.model), resolve_path(settings, settings.out)
    if out == base or base.is_relative_to(out / "model"):
        raise StepeditError(f"{out}: the result would overwrite the model that it starts from")
    mixture = _mixture(settings, base)
    yield f"{len(mixture.train)} examples to train on, {len(mixture.dev)} to validate on"
    for reason, count in sorted(mixture.skipped.items()):
        yield f"left out {count}: {reason}"
    dtype = getattr(read_config(base)[0], "dtype", None) or torch.bfloat16
    model: Any = load_step1(base, dtype=torch.float32).train()
    model.requires_grad_(True)
    model.config.use_cache = False
    if settings.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    if settings.lora is not None:
        model = _with_adapters(model, settings.lora, settings.seed)
    trainer = _trainer(settings, model, mixture, TextTokenizer.load(base))
    found = complete_checkpoint(out)
    done = trainer.train(resume_from_checkpoint=str(found) if found else None)
    trainer.save_state()
    if trainer.is_world_process_zero():
        _save(trainer, settings, base, out, dtype)
    yield f"{done.global_step} steps, mean loss {done.training_loss:.4f}; model in {out / 'model'}"
