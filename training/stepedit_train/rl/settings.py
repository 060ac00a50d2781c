"""Settings that all stages of this package have."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from stepedit_core.models.lm.chat import MAX_TOKENS
from stepedit_train.batching import BatchPlan
from stepedit_train.lm.adapters import LoraSettings
from stepedit_train.loop import LoopSettings
from stepedit_train.precision import Precision
from stepedit_train.settings import resolve_path

__all__ = ["RlSettings", "planned"]


class RlSettings(LoopSettings):
    """Settings of learning from preferences and rewards; the defaults are for the 3B model."""

    scaled: ClassVar[tuple[str, ...]] = ("epochs", "steps", "warmup", "validate_every")
    begins: ClassVar[tuple[str, ...]] = ()
    continues: ClassVar[tuple[str, str]] = ("model", "model")
    free: ClassVar[frozenset[str]] = LoopSettings.free - {"cache", "start"} | {"tokens"}

    model: Path
    """Folder of the language model to start from, usually one of ``sft``."""
    weights: str | None = None
    """Start from the model's weights for some of its edits, by their name in its sampling.json."""
    out: Path
    """Folder of the run; the result is ``model`` in it."""
    epochs: float = Field(default=1.0, gt=0)
    """Passes over the data."""
    steps: int = Field(default=0, ge=0)
    """Steps, instead of epochs; 0: as many as the epochs take."""
    budget: float = Field(default=16_384.0, gt=0)
    """Tokens in a step, padding included."""
    tokens: int = Field(default=16_384, ge=1)
    """Tokens that the model reads at once, padding included; more are read in parts."""
    max_tokens: int = Field(default=MAX_TOKENS, ge=16)
    """Longer prompts with their answers are left out."""
    learning_rate: float = Field(default=1e-6, gt=0)
    """Start of the cosine."""
    final_learning_rate: float = Field(default=2e-7, ge=0)
    """End of the cosine."""
    warmup: int = Field(default=0, ge=0)
    """Steps of linear rise."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Weight decay of AdamW."""
    dev_share: float = Field(default=0.05, ge=0, lt=1)
    """Part of the speakers that is kept for validation."""
    precision: Precision = "auto"
    """Precision; weights stay float32. ``auto`` is bfloat16 where an accelerator has it."""
    gradient_checkpointing: bool = True
    """Compute activations again in the backward pass, to save memory."""
    lora: LoraSettings | None = None
    """Train adapters instead of all weights; their dropout is not used here."""
    start: None = None
    """Not used: ``model`` is what a run begins with."""

    def is_finished(self) -> bool:
        """Whether the run has written its model."""
        return (resolve_path(self, self.out) / "model" / "config.json").is_file()


def planned(settings: RlSettings, plan: BatchPlan) -> RlSettings:
    """Return the settings with the number of steps that their epochs take."""
    if settings.steps:
        return settings
    steps = max(1, round(settings.epochs * len(plan.epoch(0))))
    return settings.model_copy(update={"steps": steps})
