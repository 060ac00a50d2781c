"""The losses: preferences (Bradley-Terry, DPO), groups (GRPO), and PPO with its critic.

All take what a batch of answers gave and nothing of models, so that each is one formula. Policy
losses come per token, with weights that say how tokens add up: parts of a batch that are computed
one after the other then add up to what the whole would give.
"""

from __future__ import annotations

from math import comb
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "DpoKind",
    "GrpoKind",
    "advantages_of_best",
    "advantages_over_time",
    "bradley_terry_loss",
    "clipped_policy_loss",
    "clipped_value_loss",
    "dpo_loss",
    "farthest_apart",
    "group_advantages",
    "kl_estimate",
    "token_weights",
    "whitened",
]

DpoKind = Literal["sigmoid", "ipo", "hinge"]
GrpoKind = Literal["grpo", "bnpo", "dr_grpo"]


def bradley_terry_loss(chosen: Tensor, rejected: Tensor) -> Tensor:
    """Return the negative log likelihood of preferences (Bradley and Terry 1952), a scalar.

    Args:
        chosen: scores of the better answers, ``(pairs,)``.
        rejected: scores of the worse ones.
    """
    return -F.logsigmoid(chosen - rejected).mean()


def dpo_loss(
    chosen: Tensor,
    rejected: Tensor,
    *,
    beta: float,
    kind: DpoKind = "sigmoid",
    lengths: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Return the loss of direct preference optimisation, a scalar.

    ``sigmoid`` (Rafailov et al. 2023), ``hinge`` (SLiC, Zhao et al. 2023), ``ipo`` (Azar et al.
    2023; log ratios are means over tokens).

    Args:
        chosen: log ratio of policy to reference of the better answers, ``(pairs,)``, summed over
            tokens. Without a reference: log probabilities of the policy.
        rejected: the same of the worse ones.
        beta: strength of the tie to the reference.
        kind: of the loss.
        lengths: decisions of the better and of the worse answers, for ``ipo``.
    """
    if kind == "ipo":
        assert lengths is not None
        gap = chosen / lengths[0].clamp(min=1) - rejected / lengths[1].clamp(min=1)
        return ((gap - 1 / (2 * beta)) ** 2).mean()
    gap = beta * (chosen - rejected)
    return (torch.relu(1 - gap) if kind == "hinge" else -F.logsigmoid(gap)).mean()


def group_advantages(rewards: Tensor, known: Tensor, *, scaled: bool = False) -> Tensor:
    """Return each answer's advantage over the others to the same request.

    Dividing by the group's deviation, as the first GRPO (Shao et al. 2024), favours requests that
    are nearly always or nearly never solved (Liu et al. 2025); it is off by default.

    Args:
        rewards: ``(requests, answers)``.
        known: bool, the same shape; others get 0 and do not count.
        scaled: divide by the deviation.
    """
    held = rewards.masked_fill(~known, 0.0)
    count = known.sum(1, keepdim=True)
    centred = (held - held.sum(1, keepdim=True) / count.clamp(min=1)).masked_fill(~known, 0.0)
    if scaled:
        spread = (centred.square().sum(1, keepdim=True) / (count - 1).clamp(min=1)).sqrt()
        centred = centred / (spread + 1e-4)
    return centred


def farthest_apart(rewards: Tensor, known: Tensor, count: int) -> Tensor:
    """Return the answers of each group whose rewards vary most: some best and some worst ones.

    Drawing costs less than learning, and answers near the mean teach least (max-variance
    down-sampling: Xu et al. 2025, arXiv:2504.13818).

    Args:
        rewards: ``(requests, answers)``.
        known: bool, the same shape; others are not among them.
        count: of answers to a request, at most.

    Returns:
        bool, the same shape.
    """
    found = torch.zeros_like(known)
    for row in range(len(rewards)):
        places = known[row].nonzero().view(-1)
        places = places[rewards[row, places].argsort(stable=True)]
        most = min(count, len(places))
        subsets = [
            torch.cat([places[:worst], places[len(places) - (most - worst) :]])
            for worst in range(most + 1)
        ]
        if most:
            spread = [float(rewards[row, one].var(correction=0)) for one in subsets]
            found[row, subsets[spread.index(max(spread))]] = True
    return found


def advantages_of_best(rewards: Tensor, known: Tensor, best_of: int) -> Tensor:
    """Return what each answer adds to the expected best of so many draws.

    Answers that are not kept teach nothing where a model ships the best of several. An answer's
    value is the mean, over all subsets of the group that hold it, of their best reward; its
    baseline is that mean over the subsets of the others, which has the same expectation and does
    not depend on the answer (leave-one-out estimate of max@k: Walder and Karkhanis 2025,
    arXiv:2505.15201). With ``best_of`` 1 this is the advantage over the mean of the others.

    Args:
        rewards: ``(requests, answers)``.
        known: bool, the same shape; others get 0 and do not count.
        best_of: draws of which the best is kept; a request with no more known answers gets 0.
    """
    found = torch.zeros_like(rewards, dtype=torch.float64)
    for row in range(len(rewards)):
        places = known[row].nonzero().view(-1)
        places = places[rewards[row, places].argsort()]
        ranked = rewards[row, places].double()
        count = len(ranked)
        if count <= best_of:
            continue
        # Among the others, the share of subsets whose best is the one of a rank.
        others = torch.arange(count - 1)
        with_it = _best_shares(count - 1, best_of - 1)
        without = _best_shares(count - 1, best_of)
        for rank in range(count):
            rest = ranked[others + (others >= rank)]
            value = ranked[rank] if best_of == 1 else with_it @ rest.clamp(min=ranked[rank])
            found[row, places[rank]] = value - without @ rest
    return found.to(rewards.dtype)


def _best_shares(count: int, size: int) -> Tensor:
    """Return, of ``count`` in rising order, the share of subsets in which each is the last."""
    if size == 0:
        return torch.zeros(count, dtype=torch.float64)
    every = comb(count, size)
    return torch.tensor([comb(at, size - 1) / every for at in range(count)], dtype=torch.float64)


def clipped_policy_loss(
    log_probs: Tensor, old: Tensor, advantages: Tensor, low: float, high: float
) -> tuple[Tensor, Tensor]:
    """Return PPO's clipped loss of each token (Schulman et al. 2017), and where the clip acts.

    Args:
        log_probs: of the policy, ``(rows, tokens)``.
        old: of the policy that drew the answers.
        advantages: ``(rows, 1)`` or ``(rows, tokens)``.
        low: the ratio of the two is clipped below 1 - low.
        high: and above 1 + high.
    """
    ratio = (log_probs - old).exp()
    held = ratio.clamp(1 - low, 1 + high)
    loss = -torch.minimum(ratio * advantages, held * advantages)
    is_clipped = ((ratio < 1 - low) & (advantages < 0)) | ((ratio > 1 + high) & (advantages > 0))
    return loss, is_clipped


def kl_estimate(log_probs: Tensor, reference: Tensor) -> Tensor:
    """Return Schulman's estimate of the divergence from the reference, each at least 0."""
    gap = reference - log_probs
    return gap.exp() - gap - 1


def token_weights(counted: Tensor, kind: GrpoKind, longest: int) -> Tensor:
    """Return the weight of each token in a loss that is a sum, ``(rows, tokens)``.

    Args:
        counted: bool ``(rows, tokens)``.
        kind: ``grpo``, every answer alike; ``bnpo``, every token alike; ``dr_grpo``, a constant.
        longest: largest number of tokens of an answer, for ``dr_grpo``.
    """
    mask = counted.float()
    if kind == "grpo":
        return mask / mask.sum(1, keepdim=True).clamp(min=1) / len(mask)
    if kind == "bnpo":
        return mask / mask.sum().clamp(min=1)
    return mask / (len(mask) * longest)


def advantages_over_time(
    rewards: Tensor, values: Tensor, counted: Tensor, decay: float, smoothing: float
) -> tuple[Tensor, Tensor]:
    """Return generalised advantage estimates and returns (Schulman et al. 2016).

    Tokens that were copied are passed over: what comes after them counts for the decision before.

    Args:
        rewards: of each token, ``(rows, tokens)``; those of copied tokens are not looked at.
        values: the critic's, before each token.
        counted: bool, the decisions.
        decay: gamma.
        smoothing: lambda.

    Returns:
        Advantages and returns, ``(rows, tokens)``, 0 where nothing was decided.
    """
    advantages = torch.zeros_like(rewards)
    ahead = torch.zeros_like(rewards[:, 0])
    after = torch.zeros_like(rewards[:, 0])
    for at in range(rewards.shape[1] - 1, -1, -1):
        is_decision = counted[:, at]
        error = rewards[:, at] + decay * after - values[:, at]
        now = error + decay * smoothing * ahead
        advantages[:, at] = torch.where(is_decision, now, advantages[:, at])
        ahead = torch.where(is_decision, now, ahead)
        after = torch.where(is_decision, values[:, at], after)
    return advantages, torch.where(counted, advantages + values, torch.zeros_like(values))


def clipped_value_loss(
    values: Tensor, old: Tensor, returns: Tensor, clip: float, weights: Tensor
) -> Tensor:
    """Return half the squared error of the critic, its step clipped as PPO's, a scalar.

    Args:
        values: now, ``(rows, tokens)``.
        old: of the critic when the answers were drawn.
        returns: what they should be.
        clip: largest move that counts.
        weights: of each token.
    """
    held = old + (values - old).clamp(-clip, clip)
    worst = torch.maximum((values - returns).square(), (held - returns).square())
    return 0.5 * (worst * weights).sum()


def whitened(values: Tensor, counted: Tensor) -> Tensor:
    """Return values with mean 0 and deviation 1 over what is counted, and 0 elsewhere."""
    known = values[counted]
    if len(known) < 2:
        return values.masked_fill(~counted, 0.0)
    spread = known.std() + 1e-8
    return ((values - known.mean()) / spread).masked_fill(~counted, 0.0)
