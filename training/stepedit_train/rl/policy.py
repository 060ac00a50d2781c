"""The policy that is trained, and the reference that it is compared with."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stepedit_core.models.lm.step1.loading import read_config
from stepedit_core.models.lm.token_layout import TokenLayout
from stepedit_train.export import save_pretrained
from stepedit_train.lm.adapters import with_adapters
from stepedit_train.lm.training import load_for_training, save_model_folder
from stepedit_train.precision import arithmetic
from stepedit_train.rl.layout import AnswerRow
from stepedit_train.rl.log_probs import (
    TokenLogProbs,
    collate_answers,
    parts_within,
    token_log_probs,
)
from stepedit_train.rl.settings import RlSettings

__all__ = ["Reference", "ScalarHead", "load_policy", "log_probs_of", "plain_model", "save_policy"]


def load_policy(settings: RlSettings, base: Path, seed: int | None = None) -> Any:
    """Return the model in float32, with adapters where they are asked for.

    Nothing in it is random: ratios of probabilities would mean nothing.

    Args:
        settings: of the stage.
        base: folder of the model.
        seed: of the adapters; None is the run's.

    Raises:
        CheckpointError: if a file of the folder is missing or damaged.
    """
    model = load_for_training(settings, base)
    if settings.lora is not None:
        still = settings.lora.model_copy(update={"dropout": 0.0})
        model = with_adapters(model, still, settings.seed if seed is None else seed)
    return model


def plain_model(model: Any) -> Any:
    """Return the language model itself, adapters inside its layers."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def save_policy(model: Any, settings: RlSettings, base: Path, out: Path) -> None:
    """Write the result as a model folder, adapters merged in."""
    dtype = getattr(read_config(base)[0], "dtype", None) or torch.bfloat16
    model = model.cpu()
    if settings.lora is not None:
        save_pretrained(model, out / "adapter")
        model = model.merge_and_unload()
    save_model_folder(model, base, out / "model", dtype)


class Reference:
    """The model as it was before training: a frozen copy, or the weights under the adapters."""

    def __init__(self, policy: Any, settings: RlSettings) -> None:
        self._copy: Any = None
        if settings.lora is None:
            self._copy = copy.deepcopy(policy).eval().requires_grad_(False)

    def to(self, device: torch.device) -> None:
        """Move the copy to a device."""
        if self._copy is not None:
            self._copy.to(device)

    @contextmanager
    def using(self, policy: Any) -> Iterator[Any]:
        """Give the model to ask."""
        if self._copy is not None:
            yield self._copy
            return
        with policy.disable_adapter():
            yield policy


@torch.no_grad()
def log_probs_of(
    model: Any,
    rows: Sequence[AnswerRow],
    layout: TokenLayout,
    settings: RlSettings,
    device: torch.device,
) -> TokenLogProbs:
    """Return the log probabilities of many answers, read in parts, without a gradient.

    Args:
        model: policy or reference.
        rows: the answers.
        layout: where audio ids lie.
        settings: of the stage.
        device: of the model.
    """
    longest = max(len(row.ids) for row in rows)
    found = [torch.zeros(len(rows), longest, device=device) for _ in range(2)]
    aligned = plain_model(model).config.source_alignment is not None
    for part in parts_within(rows, settings.tokens):
        batch = collate_answers([rows[at] for at in part], aligned=aligned).to(device)
        with arithmetic(settings.precision, device):
            made = token_log_probs(model, batch, layout)
        width = made.chosen.shape[1]
        for place, values in zip(found, made, strict=True):
            place[part, :width] = values
    return TokenLogProbs(*found)


class ScalarHead(nn.Module):
    """One number for each hidden state; 0 before it is trained."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 1)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, states: Tensor) -> Tensor:
        """Return float32 ``(rows, tokens)`` of ``(rows, tokens, width)``."""
        values: Tensor = self.linear(states).squeeze(-1)
        return values.float()
