"""The ``grpo`` stage: learn from how much better an answer is than others to the same request.

Group relative policy optimisation (Shao et al. 2024), without division by the group's deviation
(Liu et al. 2025), as the CosyVoice recipes do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from stepedit_train.checkpoints import seed_everything
from stepedit_train.lm.training import base_and_out
from stepedit_train.loop import LoopSettings, Losses
from stepedit_train.precision import arithmetic
from stepedit_train.rl.layout import AnswerRow
from stepedit_train.rl.log_probs import token_log_probs
from stepedit_train.rl.losses import (
    GrpoKind,
    advantages_of_best,
    farthest_apart,
    group_advantages,
    kl_estimate,
    token_weights,
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
from stepedit_train.rl.policy import load_policy, log_probs_of

__all__ = ["GrpoSettings", "GrpoTask", "train_grpo"]

_FIGURES = ("loss", "clipped", "gradient", "entropy", "kl")


class GrpoSettings(OnlineSettings):
    """Settings of the grpo stage; the defaults are for the 3B model."""

    answers: int = Field(default=16, ge=2)
    """Answers to each request; one alone has nothing to be better than."""
    beta: float = Field(default=0.1, ge=0)
    """Strength of the tie to the model that the run begins with; 0 holds no reference."""
    loss_kind: GrpoKind = "grpo"
    """Weights of tokens: ``grpo`` (every answer alike), ``bnpo`` (every token alike), ``dr_grpo``
    (a constant, Liu et al. 2025)."""
    scale_advantages: bool = False
    """Divide advantages by the group's deviation, which favours requests of extreme success."""
    best_of: int = Field(default=1, ge=1)
    """Learn what raises the best of so many answers, as a model ships that keeps the best of its
    draws; 1: every answer's own reward."""

    credit: Literal["answers", "parts"] = "answers"
    """What is compared within a group: ``answers`` as wholes, or their ``parts``, where a reward
    says what each is worth (``heard_phones``: each phone); then the codes that say a part are
    credited with it alone."""
    learned_from: int | None = Field(default=None, ge=2)
    """Answers of each group that are learned from, those whose rewards vary most; None: all."""

    @model_validator(mode="after")
    def _best_of_fewer_than_are_drawn(self) -> GrpoSettings:
        if self.best_of >= self.answers:
            raise ValueError(f"best_of must be smaller than answers ({self.answers})")
        if self.best_of > 1 and self.scale_advantages:
            raise ValueError("scale_advantages does not go with best_of")
        if self.credit == "parts" and (self.best_of > 1 or self.scale_advantages):
            raise ValueError("credit = 'parts' goes with neither best_of nor scale_advantages")
        return self

    def curve(self) -> dict[str, Any]:
        """Return the settings that the curve depends on, as JSON values."""
        # Unsaid where it is usual, so that runs from before there was a choice go on.
        usual = {"best_of"} if self.best_of == 1 else set()
        usual |= {"learned_from"} if self.learned_from is None else set()
        usual |= {"credit"} if self.credit == "answers" else set()
        return {name: value for name, value in super().curve().items() if name not in usual}


class GrpoTask(OnlineTask):
    """Groups of answers and their advantages."""

    settings: GrpoSettings

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.model: nn.Module = self.policy
        self.by_part = self.settings.credit == "parts"

    def advantages(self, batch: Experience) -> Tensor:
        """Return each decision's advantage, ``(rows, tokens)``, or one for all of a row's."""
        own = self.settings
        if own.credit == "parts":
            longest = max(len(row.ids) for row in batch.rows)
            found = torch.zeros(len(batch.rows), longest)
            for place, row, gains in zip(found, batch.rows, batch.gains, strict=True):
                # The end of turn is credited as the last code.
                at = (row.first + np.arange(len(row.ids))).clip(max=len(gains) - 1)
                place[: len(at)] = torch.from_numpy(gains[at])
            return found
        if own.best_of > 1:
            return advantages_of_best(batch.rewards, batch.known, own.best_of).view(-1, 1)
        return group_advantages(batch.rewards, batch.known, scaled=own.scale_advantages).view(-1, 1)

    def update(
        self, optimizer: torch.optim.Optimizer, batch: Experience, settings: LoopSettings
    ) -> Losses:
        """Learn from the answers of a step."""
        own = self.settings
        advantages = self.advantages(batch).to(self.device)
        self.policy.train()
        # Without a tie to the reference, answers that are neither better nor worse teach nothing.
        used = [at for at, row in enumerate(advantages) if own.beta > 0 or bool(row.any())]
        if own.learned_from is not None:
            apart = farthest_apart(batch.rewards, batch.known, own.learned_from).view(-1)
            used = [at for at in used if apart[at]]
        rows = [batch.rows[at] for at in used]
        advantages = advantages[used]
        # Where the optimiser moves once, the policy that drew the answers is the one that learns.
        old = None
        if rows and own.passes * own.minibatches > 1:
            old = log_probs_of(self.policy, rows, self.layout, own, self.device).chosen
        reference = self.reference_log_probs(rows) if rows else None

        def move(part: Sequence[int]) -> dict[str, float]:
            return self._move(optimizer, rows, part, advantages, old, reference)

        made, moves = self.moves(len(rows), move)
        figures = {**batch.figures, **(made or dict.fromkeys(_FIGURES, 0.0))}
        if self.reference is None:
            del figures["kl"]
        figures["skipped"] = float(moves == 0)
        return Losses(torch.tensor(figures["loss"]), figures)

    def _move(
        self,
        optimizer: torch.optim.Optimizer,
        learned: Sequence[AnswerRow],
        chosen: Sequence[int],
        advantages: Tensor,
        old: Tensor | None,
        reference: Tensor | None,
    ) -> dict[str, float]:
        """Move the optimiser once, after a part of the answers; return figures."""
        own = self.settings
        rows = [learned[at] for at in chosen]
        longest = max(len(row.ids) for row in rows)
        counted = torch.zeros(len(rows), longest, dtype=torch.bool)
        for at, row in enumerate(rows):
            counted[at, : len(row.ids)] = torch.from_numpy(row.drawn)
        weights = token_weights(counted, own.loss_kind, own.max_tokens).to(self.device)
        optimizer.zero_grad(set_to_none=True)
        sums = dict.fromkeys(("loss", "clipped", "entropy", "kl"), 0.0)
        for part, answers in self.parts(rows):
            with arithmetic(own.precision, self.device):
                made, entropy = token_log_probs(self.policy, answers, self.layout)
            places, width = [chosen[at] for at in part], made.shape[1]
            before = made.detach() if old is None else old[places, :width]
            loss, acts = self.policy_loss(made, before, advantages[places][:, :width])
            share = weights[part, :width]
            if reference is not None:
                apart = kl_estimate(made, reference[places, :width])
                loss = loss + own.beta * apart
                sums["kl"] += float((apart.detach() * answers.drawn).sum())
            weighed = (loss * share).sum()
            weighed.backward()  # type: ignore[no-untyped-call]
            sums["loss"] += weighed.item()
            sums["clipped"] += float((acts & answers.drawn).sum())
            sums["entropy"] += float(entropy.sum())
        norm = nn.utils.clip_grad_norm_(self.policy.parameters(), own.clip)
        if bool(torch.isfinite(norm)):
            optimizer.step()
        decisions = max(1, int(counted.sum()))
        each = {name: sums[name] / decisions for name in ("clipped", "entropy", "kl")}
        return {"loss": sums["loss"], "gradient": float(norm), **each}


def train_grpo(settings: GrpoSettings) -> Iterator[str]:
    """Learn from groups of answers, or go on; yield lines that say what was done.

    Raises:
        StepeditError: if there is nothing to ask, or a file is missing or damaged.
        TrainingStopped: if the watch stops the run.
    """
    base, out = base_and_out(settings, settings.model)
    engine, prompts = engine_and_prompts(settings)
    yield from what_is_asked(engine, prompts)
    seed_everything(settings.seed)
    policy = load_policy(settings, base)
    task = GrpoTask(policy, engine, prompts, settings, compared=settings.beta > 0)
    task.train = hardest_of(task, out)
    if settings.hardest < 1:
        yield f"the {len(task.train)} hardest are trained on"
    yield from train_online(task, base, out)
