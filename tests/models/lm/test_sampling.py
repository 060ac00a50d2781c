from __future__ import annotations

import json

import pytest
import torch

from stepedit_core.models.lm.sampling import (
    GREEDY,
    Sampling,
    gumbel_noise,
    noise_keys,
    pick,
    repeated_id,
)
from tests.shared_data import need_shared

RECORDED = [-0.368964, 0.751518, 3.502051]


def draws(logits: torch.Tensor, sampling: Sampling, count: int = 40_000) -> torch.Tensor:
    keys = noise_keys([11], count)[0]
    picked = pick(logits.expand(count, -1), sampling, keys)
    return torch.bincount(picked, minlength=logits.shape[-1]) / count


def test_the_largest_noise_is_finite_and_never_picks_what_is_forbidden() -> None:
    key, place = torch.tensor([4370]), 2853  # where the hash's upper 24 bits are all ones
    noise = gumbel_noise(key, 5121)[0]
    assert torch.isfinite(noise).all() and int(noise.argmax()) == place
    logits = torch.full((1, 5121), -torch.inf)
    logits[0, 7] = 0.0
    assert pick(logits, Sampling(), key).tolist() == [7]


def test_keys_depend_on_the_seed_alone() -> None:
    batch = noise_keys([3, 9], 50)
    assert torch.equal(batch[1], noise_keys([9], 50)[0])
    assert torch.equal(batch[0, :20], noise_keys([3], 20)[0])
    assert not torch.equal(batch[0], batch[1])
    assert ((batch >= 0) & (batch < 2**32)).all()
    with pytest.raises(ValueError, match="negative"):
        noise_keys([-1], 3)


def test_noise_is_gumbel_and_independent_between_tokens_and_steps() -> None:
    noise = gumbel_noise(noise_keys([0], 2000)[0], 500).double()
    assert noise.isfinite().all()
    assert noise.mean().item() == pytest.approx(0.5772, abs=5e-3)
    assert noise.var().item() == pytest.approx(torch.pi**2 / 6, rel=1e-2)
    centred = noise - noise.mean()
    for shifted in (centred[1:] * centred[:-1], centred[:, 1:] * centred[:, :-1]):
        assert abs(shifted.mean().item()) < 6e-3


def test_noise_is_the_same_in_a_batch_and_in_every_release() -> None:
    keys = noise_keys([5, 6], 1)[:, 0]
    assert torch.equal(gumbel_noise(keys, 9)[1], gumbel_noise(keys[1:], 9)[0])
    assert torch.equal(gumbel_noise(keys, 9)[:, :4], gumbel_noise(keys, 4))
    recorded = gumbel_noise(torch.tensor([12345]), 3)[0]
    assert torch.allclose(recorded, torch.tensor(RECORDED), atol=1e-5)


def test_picks_follow_the_tempered_distribution() -> None:
    logits = torch.tensor([1.0, 3.0, -torch.inf, 2.0])
    expected = (logits / 0.7).softmax(0)
    assert (draws(logits, Sampling()) - expected).abs().max() < 1e-2
    assert draws(logits, Sampling())[2] == 0


def test_forbidden_tokens_are_never_picked() -> None:
    logits = torch.tensor([-torch.inf, 0.0, 0.0, -torch.inf])
    found = draws(logits, Sampling())
    assert found[0] == 0 and found[3] == 0


def test_top_k_and_top_p_cut_the_tail() -> None:
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    plain = Sampling(temperature=1.0)
    two = draws(logits, Sampling(temperature=1.0, top_k=2))
    assert torch.allclose(two, torch.tensor([0.625, 0.375, 0, 0]), atol=1e-2)
    nucleus = draws(logits, Sampling(temperature=1.0, top_p=0.8))
    assert torch.allclose(nucleus, two, atol=1e-2)
    assert torch.allclose(draws(logits, plain), logits.exp(), atol=1e-2)
    assert draws(logits, Sampling(temperature=1.0, top_p=0.01))[0] == 1


def test_greedy_takes_the_largest() -> None:
    logits = torch.tensor([[0.0, 2.0, 1.0], [5.0, 2.0, 1.0]])
    assert pick(logits, GREEDY, torch.zeros(2, dtype=torch.int64)).tolist() == [1, 0]


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


@pytest.mark.parametrize("temperature", [0.05, 0.7, 3.0])
def test_noise_drawn_only_where_it_can_win_picks_the_same(temperature: float) -> None:
    generator = torch.Generator().manual_seed(3)
    logits = 4 * torch.randn(12, 1025, generator=generator)
    logits[3, :1000] = -torch.inf
    logits[5, 7] = 80.0
    tokens = torch.cat([torch.arange(1024, 2048), torch.tensor([5120])])
    sampling = Sampling(temperature=temperature)
    for seed in range(20):
        keys = noise_keys(range(seed, seed + 12), 1)[:, 0]
        dense = logits / temperature + gumbel_noise(keys, 5121)[:, tokens]
        assert torch.equal(pick(logits, sampling, keys, tokens), dense.argmax(-1))
