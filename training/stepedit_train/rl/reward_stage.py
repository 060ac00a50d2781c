"""The ``reward`` stage: train a reward model on preferences."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from pydantic import Field
from torch import Tensor

from stepedit_core.errors import StepeditError, counted
from stepedit_train.batching import BatchPlan, pack_batches
from stepedit_train.checkpoints import seed_everything
from stepedit_train.lm.training import base_and_out
from stepedit_train.loop import Losses, Task, run_loop
from stepedit_train.precision import arithmetic
from stepedit_train.rl.layout import READING, Vocabulary
from stepedit_train.rl.log_probs import AnswerBatch, collate_answers
from stepedit_train.rl.losses import bradley_terry_loss
from stepedit_train.rl.policy import load_policy, plain_model, save_policy
from stepedit_train.rl.preferences import (
    Preference,
    Preferences,
    PreferenceSource,
    read_preferences,
)
from stepedit_train.rl.reward_model import RewardModel, calibration_error, save_head
from stepedit_train.rl.settings import RlSettings, planned
from stepedit_train.settings import resolve_path

__all__ = ["RewardModelSettings", "digest_of", "pair_batches", "train_reward"]


class RewardModelSettings(RlSettings):
    """Settings of the reward stage; the defaults are the published ones, for the 3B model."""

    data: tuple[PreferenceSource, ...]
    """Folders of preferences."""
    learning_rate: float = Field(default=2e-5, gt=0)
    """Start of the cosine."""
    final_learning_rate: float = Field(default=1e-5, ge=0)
    """End of the cosine."""
    head_pace: float = Field(default=1.0, gt=0)
    """Learning rate of the new head, as a multiple of the model's."""


class RewardTask(Task):
    """Preferences, and the likelihood of Bradley and Terry."""

    def __init__(
        self, model: RewardModel, data: Preferences, settings: RewardModelSettings
    ) -> None:
        self.model: RewardModel = model
        self.data, self.settings = data, settings
        self.aligned = plain_model(model.model).config.source_alignment is not None

    def parameter_groups(self) -> list[dict[str, object]]:
        """Return the stack and, at its own pace, the head."""
        stack = [weight for weight in self.model.model.parameters() if weight.requires_grad]
        head = list(self.model.head.parameters())
        return [{"params": stack}, {"params": head, "pace": self.settings.head_pace}]

    def batch(self, indices: Sequence[int], step: int) -> AnswerBatch:
        """Return the better answers and, after them, the worse ones."""
        return self._joined([self.data.train[index] for index in indices])

    def _joined(self, pairs: Sequence[Preference]) -> AnswerBatch:
        rows = [one.chosen for one in pairs] + [one.rejected for one in pairs]
        return collate_answers(rows, aligned=self.aligned).to(self.device)

    def loss(self, batch: AnswerBatch) -> Losses:
        """Return the loss, and the share of preferences that the scores agree with."""
        better, worse = self.model(batch).chunk(2)
        loss = bradley_terry_loss(better, worse)
        gap = (better - worse).detach()
        parts = {"accuracy": float((gap > 0).float().mean()), "margin": float(gap.mean())}
        return Losses(loss, parts)

    def margins(self, pairs: Sequence[Preference]) -> tuple[list[float], Tensor]:
        """Return each better answer's margin, and the scores of all answers."""
        found: list[float] = [0.0] * len(pairs)
        scores: list[Tensor] = []
        costs = [float(one.tokens) for one in pairs]
        order = sorted(range(len(pairs)), key=costs.__getitem__)
        for part in pack_batches(costs, order, self.settings.tokens):
            with arithmetic(self.settings.precision, self.device):
                made = self.model(self._joined([pairs[at] for at in part])).float().cpu()
            better, worse = made.chunk(2)
            scores.append(made)
            for at, gap in zip(part, (better - worse).tolist(), strict=True):
                found[at] = gap
        return found, torch.cat(scores) if scores else torch.zeros(0)

    def validate(self) -> Mapping[str, float]:
        """Return agreement with held-out speakers' preferences, of each source and edit apart."""
        pairs = self.data.dev
        if not pairs:
            return {}
        gaps, _ = self.margins(pairs)
        right: dict[str, list[bool]] = {}
        for one, gap in zip(pairs, gaps, strict=True):
            for name in ("accuracy", f"accuracy_by_{one.by}", f"accuracy_{one.edit}"):
                right.setdefault(name, []).append(gap > 0)
        figures = {name: sum(each) / len(each) for name, each in sorted(right.items())}
        loss = float(-torch.nn.functional.logsigmoid(torch.tensor(gaps)).mean())
        return {"loss": loss, "calibration_error": calibration_error(gaps), **figures}


def digest_of(pairs: Sequence[Preference]) -> str:
    """Return a hash of preferences, so that a run does not go on with others."""
    digest = hashlib.sha256()
    for one in pairs:
        digest.update(f"{one.name} {one.edit} {one.by}\n".encode())
        for row in (one.chosen, one.rejected):
            digest.update(row.ids.tobytes())
    return digest.hexdigest()[:16]


def pair_batches(pairs: Sequence[Preference], settings: RlSettings) -> BatchPlan:
    """Return the order of preferences in batches of about the budget's tokens."""
    return BatchPlan([float(one.tokens) for one in pairs], settings.budget, settings.seed)


def train_reward(settings: RewardModelSettings) -> Iterator[str]:
    """Train a reward model, or go on; yield lines that say what was done.

    Raises:
        StepeditError: if there is nothing to train on, or a file is missing or damaged.
    """
    base, out = base_and_out(settings, settings.model)
    data = _preferences(settings, base)
    yield f"{len(data.train)} preferences to train on, {len(data.dev)} to validate on"
    for reason, count in sorted(data.skipped.items()):
        yield f"left out {count}: {reason}"
    seed_everything(settings.seed)
    policy = load_policy(settings, base)
    model = RewardModel(policy, int(plain_model(policy).config.hidden_size))
    plan = pair_batches(data.train, settings)
    settings = settings.model_copy(update={"steps": planned(settings, plan).steps})
    task = RewardTask(model, data, settings)
    done = run_loop(task, plan, settings, out, digest_of([*data.train, *data.dev]))
    if done.step < settings.steps:
        yield f"stopped after {counted(done.step, 'step')}, as asked; call again to go on"
        return
    with torch.inference_mode():
        task.model.eval()
        figures = task.validate()
        _, scores = task.margins(data.train[:200])
    model.centre.fill_(float(scores.mean()))
    model.spread.fill_(max(1e-6, float(scores.std())))
    save_policy(policy, settings, base, out)
    save_head(model, out / "model")
    told = ", ".join(f"{name} {value:.3f}" for name, value in figures.items())
    yield (
        f"{counted(done.step, 'step')}; held-out speakers: {told or 'none'}; "
        f"model in {out / 'model'}"
    )


def _preferences(settings: RewardModelSettings, base: Path) -> Preferences:
    place = partial(resolve_path, settings)
    sources = [one.model_copy(update={"path": place(one.path)}) for one in settings.data]
    if not sources:
        raise StepeditError("data names no folder of preferences")
    return read_preferences(
        sources,
        Vocabulary.of_folder(base),
        READING,
        max_tokens=settings.max_tokens,
        dev_share=settings.dev_share,
        seed=settings.seed,
    )
