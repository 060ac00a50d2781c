"""Answers that share their prompts, leave the batch, and are dropped."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch

from stepedit_core.models.lm import lanes, session
from stepedit_core.models.lm.constraints import grammar
from stepedit_core.models.lm.generation import generate
from stepedit_core.models.lm.kept_graphs import release_graphs
from stepedit_core.models.lm.sampling import GREEDY, Sampling
from stepedit_core.models.lm.step1 import Step1ForCausalLM, decoding
from stepedit_core.models.lm.step1.alignment import Alignment, alignment_tensor
from stepedit_core.models.lm.step1.decoding import Decoder, GraphDecoder
from stepedit_core.models.lm.step1.heads import full_head
from stepedit_core.models.lm.step1.network import fuse_projections
from stepedit_core.models.lm.step1.prefix import SharedPrefixKV
from tests.models.lm.test_generation import ReplayedStep
from tests.models.lm.test_position_priors import RULE
from tests.models.tiny_step1 import LAYOUT, prompts, tiny_model

OWNERS = [1, 0, 1, 1, 2]


@pytest.fixture(scope="module", params=[False, True])
def model(request: pytest.FixtureRequest) -> Step1ForCausalLM:
    return tiny_model(source_alignment=RULE) if request.param else tiny_model()


def padded(model: Step1ForCausalLM) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    rows = prompts()
    longest = max(map(len, rows))
    ids = torch.tensor([[0] * (longest - len(row)) + row for row in rows])
    valid = torch.arange(longest)[None] >= torch.tensor([[longest - len(row)] for row in rows])
    if model.config.source_alignment is None:
        return ids, valid, None
    items = [Alignment(2, len(row) - 1, len(row), "audio", ((0.0, 1.0),)) for row in rows]
    return ids, valid, alignment_tensor(items, [longest - len(row) for row in rows])


@torch.inference_mode()
def test_shared_prompts_give_what_copies_of_them_give(model: Step1ForCausalLM) -> None:
    ids, valid, records = padded(model)
    owners = torch.tensor(OWNERS)
    shared = Decoder(model, 3, 4, full_head(model))
    copies = Decoder(model, len(OWNERS), 4, full_head(model))
    first = shared.prefill(ids, valid, records, owners)
    again = copies.prefill(ids[owners], valid[owners], None if records is None else records[owners])
    assert isinstance(shared.kv, SharedPrefixKV)
    torch.testing.assert_close(first, again)
    token = torch.tensor([[400], [900], [77], [3000], [5]])
    for step in range(40):  # beyond one window of biases, and the first storage
        one, other = shared.step(token + step), copies.step(token + step)
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
        if step == 9:
            more = torch.arange(15).view(5, 3) + 100
            shared.feed(more)
            copies.feed(more)
        if step == 20:  # a prompt loses all of its rows, another some
            kept = torch.tensor([0, 2, 4])
            copies, token = copies.select(kept), token[kept]
            shared.keep(kept)
        if step == 30:
            kept = torch.tensor([0, 2])
            shared, token = shared.select(kept), token[kept]
            copies.keep(kept)


@torch.inference_mode()
def test_rows_of_one_prompt_may_have_alignments_of_their_own() -> None:
    model = tiny_model(source_alignment=RULE)
    ids, _, _ = padded(model)
    last = ids[2:]
    count = last.shape[1]
    each = [Alignment(2, count - 1, count, "audio", ((0.0, pace),)) for pace in (1.0, 1.0, 0.5)]
    shared = Decoder(model, 1, 4, full_head(model))
    shared.prefill(last, None, alignment_tensor(each[:1]))
    shared.fork(torch.zeros(3, dtype=torch.int64), 8, alignment_tensor(each))
    copies = Decoder(model, 3, 4, full_head(model))
    copies.prefill(last.repeat(3, 1), None, alignment_tensor(each))
    token = torch.tensor([[4000], [4000], [4000]])
    for _ in range(6):
        one, other = shared.step(token), copies.step(token)
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    # Rows of one product may differ by rounding: which kernel takes a row depends on the processor.
    torch.testing.assert_close(one[0], one[1], rtol=1e-5, atol=1e-5)
    assert not torch.allclose(one[1], one[2], rtol=1e-3, atol=1e-3)


def test_the_bias_of_a_step_is_that_of_its_window(model: Step1ForCausalLM) -> None:
    ids, valid, records = padded(model)
    decoder = Decoder(model, 3, 4, full_head(model))
    decoder.prefill(ids, valid, records)
    start = decoder.kv.used
    for slot in (start, start + 1, start + 31):
        decoder.kv.used = slot
        plain = model.model.bias(1, slot, valid, records).whole(slot + 1)
        window = decoder._bias(1).whole(slot + 1)
        assert torch.equal(window.expand_as(plain), plain)


def test_equal_prompts_are_read_once(
    model: Step1ForCausalLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    whole = Decoder._read

    def noted(self: Decoder, ids: torch.Tensor, last: int | None = None) -> torch.Tensor:
        read.append(ids.shape[0])
        return whole(self, ids, last)

    monkeypatch.setattr(Decoder, "_read", noted)
    monkeypatch.setattr(lanes, "_MOST", 1)
    rows = prompts(2)
    many = [rows[0]] * 3 + [rows[1]]
    priors = [None] * 4 if model.config.source_alignment is not None else None
    request = {"layout": LAYOUT, "constraints": [grammar(4, 4)] * 4, "alignments": priors}
    greedy = generate(model, many, sampling=GREEDY, **request)  # type: ignore[arg-type]
    assert read[:2] == [2, 4]
    assert greedy[0] == greedy[1] == greedy[2]
    one = {**request, "constraints": [grammar(4, 4)], "alignments": priors and [None]}
    assert generate(model, rows[:1], sampling=GREEDY, **one) == greedy[:1]  # type: ignore[arg-type]
    drawn = generate(model, many, seeds=[1, 2, 3, 4], **request)  # type: ignore[arg-type]
    for place, seed in enumerate([1, 2, 3, 4]):
        alone = generate(model, [many[place]], seeds=[seed], **one)  # type: ignore[arg-type]
        assert alone == [drawn[place]]


def test_graphs_copy_what_equal_prompts_share_and_are_kept_for_two_batch_sizes(
    model: Step1ForCausalLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    captured = []

    def capture(self: GraphDecoder, limit: int) -> tuple[ReplayedStep, torch.Tensor]:
        captured.append(self.key[0])
        step = ReplayedStep(self, limit)
        return step, step.logits

    monkeypatch.setattr(GraphDecoder, "_capture", capture)
    rows = prompts(2)
    try:
        for many in ([rows[0], rows[1], rows[1]], rows, [rows[1], rows[0], rows[0]], rows):
            priors = [None] * len(many) if model.config.source_alignment is not None else None
            request = {
                "layout": LAYOUT,
                "constraints": [grammar(4, 4)] * len(many),
                "alignments": priors,
                "seeds": list(range(len(many))),
            }
            plain = generate(model, many, **request)  # type: ignore[arg-type]
            assert generate(model, many, graphs=True, **request) == plain  # type: ignore[arg-type]
        assert captured == [3, 2]
    finally:
        release_graphs(model)


def test_half_precision_gets_copies_of_the_prompt() -> None:
    model = tiny_model().bfloat16()
    ids, valid, _ = padded(tiny_model())
    decoder = Decoder(model, 3, 4, full_head(model))
    with torch.inference_mode():
        decoder.prefill(ids, valid, None, torch.tensor(OWNERS))
        assert decoder.step(torch.ones(5, 1, dtype=torch.int64)).shape[0] == 5
    assert not isinstance(decoder.kv, SharedPrefixKV)


@pytest.mark.parametrize("guidance", [1.0, 1.5])
def test_ended_items_leave_the_batch(
    model: Step1ForCausalLM, guidance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    run = decoding.Decoder._read

    def noted(self: Decoder, ids: torch.Tensor, last: int | None = None) -> torch.Tensor:
        sizes.append(ids.shape[0])
        return run(self, ids, last)

    rows = [prompts(3)[2]] * 6
    request = {
        "layout": LAYOUT,
        "sampling": Sampling(temperature=1.2, guidance=guidance),
        "constraints": [grammar(n, n) for n in (1, 7, 2, 5, 1, 3)],
        "seeds": [1, 2, 3, 4, 5, 6],
        "alignments": None if model.config.source_alignment is None else [None] * 6,
        "against": [list(reversed(row)) for row in rows],
    }
    with monkeypatch.context() as patched:
        patched.setattr(session, "_LEAST_SHARE", 0)
        patched.setattr(session.Session, "compact", lambda *_: None)
        whole = generate(model, rows, **request)  # type: ignore[arg-type]
    monkeypatch.setattr(Decoder, "_read", noted)
    assert generate(model, rows, **request) == whole  # type: ignore[arg-type]
    assert sizes[-1] == (1 if guidance == 1 else 2) and sorted(sizes[1:])[-1] == sizes[1]


class DropsLong:
    """Drops one item as soon as any has ended."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[int], list[int]]] = []

    def hopeless(
        self, finished: Mapping[int, list[int]], running: Mapping[int, list[int]]
    ) -> list[int]:
        self.asked.append((sorted(finished), sorted(running)))
        return [2] if 2 in running else []


def test_hopeless_items_are_dropped(model: Step1ForCausalLM) -> None:
    rows = [prompts(1)[0]] * 3
    priors = None if model.config.source_alignment is None else [None] * 3
    watcher = DropsLong()
    request = {
        "layout": LAYOUT,
        "constraints": [grammar(n, n) for n in (2, 30, 40)],
        "seeds": [1, 2, 3],
        "alignments": priors,
    }
    whole = generate(model, rows, **request)  # type: ignore[arg-type]
    given = generate(model, rows, watcher=watcher, **request)  # type: ignore[arg-type]
    assert given[:2] == whole[:2]
    assert given[2].finish == "dropped" and len(given[2].ids) < 60
    assert watcher.asked[0] == ([0], [1, 2]) and watcher.asked[1] == ([0], [1])


def test_fused_projections_give_the_same_until_weights_change() -> None:
    model = tiny_model().requires_grad_(False)
    ids = torch.tensor(prompts(1))
    plain = model(ids).logits
    state = {name: value.clone() for name, value in model.state_dict().items()}
    fuse_projections(model)
    torch.testing.assert_close(model(ids).logits, plain)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    layer = model.model.layers[0]
    assert layer.self_attn.fused.weight() is not None
    with torch.no_grad():
        layer.self_attn.k_proj.weight.mul_(2)  # in place: seen by the joined matrix
    changed = model(ids).logits
    assert not torch.allclose(changed, plain)
    double = model.double()  # moved: the joined matrix is of no use any more
    assert layer.self_attn.fused.weight() is None
    torch.testing.assert_close(double(ids).logits.float(), changed, rtol=1e-3, atol=1e-3)
