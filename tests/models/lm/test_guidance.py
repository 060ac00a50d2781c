from __future__ import annotations

import pytest
import torch

from stepedit_core.models.lm.guidance import compared_rows, guided


def test_guidance_leads_away_from_the_second_prompt() -> None:
    logits = torch.tensor([[1.0, 3.0], [2.0, 1.0]])
    assert guided(logits, 1.0).tolist() == [[1.0, 3.0]]
    assert guided(logits, 0.0).tolist() == [[2.0, 1.0]]
    assert guided(logits.bfloat16(), 2.0).tolist() == [[0.0, 5.0]]


def test_second_prompts_take_what_is_copied() -> None:
    rows = [[1, 2, 7, 8], [3, 9]]
    assert compared_rows([[1, 2], [3]], [[5, 6], [4]], rows) == [[5, 6, 7, 8], [4, 9]]


@pytest.mark.parametrize("against", [None, [[5, 6]], [[5], [4]]])
def test_second_prompts_fit_the_first(against: list[list[int]] | None) -> None:
    with pytest.raises(ValueError, match="as long as its prompt"):
        compared_rows([[1, 2], [3]], against, [[1, 2], [3]])
