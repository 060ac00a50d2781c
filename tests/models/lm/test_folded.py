"""Decode steps by folded weights."""

from __future__ import annotations

import pytest
import torch

from stepedit_core.models.lm.constraints import grammar
from stepedit_core.models.lm.generation import generate
from stepedit_core.models.lm.sampling import GREEDY
from stepedit_core.models.lm.step1 import Step1ForCausalLM, decoding
from stepedit_core.models.lm.step1.alignment import Alignment, alignment_tensor
from stepedit_core.models.lm.step1.decoding import Decoder
from stepedit_core.models.lm.step1.folded import folded_stack
from stepedit_core.models.lm.step1.heads import full_head
from tests.models.lm.test_position_priors import RULE
from tests.models.tiny_step1 import LAYOUT, prompts, tiny_model


@pytest.fixture(params=[{}, {"source_alignment": RULE}, {"num_attention_groups": 6}])
def model(request: pytest.FixtureRequest) -> Step1ForCausalLM:
    made = tiny_model(**request.param)
    gains = torch.Generator().manual_seed(0)
    with torch.no_grad():  # gains that are not one
        for name, weight in made.named_parameters():
            if "norm" in name:
                weight.uniform_(0.5, 1.5, generator=gains)
    return made


def records(model: Step1ForCausalLM, rows: list[list[int]]) -> torch.Tensor | None:
    if model.config.source_alignment is None:
        return None
    items = [Alignment(2, len(row) - 1, len(row), "audio", ((0.0, 1.0),)) for row in rows]
    return alignment_tensor(items)


@torch.inference_mode()
def test_steps_equal_those_of_the_layers(model: Step1ForCausalLM) -> None:
    rows = [prompts()[2]] * 2
    ids, aligned = torch.tensor(rows), records(model, rows)
    plain, folded = (Decoder(model, 2, 4, full_head(model)) for _ in range(2))
    plain.prefill(ids, None, aligned)
    folded.prefill(ids, None, aligned, torch.arange(2))
    assert folded.forks
    token = torch.tensor([[400], [3000]])
    for step in range(40):
        one, other = plain.step(token + step), folded.step(token + step)
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-4)


def test_greedy_answers_equal_those_of_the_layers(
    model: Step1ForCausalLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = prompts()
    given = {
        "layout": LAYOUT,
        "sampling": GREEDY,
        "constraints": [grammar(6, 6)] * len(rows),
        "alignments": None if model.config.source_alignment is None else [None] * len(rows),
    }
    by_folded = generate(model, rows, **given)  # type: ignore[arg-type]
    monkeypatch.setattr(decoding, "folded_stack", lambda _: None)
    assert generate(model, rows, **given) == by_folded  # type: ignore[arg-type]


def test_weights_are_folded_again_when_they_change() -> None:
    model = tiny_model()
    first = folded_stack(model.model)
    assert first is not None and folded_stack(model.model) is first
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight.mul_(2)
    second = folded_stack(model.model)
    assert second is not first
    model.model.layers[0].self_attn.k_proj.weight = torch.nn.Parameter(
        model.model.layers[0].self_attn.k_proj.weight.clone()
    )
    assert folded_stack(model.model) not in (first, second, None)


def test_other_kinds_of_weights_are_not_folded() -> None:
    assert folded_stack(tiny_model().bfloat16().model) is None
    assert folded_stack(tiny_model().to("meta").model) is None
    with torch.autocast("cpu", torch.bfloat16):
        assert folded_stack(tiny_model().model) is None

    class Adapted(torch.nn.Linear):
        pass

    model = tiny_model()
    model.model.layers[0].mlp.down_proj = Adapted(4, 4)
    assert folded_stack(model.model) is None
