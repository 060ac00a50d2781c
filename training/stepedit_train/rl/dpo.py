"""The ``dpo`` stage: direct preference optimisation under the grammar of sampling."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from stepedit_core.config import GenerationPolicy, SamplingConfig
from stepedit_core.errors import counted
from stepedit_core.models.checkpoint.model_files import folder_sampling
from stepedit_core.models.lm.framing import Rules
from stepedit_train.batching import pack_batches
from stepedit_train.checkpoints import seed_everything
from stepedit_train.lm.training import base_and_out
from stepedit_train.loop import Losses, Task, run_loop
from stepedit_train.precision import arithmetic
from stepedit_train.rl.layout import Vocabulary
from stepedit_train.rl.log_probs import AnswerBatch, collate_answers, token_log_probs
from stepedit_train.rl.losses import DpoKind, dpo_loss
from stepedit_train.rl.policy import Reference, load_policy, plain_model, save_policy
from stepedit_train.rl.preferences import (
    Preference,
    Preferences,
    PreferenceSource,
    read_preferences,
)
from stepedit_train.rl.reward_stage import digest_of, pair_batches
from stepedit_train.rl.settings import RlSettings, planned
from stepedit_train.settings import resolve_path

__all__ = ["DpoSettings", "rules_of", "train_dpo"]


class DpoSettings(RlSettings):
    """Settings of the dpo stage; the defaults are for the 3B model."""

    data: tuple[PreferenceSource, ...]
    """Folders of preferences."""
    beta: float = Field(default=0.1, gt=0)
    """Strength of the tie to the model that the run begins with."""
    loss_kind: DpoKind = "sigmoid"
    """``sigmoid`` (DPO), ``ipo`` or ``hinge``."""
    reference_free: bool = False
    """Compare probabilities themselves, with no reference in memory."""
    chosen_share: float = Field(default=0.0, ge=0)
    """Weight of the better answers' own likelihood, which otherwise tends to fall, too."""
    temperature: float | None = Field(default=None, gt=0)
    """Temperature that answers are taken to be drawn at; None: the model's own."""


def rules_of(base: Path, temperature: float | None = None) -> Rules:
    """Return the rules of sampling of a model folder, at another temperature where one is given."""
    sampling, policy = folder_sampling(base)
    chosen = SamplingConfig() if temperature is None else SamplingConfig(temperature=temperature)
    return Rules(chosen.filled(sampling), GenerationPolicy().filled(policy))


class DpoTask(Task):
    """Preferences, and the loss of DPO."""

    def __init__(
        self, model: Any, data: Preferences, settings: DpoSettings, vocabulary: Vocabulary
    ) -> None:
        self.model = model
        self.data, self.settings = data, settings
        self.layout = vocabulary.layout
        self.reference = None if settings.reference_free else Reference(model, settings)
        self.aligned = plain_model(model).config.source_alignment is not None

    def batch(self, indices: Sequence[int], step: int) -> list[AnswerBatch]:
        """Return preferences in parts, of each the better answers before the worse ones."""
        return self._parts([self.data.train[index] for index in indices])

    def _parts(self, pairs: Sequence[Preference]) -> list[AnswerBatch]:
        """Return preferences as batches that the model reads one after the other.

        Answers to one request share its prompt, which is read once where they are a part by
        themselves (`shared_prompt`): half of the time on a CPU. An accelerator would rather read
        many rows at once, and where activations are made again nothing can be shared.
        """
        if self.settings.gradient_checkpointing or self.device.type != "cpu":
            return [self._joined(pairs)]
        requests: dict[tuple[int, ...], list[Preference]] = {}
        for one in pairs:
            requests.setdefault(tuple(one.chosen.prompt), []).append(one)
        return [self._joined(own) for own in requests.values()]

    def _joined(self, pairs: Sequence[Preference]) -> AnswerBatch:
        rows = [one.chosen for one in pairs] + [one.rejected for one in pairs]
        return collate_answers(rows, aligned=self.aligned).to(self.device)

    def _log_ratios(self, batch: AnswerBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Return log ratios of answers, their log probabilities, and their decisions' count."""
        log_probs = token_log_probs(self.model, batch, self.layout).chosen.sum(1)
        known = torch.zeros_like(log_probs)
        if self.reference is not None:
            self.reference.to(self.device)
            with torch.no_grad(), self.reference.using(self.model) as model:
                known = token_log_probs(model, batch, self.layout).chosen.sum(1)
        return log_probs - known, log_probs, batch.drawn.sum(1).float()

    def loss(self, batch: Sequence[AnswerBatch]) -> Losses:
        """Return the loss, and how much more likely the better answers have become."""
        halves = [[value.chunk(2) for value in self._log_ratios(part)] for part in batch]
        (chosen, rejected), (likely, _), lengths = (
            (torch.cat([better for better, _ in own]), torch.cat([worse for _, worse in own]))
            for own in zip(*halves, strict=True)
        )
        loss = dpo_loss(
            chosen,
            rejected,
            beta=self.settings.beta,
            kind=self.settings.loss_kind,
            lengths=(lengths[0], lengths[1]),
        )
        if self.settings.chosen_share:
            likelihood = likely.sum() / lengths[0].sum().clamp(min=1)
            loss = loss - self.settings.chosen_share * likelihood
        gap = (chosen - rejected).detach()
        parts = {
            "accuracy": float((gap > 0).float().mean()),
            "margin": self.settings.beta * float(gap.mean()),
            "chosen": float(chosen.detach().mean()),
            "rejected": float(rejected.detach().mean()),
        }
        return Losses(loss, parts)

    def validate(self) -> Mapping[str, float]:
        """Return the mean loss over held-out speakers' preferences, and the share agreed with."""
        pairs = self.data.dev
        sums: dict[str, float] = {}
        costs = [float(one.tokens) for one in pairs]
        for part in pack_batches(costs, range(len(pairs)), self.settings.tokens):
            with arithmetic(self.settings.precision, self.device):
                losses = self.loss(self._parts([pairs[at] for at in part]))
            for name, value in {"loss": losses.total.item(), **losses.parts}.items():
                sums[name] = sums.get(name, 0.0) + value * len(part) / len(pairs)
        return sums


def train_dpo(settings: DpoSettings) -> Iterator[str]:
    """Optimise on preferences, or go on; yield lines that say what was done.

    Raises:
        StepeditError: if there is nothing to train on, or a file is missing or damaged.
    """
    base, out = base_and_out(settings, settings.model)
    vocabulary = Vocabulary.of_folder(base)
    place = partial(resolve_path, settings)
    data = read_preferences(
        [one.model_copy(update={"path": place(one.path)}) for one in settings.data],
        vocabulary,
        rules_of(base, settings.temperature),
        max_tokens=settings.max_tokens,
        dev_share=settings.dev_share,
        seed=settings.seed,
    )
    yield f"{len(data.train)} preferences to train on, {len(data.dev)} to validate on"
    for reason, count in sorted(data.skipped.items()):
        yield f"left out {count}: {reason}"
    seed_everything(settings.seed)
    plan = pair_batches(data.train, settings)
    settings = settings.model_copy(update={"steps": planned(settings, plan).steps})
    model = load_policy(settings, base)
    task = DpoTask(model, data, settings, vocabulary)
    done = run_loop(task, plan, settings, out, digest_of([*data.train, *data.dev]))
    if done.step < settings.steps:
        yield f"stopped after {counted(done.step, 'step')}, as asked; call again to go on"
        return
    save_policy(model, settings, base, out)
    yield f"{counted(done.step, 'step')}; model in {out / 'model'}"
