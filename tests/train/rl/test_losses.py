"""The losses: equal to TRL's on the same log probabilities, and right by hand."""

from __future__ import annotations

import importlib
from collections import defaultdict
from itertools import combinations
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from stepedit_train.rl.losses import (
    DpoKind,
    GrpoKind,
    advantages_of_best,
    advantages_over_time,
    bradley_terry_loss,
    clipped_policy_loss,
    clipped_value_loss,
    dpo_loss,
    farthest_apart,
    group_advantages,
    kl_estimate,
    token_weights,
    whitened,
)


def trl(name: str) -> Any:
    """Import a module of TRL, which imports torchaudio; releases differ, so one is pinned."""
    pytest.importorskip("trl")
    importlib.import_module("stepedit_core.models.checkpoint.torchaudio_compat")
    return importlib.import_module(f"trl.trainer.{name}")


def numbers(*shape: int, seed: int = 0, scale: float = 0.3) -> torch.Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def counted(lengths: list[int]) -> torch.Tensor:
    return torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]


def our_grpo(kind: GrpoKind, beta: float, log_probs: torch.Tensor, data: Any) -> torch.Tensor:
    mask = data["completion_mask"].bool()
    loss, _ = clipped_policy_loss(
        log_probs, data["old_per_token_logps"], data["advantages"][:, None], 0.2, 0.28
    )
    if beta:
        loss = loss + beta * kl_estimate(log_probs, data["ref_per_token_logps"])
    return (loss * token_weights(mask, kind, 9)).sum()


@pytest.mark.parametrize("kind", ["grpo", "bnpo", "dr_grpo"])
@pytest.mark.parametrize("beta", [0.0, 0.1])
def test_grpo_is_trls(kind: GrpoKind, beta: float) -> None:
    module = trl("grpo_trainer")
    lengths = [7, 3, 5, 6]
    ours, theirs = (numbers(4, 7).requires_grad_() for _ in range(2))
    data = {
        "prompt_ids": torch.ones(4, 2, dtype=torch.int64),
        "prompt_mask": torch.ones(4, 2),
        "completion_ids": torch.ones(4, 7, dtype=torch.int64),
        "completion_mask": counted(lengths).float(),
        "advantages": numbers(4, seed=1, scale=1.0),
        "old_per_token_logps": numbers(4, 7, seed=2),
        "ref_per_token_logps": numbers(4, 7, seed=3),
    }
    stub = _grpo_stub(kind, beta, theirs)
    known = module.GRPOTrainer._compute_loss(stub, None, data)
    found = our_grpo(kind, beta, ours, data)
    assert found.item() == pytest.approx(known.item(), abs=1e-5)
    found.backward()
    known.backward()
    assert torch.allclose(ours.grad, theirs.grad, atol=1e-5)  # type: ignore[arg-type]


def _alone() -> Any:
    """Return an accelerator of one process."""
    return SimpleNamespace(
        device=torch.device("cpu"),
        gather=lambda x: x,
        gather_for_metrics=lambda x: x,
        reduce=lambda x, reduction: x,
        num_processes=1,
        sync_gradients=True,
    )


def _grpo_stub(kind: str, beta: float, log_probs: torch.Tensor) -> Any:
    """Return what TRL's method reads of a trainer."""
    return SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *args, **kwargs: (
            log_probs,
            torch.zeros_like(log_probs),
            None,
        ),
        aux_loss_enabled=False,
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        importance_sampling_level="token",
        beta=beta,
        args=SimpleNamespace(use_bias_correction_kl=False, delta=None, steps_per_generation=1),
        loss_type=kind,
        epsilon_low=0.2,
        epsilon_high=0.28,
        use_vllm=False,
        vllm_importance_sampling_correction=False,
        model=SimpleNamespace(training=True),
        current_gradient_accumulation_steps=1,
        max_completion_length=9,
        _entropy_bonus_enabled=False,
        accelerator=_alone(),
        _metrics={"train": defaultdict(list)},
    )


@pytest.mark.parametrize("kind", ["sigmoid", "ipo", "hinge"])
def test_dpo_is_trls(kind: DpoKind) -> None:
    module = trl("dpo_trainer")
    lengths = [6, 4, 5, 3]  # two chosen answers, then two rejected ones
    mask = counted(lengths)
    ours, theirs = (numbers(4, 6).requires_grad_() for _ in range(2))
    reference = numbers(4, 6, seed=5)
    known = _trl_dpo(module, kind, theirs, reference, mask)
    ratios = ((ours - reference) * mask).sum(1).chunk(2)
    found = dpo_loss(*ratios, beta=0.1, kind=kind, lengths=mask.sum(1).float().chunk(2))  # type: ignore[arg-type]
    assert found.item() == pytest.approx(known.item(), abs=1e-5)
    found.backward()
    known.backward()
    assert torch.allclose(ours.grad, theirs.grad, atol=1e-5)  # type: ignore[arg-type]


def _trl_dpo(
    module: Any, kind: str, policy: torch.Tensor, reference: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """Return what TRL's method gives for log probabilities that stand for a model's."""

    def answering(log_probs: torch.Tensor) -> Any:
        def model(**_: Any) -> Any:
            return SimpleNamespace(
                log_probs=log_probs * mask,
                entropy=torch.zeros_like(log_probs),
                mean_logits=torch.zeros_like(log_probs),
                is_top1=torch.zeros_like(log_probs).bool(),
            )

        return model

    rows, width = mask.shape
    whole = torch.cat([torch.zeros(rows, 1, dtype=torch.int64), mask.long()], 1)
    stub = SimpleNamespace(
        model=SimpleNamespace(training=True),
        accelerator=_alone(),
        aux_loss_enabled=False,
        ld_alpha=None,
        precompute_ref_logps=True,
        f_divergence_type="reverse_kl",
        loss_types=[kind],
        loss_weights=[1.0],
        beta=0.1,
        label_smoothing=0.0,
        use_weighting=False,
        _metrics={"train": defaultdict(list)},
        _total_train_tokens=0,
        _tp_size=1,
        args=SimpleNamespace(),
    )
    held = (reference * mask).sum(1).chunk(2)
    inputs = {
        "input_ids": torch.ones(rows, width + 1, dtype=torch.int64),
        "attention_mask": torch.ones(rows, width + 1, dtype=torch.int64),
        "completion_mask": whole,
        "ref_chosen_logps": held[0],
        "ref_rejected_logps": held[1],
    }
    loss: torch.Tensor = module.DPOTrainer._compute_loss(stub, answering(policy), inputs, False)
    return loss


def test_preferences_of_equals_cost_a_bit() -> None:
    same = torch.zeros(3)
    assert float(bradley_terry_loss(same, same)) == pytest.approx(0.693147, abs=1e-5)
    assert float(bradley_terry_loss(same + 4, same)) < 0.02


def test_advantages_leave_unscored_answers_out() -> None:
    rewards = torch.tensor([[1.0, 0.0, 0.5, 9.0], [2.0, 2.0, 2.0, 2.0]])
    known = torch.tensor([[True, True, True, False], [True] * 4])
    found = group_advantages(rewards, known)
    assert found[0].tolist() == pytest.approx([0.5, -0.5, 0.0, 0.0]) and not found[1].any()
    scaled = group_advantages(rewards, known, scaled=True)
    assert scaled[0].tolist() == pytest.approx([1.0, -1.0, 0.0, 0.0], abs=1e-3)


def test_parts_of_a_batch_add_up() -> None:
    mask = counted([4, 2, 3])
    loss = numbers(3, 4)
    for kind in ("grpo", "bnpo", "dr_grpo"):
        weights = token_weights(mask, kind, 4)  # type: ignore[arg-type]
        parts = sum(float((loss[at] * weights[at]).sum()) for at in ([0], [1, 2]))
        assert parts == pytest.approx(float((loss * weights).sum()), abs=1e-6)


def test_generalised_advantages_by_hand() -> None:
    rewards = torch.tensor([[0.0, 5.0, 0.0, 1.0, 7.0]])
    values = torch.tensor([[0.5, 9.0, 0.25, 0.5, 9.0]])
    mask = torch.tensor([[True, False, True, True, False]])
    advantages, returns = advantages_over_time(rewards, values, mask, 1.0, 0.5)
    third = 1.0 - 0.5
    second = (0.5 - 0.25) + 0.5 * third
    first = (0.25 - 0.5) + 0.5 * second
    assert advantages[0].tolist() == pytest.approx([first, 0, second, third, 0])
    assert returns[0].tolist() == pytest.approx([first + 0.5, 0, second + 0.25, 1.0, 0])


def test_the_clip_stops_what_has_moved_enough() -> None:
    old = torch.zeros(1, 4)
    now = torch.tensor([[0.5, -0.5, 0.5, -0.5]]).requires_grad_()
    loss, clipped = clipped_policy_loss(now, old, torch.tensor([[1.0, 1.0, -1.0, -1.0]]), 0.2, 0.2)
    loss.sum().backward()
    assert clipped.tolist() == [[True, False, False, True]]
    assert (now.grad != 0).tolist() == [[False, True, True, False]]  # type: ignore[union-attr]
    values = torch.tensor([[2.0]])
    weights = torch.ones(1, 1)
    held = clipped_value_loss(values, torch.zeros(1, 1), torch.tensor([[2.0]]), 0.2, weights)
    assert float(held) == pytest.approx(0.5 * 1.8**2)


def test_whitening_counts_decisions_alone() -> None:
    found = whitened(torch.tensor([[1.0, 3.0, 100.0]]), torch.tensor([[True, True, False]]))
    assert found[0].tolist() == pytest.approx([-0.7071, 0.7071, 0.0], abs=1e-3)


def best_by_subsets(rewards: list[float], at: int, best_of: int) -> float:
    others = rewards[:at] + rewards[at + 1 :]
    held = [max(rewards[at], *some) for some in combinations(others, best_of - 1)]
    left = [max(some) for some in combinations(others, best_of)]
    return sum(held) / len(held) - sum(left) / len(left)


@pytest.mark.parametrize("best_of", [2, 3, 5])
def test_advantage_of_the_best_over_all_subsets(best_of: int) -> None:
    rewards = numbers(3, 7, seed=best_of)
    rewards[1, 2] = rewards[1, 4]
    found = advantages_of_best(rewards, torch.ones(3, 7, dtype=torch.bool), best_of)
    by_hand = [[best_by_subsets(row, at, best_of) for at in range(7)] for row in rewards.tolist()]
    torch.testing.assert_close(found, torch.tensor(by_hand))


def test_best_of_one_is_the_advantage_over_the_others() -> None:
    rewards, known = numbers(2, 5), torch.ones(2, 5, dtype=torch.bool)
    torch.testing.assert_close(
        advantages_of_best(rewards, known, 1), group_advantages(rewards, known) * 5 / 4
    )


def test_best_of_passes_over_unknown_answers() -> None:
    rewards = torch.tensor([[0.1, 9.0, 0.5, 0.3], [0.1, 0.2, 9.0, 9.0]])
    known = torch.tensor([[True, False, True, True], [True, True, False, False]])
    found = advantages_of_best(rewards, known, 2)
    torch.testing.assert_close(found[0, [0, 2, 3]], torch.tensor([-0.1, 0.2, -0.1]))
    assert found[0, 1] == 0
    assert not found[1].any()


def test_raising_the_best_keeps_answers_apart() -> None:
    """Two answers, one safe and one a gamble of the same mean: the best of four gambles."""
    logits = torch.zeros(2, requires_grad=True)
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        chance = logits.softmax(0)
        drawn = torch.multinomial(chance.detach(), 16, replacement=True, generator=generator)
        luck = (torch.rand(16, generator=generator) < 0.2).float()
        rewards = torch.where(drawn == 0, torch.tensor(0.3), luck)
        kept = advantages_of_best(rewards[None], torch.ones(1, 16, dtype=torch.bool), 4)[0]
        loss = -(chance.log()[drawn] * kept).mean()
        (gradient,) = torch.autograd.grad(loss, logits)
        with torch.no_grad():
            logits -= 0.5 * gradient
    assert logits.softmax(0)[1] > 0.8


def test_answers_farthest_apart_by_hand() -> None:
    rewards = torch.tensor([[0.5, 0.9, 0.1, 0.45, 0.55, 0.0], [0.0, 0.3, 0.1, 1.0, 0.2, 9.0]])
    known = torch.tensor([[True] * 6, [True] * 5 + [False]])
    made = farthest_apart(rewards, known, 3)
    # 0.9 against 0.1 and 0 varies more than 0.9 and 0.55 against 0.
    assert made[0].nonzero().view(-1).tolist() == [1, 2, 5]
    assert made[1].nonzero().view(-1).tolist() == [0, 2, 3]
    assert farthest_apart(rewards, known, 8).tolist() == known.tolist()
    assert not farthest_apart(rewards, torch.zeros_like(known), 4).any()
