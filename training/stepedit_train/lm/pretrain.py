"""The ``pretrain`` stage: text, codes, and speech with its words, before ``sft``."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pydantic import Field

from stepedit_core.errors import counted
from stepedit_core.models.lm.chat import MAX_TOKENS
from stepedit_core.models.lm.step1.loading import read_config
from stepedit_core.models.text import load_tokenizer
from stepedit_core.models.text.base import TextTokenizer
from stepedit_train.lm.callbacks import SaveByClock
from stepedit_train.lm.mixture import (
    PackedBatches,
    PretrainMixture,
    PretrainSource,
    Rows,
    collate,
    read_sources,
)
from stepedit_train.lm.trainer import PretrainTrainer
from stepedit_train.lm.training import (
    LanguageModelSettings,
    base_and_out,
    load_for_training,
    planned_steps,
    save_model_folder,
    train_or_stop,
    training_arguments,
)
from stepedit_train.settings import resolve_path

__all__ = [
    "PretrainSettings",
    "train_pretrain",
]


class PretrainSettings(LanguageModelSettings):
    """Settings of the pretrain stage; the defaults are for the 3B model."""

    data: tuple[PretrainSource, ...] = Field(min_length=1)
    """Sources of rows: their folders, kinds and shares of an epoch."""
    max_tokens: int = Field(default=MAX_TOKENS, ge=16)
    """Longer texts and code streams are cut; longer rows with both parts are left out."""
    dev_share: float = Field(default=0.02, ge=0, lt=1)
    """Part of the speakers and documents that is kept for validation, besides recordings that
    their cache keeps for it; 0 validates on nothing."""
    dev_rows: int = Field(default=200, ge=1)
    """Rows of a kind that validation takes at most."""


def _mixture(settings: PretrainSettings, tokenizer: TextTokenizer, out: Path) -> PretrainMixture:
    sources = [
        source.model_copy(update={"path": resolve_path(settings, source.path)})
        for source in settings.data
    ]
    return read_sources(
        sources,
        tokenizer,
        max_tokens=settings.max_tokens,
        dev_share=settings.dev_share,
        dev_rows=settings.dev_rows,
        seed=settings.seed,
        folder=out / "rows",
    )


def _batches(settings: PretrainSettings, rows: Rows, count: int | None = None) -> PackedBatches:
    return PackedBatches(rows, settings.tokens, settings.seed, count, lengths=rows.lengths)


def _trainer(
    settings: PretrainSettings, model: Any, mixture: PretrainMixture, tokenizer: TextTokenizer
) -> PretrainTrainer:
    steps = planned_steps(settings, mixture.train, mixture.train.lengths)
    out = resolve_path(settings, settings.out)
    arguments = training_arguments(settings, out, steps, has_dev=bool(mixture.dev))
    count = steps * settings.accumulate * arguments.world_size
    watchers = [] if settings.save_minutes is None else [SaveByClock(settings.save_minutes)]
    return PretrainTrainer(
        model=model,
        args=arguments,
        train_dataset=_batches(settings, mixture.train, count),
        eval_dataset={kind: _batches(settings, rows) for kind, rows in mixture.dev.items()} or None,
        data_collator=partial(collate, aligned=model.config.source_alignment is not None),
        callbacks=watchers,
        tokenizer=tokenizer,
    )


def _counts(mixture: PretrainMixture) -> Iterator[str]:
    """Yield what there is to train on, and what was left out."""
    for kind, (rows, tokens) in mixture.train.sizes().items():
        held = len(mixture.dev.get(kind, ()))
        yield (
            f"{kind}: {counted(rows, 'row')} of {tokens} tokens to train on, "
            f"{counted(held, 'row')} to validate on"
        )
    for reason, count in sorted(mixture.skipped.items()):
        yield f"left out {count}: {reason}"


def train_pretrain(settings: PretrainSettings) -> Iterator[str]:
    """Train, or go on from the last checkpoint; yield lines that say what was done.

    Raises:
        StepeditError: if there is nothing to train on, or a file is missing or damaged.
    """
    base, out = base_and_out(settings, settings.model)
    dtype = getattr(read_config(base)[0], "dtype", None) or torch.bfloat16
    tokenizer = load_tokenizer(base)
    mixture = _mixture(settings, tokenizer, out)
    yield from _counts(mixture)
    trainer = _trainer(settings, load_for_training(settings, base), mixture, tokenizer)
    done, stopped = train_or_stop(trainer, out)
    if stopped is not None:
        yield stopped
        return
    if trainer.is_world_process_zero():
        model = trainer.accelerator.unwrap_model(trainer.model)
        save_model_folder(model, base, out / "model", dtype)
    trainer.accelerator.wait_for_everyone()  # the next phase begins with what is saved
    yield (
        f"{counted(done.global_step, 'step')}, mean loss "
        f"{done.training_loss:.4f}; model in {out / 'model'}"
    )
