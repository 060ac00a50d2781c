"""The ``sft`` stage: fine-tune the language model on pairs with the transformers Trainer."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import Field

from stepedit_core.errors import counted
from stepedit_core.models.lm.chat import preferred_encoding
from stepedit_core.models.lm.step1.loading import read_config
from stepedit_core.models.lm.token_layout import TokenLayout
from stepedit_core.models.text import load_tokenizer
from stepedit_core.models.text.base import TextTokenizer
from stepedit_train.export import save_pretrained
from stepedit_train.lm.adapters import LoraSettings, with_adapters
from stepedit_train.lm.callbacks import GenerationEval, GenerationEvalSettings, SaveByClock
from stepedit_train.lm.mixture import (
    Mixture,
    PackedBatches,
    Source,
    collate,
    pair_sources,
    reading_mixture,
)
from stepedit_train.lm.noise import NoiseSettings
from stepedit_train.lm.rows import Example
from stepedit_train.lm.trainer import SftTrainer
from stepedit_train.lm.training import (
    LanguageModelSettings,
    base_and_out,
    load_for_training,
    planned_steps,
    save_model_folder,
    train_or_stop,
    training_arguments,
)
from stepedit_train.settings import MixtureRow, MixtureSettings, resolve_path

__all__ = [
    "LoraSettings",
    "SftSettings",
    "train_sft",
]


class SftSettings(MixtureSettings, LanguageModelSettings):
    """Settings of the sft stage; the defaults are for the 3B model."""

    renamed: ClassVar[Mapping[str, str]] = {"free_runs": "generation_eval"}

    data: tuple[Source, ...]
    """Folders of `stepedit pairs`, or files of pre-tokenised examples."""
    cached: bool = True
    """Keep pre-tokenised rows in ``out``, so that a resumed run need not read them again."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Part of the target's probability that is spread over the vocabulary."""
    noise: NoiseSettings = NoiseSettings()
    """Noise on the codes of source and answer that the model reads."""
    lora: LoraSettings | None = None
    """Train adapters instead of all weights."""
    generation_eval: GenerationEvalSettings | None = None
    """Free-running decoding on validation rows now and then; needs ``dev_share``."""

    @classmethod
    def of_mixture(cls, rows: Sequence[MixtureRow]) -> dict[str, Any]:
        """Return the pair folders with their shares."""
        return {"data": pair_sources(rows)}


def _save(trainer: Any, settings: SftSettings, base: Path, out: Path, dtype: torch.dtype) -> None:
    """Write the result as a model folder, adapters merged in, the base's other parts copied."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    if settings.lora is not None:
        save_pretrained(model, out / "adapter")
        model = model.merge_and_unload()
    save_model_folder(model, base, out / "model", dtype)


def _mixture(settings: SftSettings, base: Path) -> Generator[str, None, Mixture]:
    sources = [
        source.model_copy(update={"path": resolve_path(settings, source.path)})
        for source in settings.data
    ]
    return reading_mixture(
        sources,
        load_tokenizer(base),
        preferred_encoding(base),
        max_tokens=settings.max_tokens,
        dev_share=settings.dev_share,
        seed=settings.seed,
        cache=resolve_path(settings, settings.out) / "examples" if settings.cached else None,
    )


def _trainer(settings: SftSettings, model: Any, mixture: Mixture, tokenizer: TextTokenizer) -> Any:
    """Return the Trainer, with data, noise and what is looked at on the way."""
    steps = planned_steps(settings, mixture.train)
    out = resolve_path(settings, settings.out)
    arguments = training_arguments(settings, out, steps, has_dev=bool(mixture.dev))
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
    if settings.generation_eval is not None:
        watchers.append(
            GenerationEval(mixture.dev, settings.generation_eval, TokenLayout.of(tokenizer))
        )
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
    base, out = base_and_out(settings, settings.model)
    mixture = yield from _mixture(settings, base)
    yield f"{len(mixture.train)} examples to train on, {len(mixture.dev)} to validate on"
    for reason, count in sorted(mixture.skipped.items()):
        yield f"left out {count}: {reason}"
    dtype = getattr(read_config(base)[0], "dtype", None) or torch.bfloat16
    model = load_for_training(settings, base)
    if settings.lora is not None:
        model = with_adapters(model, settings.lora, settings.seed)
    trainer = _trainer(settings, model, mixture, load_tokenizer(base))
    done, stopped = train_or_stop(trainer, out)
    if stopped is not None:
        yield stopped
        return
    if trainer.is_world_process_zero():
        _save(trainer, settings, base, out, dtype)
    trainer.accelerator.wait_for_everyone()  # the next phase begins with what is saved
    yield (
        f"{counted(done.global_step, 'step')}, mean loss "
        f"{done.training_loss:.4f}; model in {out / 'model'}"
    )
