from __future__ import annotations

import json

import pytest
import torch

from stepedit_core.models.sampling import GREEDY, Sampling, pick, repeated_id, uniforms
from tests.shared_data import need_shared


def draws(logits: torch.Tensor, sampling: Sampling, count: int = 4000) -> torch.Tensor:
    uniform = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    picked = pick(logits.expand(count, -1), sampling, uniform)
    return torch.bincount(picked, minlength=logits.shape[-1]) / count


def test_uniforms_depend_on_the_seed_alone() -> None:
    batch = uniforms([3, 9], 50)
    assert batch.dtype == torch.float64
    assert torch.equal(batch[1], uniforms([9], 50)[0])
    assert torch.equal(batch[0, :20], uniforms([3], 20)[0])
    assert not torch.equal(batch[0], batch[1])
    assert ((batch >= 0) & (batch < 1)).all()
    with pytest.raises(ValueError, match="negative"):
        uniforms([-1], 3)


def test_picks_follow_the_tempered_distribution() -> None:
    logits = torch.tensor([1.0, 3.0, -torch.inf, 2.0])
    expected = (logits / 0.7).softmax(0)
    assert (draws(logits, Sampling()) - expected).abs().max() < 1e-3
    assert draws(logits, Sampling())[2] == 0


def test_extreme_noise_stays_inside_the_allowed_tokens() -> None:
    logits = torch.tensor([[-torch.inf, 0.0, 0.0, -torch.inf]] * 2)
    picked = pick(logits, Sampling(), torch.tensor([0.0, 1.0], dtype=torch.float64))
    assert picked.tolist() == [1, 2]


def test_top_k_and_top_p_cut_the_tail() -> None:
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    plain = Sampling(temperature=1.0)
    two = draws(logits, Sampling(temperature=1.0, top_k=2))
    assert torch.allclose(two, torch.tensor([0.625, 0.375, 0, 0]), atol=1e-3)
    nucleus = draws(logits, Sampling(temperature=1.0, top_p=0.8))
    assert torch.allclose(nucleus, two, atol=1e-3)
    assert torch.allclose(draws(logits, plain), logits.exp(), atol=1e-3)
    assert draws(logits, Sampling(temperature=1.0, top_p=0.01))[0] == 1


def test_greedy_takes_the_largest() -> None:
    logits = torch.tensor([[0.0, 2.0, 1.0], [5.0, 2.0, 1.0]])
    assert pick(logits, GREEDY, torch.zeros(2)).tolist() == [1, 0]


def test_repetition_rule_bans_the_newest_id_only() -> None:
    recent = torch.tensor(
        [
            [5, 5, 5, 6, 6, 6, 6, 6, 6, 6],
            [1, 2, 3, 4, 5, 6, 7, 8, 9, 1],
            [2, 2, 3, 4, 5, 6, 7, 8, 9, 10],
            [-1, 7, 7, 7, 7, 7, 7, 7, 7, 7],
        ]
    )
    assert repeated_id(recent).tolist() == [6, 1, -1, -1]
    assert repeated_id(recent, count=3).tolist() == [6, -1, -1, -1]


@pytest.mark.parametrize("which", ["tiny_a", "tiny_b"])
def test_repetition_rule_equals_the_public_one(which: str) -> None:
    path = need_shared("checkpoints", which, "goldens", "10_repetition_cases.json")
    for case in json.loads(path.read_text()):
        recent = ([-1] * 10 + case["ids"])[-10:]
        assert repeated_id(torch.tensor([recent])).item() == case["banned_id_or_-1"]


@pytest.mark.parametrize(
    "values", [{"temperature": -1}, {"top_k": 0}, {"top_p": 0.0}, {"repetition_count": 1}]
)
def test_impossible_settings_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        Sampling(**values)  # type: ignore[arg-type]
