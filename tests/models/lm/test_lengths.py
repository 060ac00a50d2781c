"""How long an answer may be."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stepedit_core import DualCodes, GenerateRequest, Plan, Prompt, Utterance
from stepedit_core.config import GenerationPolicy
from stepedit_core.models.checkpoint.load import pick_dtype
from stepedit_core.models.lm.framing import most_groups, warn_if_cut


def request(plan: Plan, groups: int = 100) -> GenerateRequest:
    codes = DualCodes(
        np.zeros(2 * groups, dtype=np.int64), np.full(3 * groups, 1024, dtype=np.int64) - 1024
    )
    speech = Utterance(np.zeros(24_000, dtype=np.float32) + 1e-3, 24_000)
    return GenerateRequest(Prompt.edit("Do it."), codes, speech, plan=plan)


def test_a_definite_length_is_not_overrun() -> None:
    policy = GenerationPolicy()
    known = Plan(length_ratio=0.5, uniform_tempo=True)
    assert most_groups(request(known), 40_000, policy) == 59  # 1.15 * 50, rounded up, and one
    guessed = Plan(length_ratio=0.5)
    assert most_groups(request(guessed), 40_000, policy) == 250
    assert most_groups(request(known), 50, policy) == 10  # the budget comes first
    short = policy.model_copy(update={"max_growth": 1.6, "growth_seconds": 0.6})
    assert most_groups(request(guessed), 40_000, short) == 85  # 1.6 * 50 and 0.6 s of 0.12 s


def test_an_answer_as_long_as_it_may_be_was_cut(caplog: pytest.LogCaptureFixture) -> None:
    policy, guessed = GenerationPolicy(max_growth=1.0, growth_seconds=0.6), Plan(length_ratio=0.5)
    codes = request(guessed).codes
    warn_if_cut(codes.at_length(54), request(guessed), policy)
    warn_if_cut(codes, request(Plan(length_ratio=0.5, uniform_tempo=True)), policy)
    assert not caplog.records
    warn_if_cut(codes.at_length(55), request(guessed), policy)
    assert "cut at 6.6 s" in caplog.text


@pytest.mark.parametrize(
    ("wanted", "quantize", "dtype"),
    [
        ("auto", None, torch.float32),
        ("auto", "int8", torch.bfloat16),
        ("auto", "int4", torch.bfloat16),
        ("float32", "int4", torch.float32),
    ],
)
def test_quantised_weights_are_read_in_bfloat16(
    wanted: str, quantize: str | None, dtype: torch.dtype
) -> None:
    assert pick_dtype(wanted, torch.device("cpu"), quantize) is dtype
