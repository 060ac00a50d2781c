"""The ``ppo`` stage: proximal policy optimisation with a critic and rewards of single tokens.

After Step-Audio-EditX (arXiv:2511.03601): clip 0.2, a divergence of 0.05 from the model of
supervised fine-tuning, a critic that is warmed up for 80 steps before the actor moves, the actor's
learning rate on a cosine from 1e-6 to 2e-7, and the requests that this model answers worst.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from stepedit_core.models.lm.constraints import CODE_COUNT
from stepedit_train.checkpoints import seed_everything
from stepedit_train.lm.training import base_and_out
from stepedit_train.loop import LoopSettings, Losses, learning_rate
from stepedit_train.precision import arithmetic
from stepedit_train.rl.layout import AnswerRow
from stepedit_train.rl.log_probs import (
    AnswerBatch,
    answer_states,
    token_log_probs,
)
from stepedit_train.rl.losses import (
    advantages_over_time,
    clipped_value_loss,
    kl_estimate,
    whitened,
)
from stepedit_train.rl.online import (
    Experience,
    OnlineSettings,
    OnlineTask,
    engine_and_prompts,
    hardest_of,
    train_online,
    what_is_asked,
)
from stepedit_train.rl.policy import (
    ScalarHead,
    load_policy,
    log_probs_of,
    plain_model,
)
from stepedit_train.settings import resolve_path

__all__ = ["Critic", "PpoSettings", "PpoTask", "token_rewards", "train_ppo"]


class PpoSettings(OnlineSettings):
    """Settings of the ppo stage; the defaults are the published ones, for the 3B model."""

    budget: float = Field(default=32.0, ge=1)
    """Requests in a step."""
    answers: int = Field(default=1, ge=1)
    """Answers to each request."""
    passes: int = Field(default=2, ge=1)
    """Times that the optimiser goes over the answers of a step."""
    minibatches: int = Field(default=2, ge=1)
    """Parts of a step's answers; the optimiser moves once after each."""
    hardest: float = Field(default=0.25, gt=0, le=1)
    """Share of the requests that is trained on: those with the lowest rewards before training."""
    kl: float = Field(default=0.05, ge=0)
    """Penalty on a token's reward for each nat of log-ratio to the reference."""
    critic: Path | None = None
    """Model that the critic begins as, such as the reward model; None: the one that is trained."""
    critic_warmup: int = Field(default=80, ge=0)
    """Steps in which the critic alone learns."""
    critic_learning_rate: float = Field(default=5e-6, gt=0)
    """Learning rate of the critic at its start; it falls as the actor's does."""
    value_clip: float = Field(default=0.2, gt=0)
    """Clip range of the critic's values in a step; beyond it, no gradient."""
    decay: float = Field(default=1.0, gt=0, le=1)
    """Discount of later rewards: gamma."""
    smoothing: float = Field(default=0.95, ge=0, le=1)
    """Lambda of generalised advantage estimation."""


class Critic(nn.Module):
    """Estimates the reward that is still to come before each token of an answer."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.head = ScalarHead(int(plain_model(model).config.hidden_size))

    def forward(self, batch: AnswerBatch) -> Tensor:
        """Return values, float32 ``(rows, longest)``."""
        values: Tensor = self.head(answer_states(self.model, batch, batch.ids, -1))
        return values


@dataclass(frozen=True)
class _Targets:
    """Targets of the updates of a step, for all its answers; tensors ``(answers, longest)``."""

    old: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor
    counted: Tensor


def token_rewards(row: AnswerRow, dense: Any) -> np.ndarray:
    """Return the reward of each decision of an answer, ``(n,)``, 0 for what was copied.

    What falls on copied codes counts for the last decision, so that nothing is lost.

    Args:
        row: the answer.
        dense: what each of its codes adds to its reward, copied ones included.
    """
    spoken = row.columns < CODE_COUNT
    made = np.zeros(len(row.ids), np.float32)
    made[spoken] = dense[row.first : row.first + int(spoken.sum())]
    made[~row.drawn] = 0
    last = int(np.flatnonzero(row.drawn)[-1])
    made[last] += float(np.sum(dense)) - float(made.sum())
    return made


class PpoTask(OnlineTask):
    """Actor and critic."""

    token_rewards: ClassVar[bool] = True
    settings: PpoSettings

    def __init__(self, policy: Any, critic: Critic, *args: Any, **kwargs: Any) -> None:
        super().__init__(policy, *args, **kwargs)
        self.critic = critic
        self.model: nn.Module = nn.ModuleDict({"actor": policy, "critic": critic})

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the actor's weights and, at their own pace, the critic's."""
        own = self.settings
        groups = [
            [weight for weight in part.parameters() if weight.requires_grad]
            for part in (self.policy, self.critic)
        ]
        pace = own.critic_learning_rate / own.learning_rate
        return [{"params": groups[0]}, {"params": groups[1], "pace": pace}]

    def rate(self, step: int, settings: LoopSettings) -> float:
        """Return the actor's rate: its cosine begins when the critic is warm."""
        warm = self.settings.critic_warmup
        left = settings.model_copy(update={"steps": max(1, settings.steps - warm)})
        return learning_rate(max(0, step - warm), left)

    @torch.no_grad()
    def _values(self, rows: Sequence[AnswerRow], width: int) -> Tensor:
        found = torch.zeros(len(rows), width, device=self.device)
        for part, batch in self.parts(rows):
            with arithmetic(self.settings.precision, self.device):
                made = self.critic(batch)
            found[part, : made.shape[1]] = made
        return found

    def _targets(self, batch: Experience) -> tuple[_Targets, dict[str, float]]:
        """Return the targets of the updates, and figures for the log."""
        own, rows = self.settings, batch.rows
        old = log_probs_of(self.policy, rows, self.layout, own, self.device)
        reference = self.reference_log_probs(rows)
        assert reference is not None
        width = old.chosen.shape[1]
        rewards, counted = np.zeros((len(rows), width), np.float32), np.zeros((len(rows), width))
        known = batch.known.view(-1).tolist()
        for at, row in enumerate(rows):
            rewards[at, : len(row.ids)] = token_rewards(row, batch.dense[at])
            counted[at, : len(row.ids)] = row.drawn & known[at]
        mask = torch.from_numpy(counted).bool().to(self.device)
        given = torch.from_numpy(rewards).to(self.device) - own.kl * (old.chosen - reference)
        values = self._values(rows, width)
        advantages, returns = advantages_over_time(given, values, mask, own.decay, own.smoothing)
        error = (returns - values)[mask]
        spread = float(returns[mask].var()) if len(error) > 1 else 0.0
        figures = {
            "kl": float(kl_estimate(old.chosen, reference)[mask].mean()),
            "entropy": float(old.entropy[mask].mean()),
            "value_error": float(error.square().mean()),
            "explained": 1 - float(error.var()) / spread if spread > 0 else 0.0,
        }
        return _Targets(old.chosen, values, whitened(advantages, mask), returns, mask), figures

    def update(
        self, optimizer: torch.optim.Optimizer, batch: Experience, settings: LoopSettings
    ) -> Losses:
        """Learn from the answers of a step: the critic always, the actor once that is warm."""
        own = self.settings
        if not bool(batch.known.any()):
            return Losses(torch.zeros(()), {**batch.figures, "skipped": 1.0})
        self.model.train()
        targets, figures = self._targets(batch)
        is_warm = self.step >= own.critic_warmup

        def move(part: Sequence[int]) -> dict[str, float]:
            return self._move(optimizer, batch.rows, part, targets, is_warm)

        figures |= self.moves(len(batch.rows), move)[0]
        loss = figures["policy_loss"] + figures["value_loss"]
        everything = {
            **batch.figures,
            **figures,
            "loss": loss,
            "warm": float(is_warm),
            "skipped": 0.0,
        }
        return Losses(torch.tensor(loss), everything)

    def _move(
        self,
        optimizer: torch.optim.Optimizer,
        rows: Sequence[AnswerRow],
        chosen: Sequence[int],
        targets: _Targets,
        is_warm: bool,
    ) -> dict[str, float]:
        """Move the optimiser once, after a part of the answers; return figures."""
        own = self.settings
        weights = targets.counted[list(chosen)].float()
        weights = weights / weights.sum().clamp(min=1)
        optimizer.zero_grad(set_to_none=True)
        sums = dict.fromkeys(("policy_loss", "value_loss", "clipped"), 0.0)
        own_rows = [rows[at] for at in chosen]
        for part, batch in self.parts(own_rows):
            places, width = [chosen[at] for at in part], batch.columns.shape[1]
            share = weights[part, :width]
            held = {name: value[places, :width] for name, value in vars(targets).items()}
            with arithmetic(own.precision, self.device):
                values = self.critic(batch)
            loss = clipped_value_loss(
                values, held["values"], held["returns"], own.value_clip, share
            )
            sums["value_loss"] += float(loss.detach())
            if is_warm:
                policy, acts = self._policy_loss(batch, held)
                sums["clipped"] += float((acts.float() * share).sum())
                sums["policy_loss"] += float((policy.detach() * share).sum())
                loss = loss + (policy * share).sum()
            loss.backward()  # type: ignore[no-untyped-call]
        norms = [
            float(nn.utils.clip_grad_norm_(part.parameters(), own.clip))
            for part in (self.policy, self.critic)
        ]
        if all(np.isfinite(norms)):
            optimizer.step()
        return {**sums, "gradient": norms[0] if is_warm else norms[1]}

    def _policy_loss(self, batch: AnswerBatch, held: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        with arithmetic(self.settings.precision, self.device):
            made = token_log_probs(self.policy, batch, self.layout).chosen
        return self.policy_loss(made, held["old"], held["advantages"])


def train_ppo(settings: PpoSettings) -> Iterator[str]:
    """Learn from rewards with a critic, or go on; yield lines that say what was done.

    Raises:
        StepeditError: if there is nothing to ask, or a file is missing or damaged.
        TrainingStopped: if the watch stops the run.
    """
    base, out = base_and_out(settings, settings.model)
    engine, prompts = engine_and_prompts(settings)
    yield from what_is_asked(engine, prompts)
    seed_everything(settings.seed)
    policy = load_policy(settings, base)
    critic = Critic(load_policy(settings, _critic_base(settings, base)))
    task = PpoTask(policy, critic, engine, prompts, settings, compared=True)
    task.train = hardest_of(task, out)
    yield f"the {len(task.train)} hardest are trained on"
    yield from train_online(task, base, out)


def _critic_base(settings: PpoSettings, base: Path) -> Path:
    return base if settings.critic is None else resolve_path(settings, settings.critic)
