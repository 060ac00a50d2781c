"""The plain way that the engine is timed against, and how pairs are timed."""

from __future__ import annotations

import pytest
import torch
from stepedit_bench.speed import timing
from stepedit_bench.speed.language_model import measure_language_model
from stepedit_bench.speed.plain import with_plain_attention
from stepedit_bench.speed.sizes import SMALL, build_model
from stepedit_bench.speed.timing import Settings, paired

SETTINGS = Settings(
    torch.device("cpu"), torch.float32, prompt_tokens=30, new_tokens=10, batch=2, repeats=1
)


def test_plain_attention_gives_the_same_logits_and_leaves_the_model_alone() -> None:
    model = build_model(SMALL, torch.device("cpu"), torch.float32)
    own = model.model.layers[0].self_attn
    plain = with_plain_attention(model)
    ids = torch.randint(0, 5000, (1, 40), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(plain(ids).logits, model(ids).logits, rtol=1e-4, atol=1e-4)
    assert model.model.layers[0].self_attn is own
    assert plain.model.layers[0].self_attn is not own


def test_the_ratio_of_a_pair_is_the_median_of_ratios(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([1.0, 2.0, 10.0, 20.0, 3.0, 9.0])  # the machine is slow for one pair
    monkeypatch.setattr(timing, "_once", lambda work, settings: next(seconds))
    settings = Settings(torch.device("cpu"), torch.float32, repeats=3)
    found = paired(lambda: None, lambda: None, settings)
    assert (found.ours, found.plain) == (3.0, 6.0)


@pytest.mark.slow
def test_the_table_has_shared_prompts_and_says_that_answers_agree() -> None:
    one, *batches = measure_language_model(SMALL, SETTINGS)
    assert "40 of 40 greedy ids equal" in one.note
    assert one.plain is not None and one.floor is not None and one.ours > 0
    assert [line.stage.partition(", ")[2] for line in batches] == [
        "batch of 2", "batch of 16", "16 answers to one prompt",
    ]  # fmt: skip
