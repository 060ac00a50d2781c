"""Log probabilities of answers: those of the sampler that drew them, whatever the rules."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from stepedit_train.rl.layout import AnswerRow, Vocabulary, lay_out
from stepedit_train.rl.log_probs import collate_answers, parts_within, token_log_probs

from stepedit_core.codes import DualCodes, FreeGroups
from stepedit_core.config import GenerationPolicy, SamplingConfig
from stepedit_core.engine import GenerateRequest
from stepedit_core.errors import StepeditError
from stepedit_core.models.lm import emitting, lanes, session
from stepedit_core.models.lm.chat import hide_words
from stepedit_core.models.lm.constraint_state import ConstraintState
from stepedit_core.models.lm.constraints import CODE_COUNT, plan
from stepedit_core.models.lm.framing import Rules, aligned_prompt, constraint_of, sampling_of
from stepedit_core.models.lm.generation import generate
from stepedit_core.models.lm.step1.alignment import DEFAULT_ALIGNMENT
from stepedit_core.models.text.bytes import ByteTokenizer
from stepedit_core.plan import Plan
from stepedit_core.prompt import Prompt
from stepedit_core.testing import speech_like
from tests.models.tiny_step1 import LAYOUT, tiny_model

PROMPT = Prompt.edit("Make it so.\n")
VOCABULARY = Vocabulary(ByteTokenizer(), "r1", LAYOUT, 4096)


def codes(seed: int, groups: int) -> DualCodes:
    rng = np.random.default_rng(seed)
    return DualCodes(rng.integers(0, 1024, 2 * groups), rng.integers(0, 4096, 3 * groups))


def request(seed: int = 0, groups: int = 4, **changes: Any) -> GenerateRequest:
    speech = speech_like(0.3, 8000).replace(transcript="words")
    return GenerateRequest(PROMPT, codes(seed, groups), speech, seed, **changes)


def model(aligned: bool = False) -> Any:
    heads = {"num_attention_heads": 8, "num_attention_groups": 8, "hidden_size": 32}
    return tiny_model(**(heads | {"source_alignment": DEFAULT_ALIGNMENT} if aligned else {}))


def drawn(
    asked: list[GenerateRequest], rules: Rules, net: Any, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[AnswerRow], list[list[float]]]:
    """Return answers as rows, and the log probabilities that the sampler drew them with."""
    kept: list[torch.Tensor] = []

    def watching(
        logits: torch.Tensor, sampling: Any, keys: torch.Tensor, tokens: torch.Tensor | None = None
    ) -> torch.Tensor:
        picked = pick(logits, sampling, keys, tokens)
        scores = (logits.float() / sampling.temperature).log_softmax(-1)
        kept.append(scores.gather(1, picked[:, None])[:, 0])
        return picked

    pick = emitting.pick
    monkeypatch.setattr(session, "_LEAST_SHARE", 0)  # ended answers stay, so that rows compare
    monkeypatch.setattr(lanes, "_MOST", 1)
    monkeypatch.setattr(emitting, "pick", watching)
    prompts = [aligned_prompt(one, VOCABULARY.text, "r1") for one in asked]
    budgets = [4096 - len(prompt.ids) for prompt in prompts]
    constraints = [
        constraint_of(one, prompt.ids, budget, rules)
        for one, prompt, budget in zip(asked, prompts, budgets, strict=True)
    ]
    sampling = sampling_of(rules.sampling)
    outputs = generate(
        net,
        [prompt.ids for prompt in prompts],
        layout=LAYOUT,
        sampling=sampling,
        constraints=constraints,
        seeds=[one.seed for one in asked],
        max_new_tokens=budgets,
        alignments=[prompt.alignment for prompt in prompts],
        against=[hide_words(p.ids, VOCABULARY.text) for p in prompts] if sampling.guided else None,
    )
    rows = [
        lay_out(
            one,
            DualCodes.from_interleaved([i - LAYOUT.audio_base for i in output.ids]),
            VOCABULARY,
            rules,
        )
        for one, output in zip(asked, outputs, strict=True)
    ]
    return rows, torch.stack(kept, 1).tolist()


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize(
    ("fields", "window"), [({}, 10), ({"guidance": 1.7}, 4), ({"temperature": 1.3}, 0)]
)
def test_they_are_the_samplers(
    aligned: bool, fields: dict[str, Any], window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = Rules(
        SamplingConfig(repetition_window=window, **fields),
        GenerationPolicy(min_length=0.5, max_growth_known=1.5),
    )
    net = model(aligned)
    asked = [
        request(seed, groups, plan=Plan(uniform_tempo=True))
        for seed, groups in ((0, 4), (1, 6), (2, 5))
    ]
    rows, known = drawn(asked, rules, net, monkeypatch)
    batch = collate_answers(rows, aligned=aligned)
    with torch.no_grad():
        found = token_log_probs(net, batch, LAYOUT)
    for row, ours, theirs in zip(rows, found.chosen.tolist(), known, strict=True):
        assert ours[: len(row.ids)] == pytest.approx(theirs[: len(row.ids)], abs=2e-4)
        assert not any(ours[len(row.ids) :])
    assert found.entropy[batch.drawn].min() >= 0


def test_copied_places_are_no_decisions(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = Rules(SamplingConfig(repetition_window=0), GenerationPolicy())
    free = (FreeGroups(1, 2, 2), FreeGroups(3, 4, 1))
    rows, _ = drawn([request(free=free)], rules, model(), monkeypatch)
    assert rows[0].drawn.tolist() == [True] * 10 + [False] * 5 + [True] * 5
    assert len(rows[0].prompt) == len(aligned_prompt(request(), VOCABULARY.text, "r1").ids) + 5
    batch = collate_answers(rows, aligned=False)
    found = token_log_probs(model(), batch, LAYOUT).chosen[0]
    assert (found[:10] < 0).all() and not found[10:15].any() and (found[15:] < 0).all()


def test_the_mask_is_the_samplers(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = Rules(SamplingConfig(repetition_window=0), GenerationPolicy(min_length=0.5))
    asked = request(3, 4, plan=Plan(uniform_tempo=True))
    (row,), _ = drawn([asked], rules, model(), monkeypatch)
    prompt = aligned_prompt(asked, VOCABULARY.text, "r1")
    budget = 4096 - len(prompt.ids)
    state = ConstraintState(
        [plan(constraint_of(asked, prompt.ids, budget, rules), budget)], torch.device("cpu")
    )
    for column, semantic, may_end in zip(row.columns, row.semantic, row.may_end, strict=True):
        allowed = state.allowed()[0]
        assert bool(allowed[CODE_COUNT]) == may_end
        assert bool(allowed[CODE_COUNT - 1]) == semantic and bool(allowed[0]) != semantic
        state.advance(torch.tensor([int(column)]))


def test_what_sampling_could_not_give_is_refused() -> None:
    rules = Rules(SamplingConfig(), GenerationPolicy(min_length=1.0))
    asked = request(plan=Plan(uniform_tempo=True))
    with pytest.raises(StepeditError, match=r"3 groups is outside of 4 to 6"):
        lay_out(asked, codes(1, 3), VOCABULARY, rules)
    with pytest.raises(StepeditError, match="had to copy"):
        lay_out(replace(asked, free=(FreeGroups(1, 2, 1),)), codes(1, 4), VOCABULARY, rules)
    for fields in ({"temperature": 0.0}, {"top_p": 0.9}, {"top_k": 5}):
        with pytest.raises(StepeditError, match="without top_k"):
            lay_out(asked, codes(1, 4), VOCABULARY, Rules(SamplingConfig(**fields), rules.policy))


def test_parts_keep_to_a_budget_and_lose_nothing() -> None:
    rules = Rules(SamplingConfig(repetition_window=0), GenerationPolicy())
    rows = [lay_out(request(n), codes(n, 3 + n), VOCABULARY, rules) for n in range(4)]
    parts = list(parts_within(rows, 2 * rows[-1].tokens))
    assert [at for part in parts for at in part] == [0, 1, 2, 3] and len(parts) > 1
    whole = token_log_probs(model(), collate_answers(rows, aligned=False), LAYOUT).chosen
    for part in parts:
        own = collate_answers([rows[at] for at in part], aligned=False)
        found = token_log_probs(model(), own, LAYOUT).chosen
        assert torch.allclose(found, whole[part, : found.shape[1]], atol=1e-4)


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("guidance", [1.0, 1.7])
def test_a_shared_prompt_is_read_once(
    aligned: bool, guidance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values and gradients are those of rows that read the prompt each for itself."""
    sampling = SamplingConfig(repetition_window=0, guidance=guidance)
    rules = Rules(sampling, GenerationPolicy(max_growth=3.0))
    asked = [request(0, 4)] * 3
    rows = [lay_out(one, codes(n, 3 + n), VOCABULARY, rules) for n, one in enumerate(asked)]
    batch = collate_answers(rows, aligned=aligned)
    assert batch.shared == len(rows[0].prompt) - 1
    found = []
    for one in (batch, replace(batch, shared=0)):
        net = model(aligned)
        read = []
        net.model.embed_tokens.register_forward_hook(
            lambda _, ids, out, read=read: read.append(ids[0].numel())
        )
        token_log_probs(net, one, LAYOUT).chosen.sum().backward()
        with torch.no_grad():
            values = token_log_probs(net, one, LAYOUT).chosen
        found.append((values, [weight.grad for weight in net.parameters()], sum(read)))
    (values, grads, few), (expected, true, many) = found
    assert torch.allclose(values, expected, atol=1e-5)
    for own, other in zip(grads, true, strict=True):
        assert own is not None and other is not None
        assert float((own - other).norm()) < 1e-5 * float(other.norm())
    assert few < 0.6 * many


def test_parts_share_the_prompts_of_their_rows() -> None:
    rules = Rules(SamplingConfig(repetition_window=0), GenerationPolicy(max_growth=3.0))
    rows = [lay_out(request(n // 4), codes(n, 5), VOCABULARY, rules) for n in range(8)]
    budget = len(rows[0].prompt) + 4 * (len(rows[0].ids) + 1)
    assert list(parts_within(rows, budget)) == [[0, 1, 2, 3], [4, 5, 6, 7]]
