"""Low-rank adapters of the language model."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field

from stepedit_core.errors import MissingDependencyError
from stepedit_train.settings import Settings

__all__ = ["LoraSettings", "with_adapters"]

ADAPTED = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class LoraSettings(Settings):
    """Low-rank adapters (Hu et al. 2021) on all linear layers of the stack."""

    rank: int = Field(default=32, ge=1)
    """Rank."""
    alpha: int = Field(default=64, ge=1)
    """Scale; the adapter's output is multiplied by alpha / rank."""
    dropout: float = Field(default=0.05, ge=0, lt=1)
    """Before the adapter."""


def with_adapters(model: Any, lora: LoraSettings, seed: int) -> Any:
    """Return the model with adapters, which alone are trained.

    Raises:
        MissingDependencyError: if peft is not installed.
    """
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
