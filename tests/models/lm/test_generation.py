from __future__ import annotations

import numpy as np
import pytest
import torch

from stepedit_core.codes import DualCodes
from stepedit_core.errors import BudgetError
from stepedit_core.models.lm import session
from stepedit_core.models.lm.constraints import Free, Segment, grammar, mask
from stepedit_core.models.lm.generation import generate, stream
from stepedit_core.models.lm.kept_graphs import release_graphs
from stepedit_core.models.lm.sampling import GREEDY, Sampling
from stepedit_core.models.lm.step1 import Step1ForCausalLM, decoding
from stepedit_core.models.lm.step1.decoding import GraphDecoder
from stepedit_core.models.lm.token_layout import TokenLayout
from tests.models.tiny_step1 import LAYOUT, golden_model, prompts, tiny_model
from tests.shared_data import need_shared


@pytest.fixture(scope="module")
def model() -> Step1ForCausalLM:
    return tiny_model()


def source(groups: int) -> DualCodes:
    rng = np.random.default_rng(groups)
    return DualCodes(rng.integers(0, 1024, 2 * groups), rng.integers(0, 4096, 3 * groups))


def slow_greedy(model: Step1ForCausalLM, ids: list[int], steps: int, rule: bool) -> list[int]:
    """Argmax over the whole text at every step, with the public repetition rule."""
    out = list(ids)
    for _ in range(steps):
        with torch.no_grad():
            logits = model(torch.tensor([out])).logits[0, -1]
        last = out[-10:]
        if rule and len(last) == 10 and last.count(last[-1]) > 1:
            logits[last[-1]] = -torch.inf
        out.append(int(logits.argmax()))
    return out[len(ids) :]


@pytest.mark.parametrize("rule", [False, True])
def test_greedy_equals_recomputing_everything(model: Step1ForCausalLM, rule: bool) -> None:
    sampling = Sampling(temperature=0) if rule else GREEDY
    no_end = TokenLayout(LAYOUT.audio_base, eot=10**6)
    given = generate(model, prompts(), layout=no_end, sampling=sampling, max_new_tokens=15)
    for ids, item in zip(prompts(), given, strict=True):
        assert item.ids == slow_greedy(model, ids, 15, rule)
        assert item.finish == "length"


def test_an_end_of_turn_stops_an_item_and_is_not_returned(model: Step1ForCausalLM) -> None:
    ids = prompts(1)[0]
    free = slow_greedy(model, ids, 12, rule=False)
    layout = TokenLayout(LAYOUT.audio_base, eot=free[5])
    others = prompts(3)
    given = generate(model, [ids, others[2]], layout=layout, sampling=GREEDY, max_new_tokens=12)
    assert given[0].ids == free[: free.index(free[5])]
    assert given[0].finish == "stop"


CONSTRAINTS: dict[str, list[list[Segment]] | None] = {
    "public": None,
    "grammar": [list(grammar(1, 4)), list(grammar(0, 6)), list(grammar(3, 3))],
    "mask": [
        list(mask(source(8), [(2, 4), (6, 7)], [Free(0, 5), Free(1, 3)])),
        list(mask(source(5), [(0, 2)])),
        list(mask(source(9), [(1, 2), (5, 9)], [Free(0, 2), Free(0, 6)])),
    ],
}


@pytest.mark.parametrize("kind", CONSTRAINTS)
def test_a_batch_gives_what_single_calls_and_streams_give(
    model: Step1ForCausalLM, kind: str
) -> None:
    constraints, seeds = CONSTRAINTS[kind], [11, 5, 7]
    sampling = Sampling(temperature=1.3, top_k=400, top_p=0.98)
    batch = generate(
        model, prompts(), layout=LAYOUT, sampling=sampling, constraints=constraints,
        seeds=seeds, max_new_tokens=[60, 80, 70],
    )  # fmt: skip
    for index, ids in enumerate(prompts()):
        most = [60, 80, 70][index]
        own = None if constraints is None else constraints[index]
        single = generate(
            model, [ids], layout=LAYOUT, sampling=sampling,
            constraints=None if own is None else [own], seeds=[seeds[index]],
            max_new_tokens=most, check_every=7,
        )[0]  # fmt: skip
        assert single == batch[index]
        streamed = stream(
            model, ids, layout=LAYOUT, sampling=sampling, constraint=own,
            seed=seeds[index], max_new_tokens=most,
        )  # fmt: skip
        assert list(streamed) == single.ids


def other_prompts() -> list[list[int]]:
    return [[7, *ids[1:-1], 7] for ids in prompts()]


def test_guidance_moves_logits_away_from_the_second_prompt(model: Step1ForCausalLM) -> None:
    no_end = TokenLayout(LAYOUT.audio_base, eot=10**6)
    guided = Sampling(temperature=0, repetition_window=0, guidance=2.5)
    given = generate(
        model, prompts(), layout=no_end, sampling=guided, max_new_tokens=9, against=other_prompts()
    )
    for ids, other, item in zip(prompts(), other_prompts(), given, strict=True):
        out: list[int] = []
        for _ in range(9):
            with torch.no_grad():
                asked, unasked = (
                    model(torch.tensor([x + out])).logits[0, -1] for x in (ids, other)
                )
            out.append(int((unasked + 2.5 * (asked - unasked)).argmax()))
        assert item.ids == out != slow_greedy(model, ids, 9, rule=False)


@pytest.mark.parametrize("kind", CONSTRAINTS)
def test_guided_batches_give_what_single_streams_give(model: Step1ForCausalLM, kind: str) -> None:
    constraints, sampling = CONSTRAINTS[kind], Sampling(guidance=1.7)
    batch = generate(
        model, prompts(), layout=LAYOUT, sampling=sampling, constraints=constraints,
        seeds=[1, 2, 3], max_new_tokens=60, against=other_prompts(),
    )  # fmt: skip
    for index, (ids, other) in enumerate(zip(prompts(), other_prompts(), strict=True)):
        streamed = stream(
            model, ids, layout=LAYOUT, sampling=sampling, seed=index + 1, max_new_tokens=60,
            constraint=None if constraints is None else constraints[index], against=other,
        )  # fmt: skip
        assert list(streamed) == batch[index].ids
    for against in (None, other_prompts()[:2], [[1]] * 3):
        with pytest.raises(ValueError, match="second prompt"):
            generate(
                model, prompts(), layout=LAYOUT, sampling=sampling, seeds=[1, 2, 3],
                against=against,
            )  # fmt: skip


def test_seeds_matter(model: Step1ForCausalLM) -> None:
    same = [prompts(1)[0]] * 3
    free = [grammar(4, 4)] * 3
    given = generate(model, same, layout=LAYOUT, constraints=free, seeds=[1, 2, 1])
    assert given[0] == given[2]
    assert given[0] != given[1]


def test_grammar_output_is_dual_codes(model: Step1ForCausalLM) -> None:
    given = generate(
        model, prompts(), layout=LAYOUT, constraints=[grammar(2, 6)] * 3, seeds=[1, 2, 3]
    )
    for item in given:
        tokens = [i - LAYOUT.audio_base for i in item.ids]
        assert 10 <= len(tokens) <= 30
        assert len(tokens) % 5 == 0
        DualCodes.from_interleaved(tokens)


def test_mask_leaves_everything_outside_untouched(model: Step1ForCausalLM) -> None:
    codes, spans = source(12), [(3, 5), (8, 9)]
    item = generate(model, prompts(1), layout=LAYOUT, constraints=[mask(codes, spans)], seeds=[4])[
        0
    ]
    rows = (np.array(item.ids) - LAYOUT.audio_base).reshape(-1, 5)
    expected = codes.interleave().reshape(-1, 5)
    outside = [g for g in range(12) if not any(a <= g < b for a, b in spans)]
    assert len(rows) == 12
    assert np.array_equal(rows[outside], expected[outside])
    assert (rows[[3, 4, 8]] != expected[[3, 4, 8]]).any()
    assert item.finish == "stop"


def test_copied_tokens_are_context_for_what_follows(
    model: Step1ForCausalLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading copies in one pass gives what reading them one by one gives."""
    request = {"layout": LAYOUT, "constraints": CONSTRAINTS["mask"][:1], "seeds": [3]}  # type: ignore[index]
    ahead = generate(model, prompts(1), **request)  # type: ignore[arg-type]
    monkeypatch.setattr(session.Session, "_copy_ahead", lambda *_: None)
    assert generate(model, prompts(1), **request) == ahead  # type: ignore[arg-type]
    elsewhere = mask(source(7), [(2, 4), (6, 7)], [Free(2, 5), Free(1, 3)])
    other = generate(model, prompts(1), layout=LAYOUT, constraints=[elsewhere], seeds=[3])
    assert other != ahead


def test_masks_without_free_groups_need_no_model() -> None:
    codes = source(4)
    given = generate(
        tiny_model(), [[1, 2]], layout=LAYOUT, constraints=[mask(codes, [])], sampling=GREEDY
    )[0]
    assert [i - LAYOUT.audio_base for i in given.ids] == codes.interleave().tolist()


def test_a_stream_gives_ids_before_the_end(model: Step1ForCausalLM) -> None:
    steps = 0

    def count(*_: object) -> None:
        nonlocal steps
        steps += 1

    handle = model.model.norm.register_forward_hook(count)
    try:
        ids = stream(model, prompts(1)[0], layout=LAYOUT, constraint=grammar(9, 9), seed=1)
        next(ids)
        assert steps <= 2
        assert torch.is_grad_enabled()
        assert len(list(ids)) == 44
    finally:
        handle.remove()


def test_the_cache_grows(model: Step1ForCausalLM, monkeypatch: pytest.MonkeyPatch) -> None:
    request = {"layout": LAYOUT, "constraints": [grammar(12, 12)], "seeds": [2]}
    whole = generate(model, prompts(1), **request)  # type: ignore[arg-type]
    monkeypatch.setattr(session, "_FIRST_CAPACITY", 3)
    assert generate(model, prompts(1), **request) == whole  # type: ignore[arg-type]


def test_prompts_read_in_parts_give_the_same(
    model: Step1ForCausalLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = {"layout": LAYOUT, "constraints": [grammar(3, 3)] * 3, "seeds": [1, 2, 3]}
    whole = generate(model, prompts(), **request)  # type: ignore[arg-type]
    monkeypatch.setattr(decoding, "_PREFILL_ROWS", 4)
    assert generate(model, prompts(), **request) == whole  # type: ignore[arg-type]


class ReplayedStep:
    """Stands in for a CUDA graph: replaying runs the step again into the same tensor."""

    def __init__(self, decoder: GraphDecoder, limit: int) -> None:
        self.decoder, self.limit = decoder, limit
        self.logits = decoder._forward(limit).clone()

    def replay(self) -> None:
        self.logits.copy_(self.decoder._forward(self.limit))


@pytest.mark.parametrize("kind", CONSTRAINTS)
def test_static_shapes_give_what_growing_ones_give(
    model: Step1ForCausalLM, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    captured = []

    def capture(self: GraphDecoder, limit: int) -> tuple[ReplayedStep, torch.Tensor]:
        captured.append(limit)
        step = ReplayedStep(self, limit)
        return step, step.logits

    monkeypatch.setattr(GraphDecoder, "_capture", capture)
    monkeypatch.setattr(decoding, "_BUCKET", 16)
    monkeypatch.setattr(session, "_FIRST_CAPACITY", 8)
    request = {
        "layout": LAYOUT,
        "sampling": Sampling(temperature=1.2),
        "constraints": CONSTRAINTS[kind],
        "max_new_tokens": [60, 80, 70],
    }
    try:
        for seed in (1, 2):  # the second call reuses what the first one captured
            seeds = [seed, seed + 1, seed + 2]
            plain = generate(model, prompts(), seeds=seeds, **request)  # type: ignore[arg-type]
            static = generate(model, prompts(), seeds=seeds, graphs=True, **request)  # type: ignore[arg-type]
            assert static == plain
        assert len(set(captured)) > 1
    finally:
        release_graphs(model)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_cuda_graphs_give_what_eager_steps_give(dtype: torch.dtype) -> None:
    model = tiny_model(hidden_size=96, num_attention_heads=12).to("cuda", dtype)
    request = {"layout": LAYOUT, "sampling": GREEDY, "max_new_tokens": 300}
    eager = generate(model, prompts(), graphs=False, **request)  # type: ignore[arg-type]
    for _ in range(2):
        assert generate(model, prompts(), graphs=True, **request) == eager  # type: ignore[arg-type]
    if dtype == torch.float32:
        cpu = model.float().cpu()
        assert generate(cpu, prompts(), **request) == eager  # type: ignore[arg-type]


def test_requests_that_do_not_fit_are_refused_before_running(model: Step1ForCausalLM) -> None:
    ids = prompts(1)
    with pytest.raises(BudgetError, match="4095 tokens and 2 more"):
        generate(model, [[9] * 4095], layout=LAYOUT, sampling=GREEDY, max_new_tokens=2)
    with pytest.raises(BudgetError, match="at least 50"):
        generate(model, ids, layout=LAYOUT, constraints=[grammar(10)], seeds=[0], max_new_tokens=49)
    with pytest.raises(ValueError, match="one seed per prompt"):
        generate(model, ids, layout=LAYOUT)
    with pytest.raises(ValueError, match="2 seeds"):
        generate(model, ids, layout=LAYOUT, seeds=[1, 2])
    with pytest.raises(ValueError, match="empty"):
        generate(model, [[]], layout=LAYOUT, seeds=[1])
    with pytest.raises(ValueError, match="vocabulary"):
        generate(model, ids, layout=TokenLayout(), constraints=[grammar()], seeds=[1])
    with pytest.raises(BudgetError):
        stream(model, [9] * 5000, layout=LAYOUT, seed=1)
    assert generate(model, [], layout=LAYOUT) == []


@pytest.mark.parametrize("which", ["tiny_a", "tiny_b"])
def test_greedy_equals_the_public_continuations(which: str) -> None:
    folder = need_shared("checkpoints", which)
    golden = np.load(folder / "goldens" / "10_prompts_greedy.npz")
    model = golden_model(folder)
    names = [name.removeprefix("prompt_") for name in golden if name.startswith("prompt_")]
    rows = [golden[f"prompt_{name}"].tolist() for name in names]
    for kind, sampling in (("plain", GREEDY), ("rep", Sampling(temperature=0))):
        request = {"layout": TokenLayout(), "sampling": sampling, "max_new_tokens": 40}
        batch = generate(model, rows, **request)  # type: ignore[arg-type]
        for name, row, item in zip(names, rows, batch, strict=True):
            assert item.ids == golden[f"greedy_{name}_{kind}"].tolist(), name
            assert generate(model, [row], **request) == [item]  # type: ignore[arg-type]


@pytest.mark.parametrize("which", ["tiny_a", "tiny_b"])
def test_repetition_rule_changes_what_it_publicly_changes(which: str) -> None:
    folder = need_shared("checkpoints", which)
    golden = np.load(folder / "goldens" / "10_repetition_greedy.npz")
    model = golden_model(folder)
    safe = [j for j in range(6) if golden[f"min_margin_{j}"] > 1e-3]
    rows = [golden[f"prompt_{j}"].tolist() for j in safe]
    for kind, sampling in (("plain", GREEDY), ("rep", Sampling(temperature=0))):
        batch = generate(model, rows, layout=TokenLayout(), sampling=sampling, max_new_tokens=24)
        for j, item in zip(safe, batch, strict=True):
            assert item.ids == golden[f"{kind}_{j}"].tolist()
