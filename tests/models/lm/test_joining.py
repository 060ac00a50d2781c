"""Rows that join a batch of others' while these are generated."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from stepedit_core.models.lm.answers import Generated
from stepedit_core.models.lm.constraints import Free, Segment, grammar, mask
from stepedit_core.models.lm.generation import generate
from stepedit_core.models.lm.joining import can_join, is_time, join
from stepedit_core.models.lm.sampling import GREEDY, Sampling
from stepedit_core.models.lm.session import Session
from stepedit_core.models.lm.step1 import Step1ForCausalLM
from stepedit_core.models.lm.step1.alignment import Alignment, alignment_tensor
from stepedit_core.models.lm.step1.decoding import Decoder
from stepedit_core.models.lm.step1.heads import full_head
from tests.models.lm.begun_session import session_of
from tests.models.lm.test_constraints import codes
from tests.models.lm.test_position_priors import RULE
from tests.models.tiny_step1 import LAYOUT, tiny_model

PROMPTS = [list(range(5, 5 + size)) for size in (9, 4, 14, 6, 21)]


@pytest.fixture(scope="module", params=[False, True])
def model(request: pytest.FixtureRequest) -> Step1ForCausalLM:
    return tiny_model(source_alignment=RULE) if request.param else tiny_model()


def alignment(row: Sequence[int], pace: float = 1.0) -> Alignment:
    return Alignment(2, len(row) - 1, len(row), "audio", ((0.0, pace), (3.0, 0.25)))


def decoder_of(model: Step1ForCausalLM, rows: list[list[int]], owners: list[int]) -> Decoder:
    """Return a decoder that has read prompts of several lengths."""
    longest = max(map(len, rows))
    pads = [longest - len(row) for row in rows]
    ids = torch.tensor([[0] * n + row for n, row in zip(pads, rows, strict=True)])
    valid = torch.arange(longest)[None] >= torch.tensor(pads)[:, None]
    records = None
    if model.config.source_alignment is not None:
        records = alignment_tensor([alignment(row) for row in rows], pads)
    found = Decoder(model, len(rows), 4, full_head(model))
    found.prefill(ids, valid if any(pads) else None, records, torch.tensor(owners))
    return found


def tokens(rows: int, step: int) -> torch.Tensor:
    return (torch.arange(rows) * 137 + step * 71 + 100)[:, None] % 5000


@torch.inference_mode()
@pytest.mark.parametrize("first", [[[0, 1], [0, 1, 0]], [[2], [0, 0]]])
def test_logits_of_rows_that_joined(model: Step1ForCausalLM, first: list[list[int]]) -> None:
    (own, owners), late = first, 37
    older = decoder_of(model, [PROMPTS[n] for n in own], owners)
    alone = decoder_of(model, [PROMPTS[n] for n in own], owners)
    newer = decoder_of(model, PROMPTS[3:], [1, 0])
    newer_alone = decoder_of(model, PROMPTS[3:], [1, 0])
    count = len(owners)
    for step in range(late):
        older.step(tokens(count, step)), alone.step(tokens(count, step))
    newer.step(tokens(2, 0)), newer_alone.step(tokens(2, 0))  # not only prompts
    order = torch.tensor([*range(count), count + 1, count])
    older.join(newer, order)
    for step in range(40):  # beyond one window of biases
        mine, its = tokens(count, late + step), tokens(2, step)
        found = older.step(torch.cat([mine, its[[1, 0]]]))
        wanted = torch.cat([alone.step(mine), newer_alone.step(its)[[1, 0]]])
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    more = torch.arange(2 * count + 4).view(count + 2, 2) + 7
    older.feed(more)  # several at once
    alone.feed(more[:count])
    newer_alone.feed(more[[count + 1, count]])
    # The older rows leave, and slots that only they had are given up at the next join.
    older.keep(torch.arange(count, count + 2))
    another = decoder_of(model, [PROMPTS[1]], [0])
    another_alone = decoder_of(model, [PROMPTS[1]], [0])
    before = older.kv.used
    older.join(another, torch.arange(3))
    assert older.kv.used <= before - late + max(map(len, PROMPTS[3:]))
    for step in range(3):
        token = tokens(3, step)
        wanted = torch.cat([newer_alone.step(token[[1, 0]])[[1, 0]], another_alone.step(token[2:])])
        torch.testing.assert_close(older.step(token), wanted, rtol=1e-4, atol=1e-4)


CONSTRAINTS: list[Sequence[Segment]] = [
    grammar(2, 30),
    grammar(1, 3),
    mask(codes(12), [(2, 4), (7, 7)], [Free(3, 3), Free(1, 6)]),
    grammar(4, 9),
    mask(codes(9), [(0, 3)], [Free(2, 20)]),
]
SAMPLINGS = [GREEDY, Sampling(), Sampling(temperature=1.5, guidance=1.5, repetition_window=0)]


def begun(model: Step1ForCausalLM, sampling: Sampling, items: Sequence[int]) -> Session:
    return session_of(model, sampling, items, PROMPTS, CONSTRAINTS, alignment)


def alone(model: Step1ForCausalLM, sampling: Sampling) -> list[Generated]:
    has_rule = model.config.source_alignment is not None
    return [
        generate(
            model,
            [row],
            layout=LAYOUT,
            sampling=sampling,
            constraints=[CONSTRAINTS[n]],
            seeds=[100 + n],
            max_new_tokens=200,
            alignments=[alignment(row)] if has_rule else None,
            against=[list(reversed(row))],
        )[0]
        for n, row in enumerate(PROMPTS)
    ]


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_each_says_what_it_says_alone(model: Step1ForCausalLM, sampling: Sampling) -> None:
    wanted = alone(model, sampling)
    session = begun(model, sampling, [0, 1])
    others, numbers = [(3, [2, 3]), (60, [4])], [0, 1]
    for _ in session.run(None):
        is_running = len(session.ended_items()) < session.count
        if others and is_running and session.done_steps >= others[0][0]:
            _, items = others[0]
            other = begun(model, sampling, items)
            next(other.run(None))
            assert can_join(session, other)
            if is_time(session, other):
                assert join(session, other) == len(numbers)
                numbers += others.pop(0)[1]
    found = session.results()
    assert len(found) >= 4
    for place, number in enumerate(numbers):
        assert found[place] == wanted[number], number


def test_a_batch_that_never_ends_stays_small(model: Step1ForCausalLM) -> None:
    session = begun(model, SAMPLINGS[1], [3])
    steps = session.run(None)
    next(steps)
    for _ in range(30):
        for _ in range(15):
            next(steps)
        session.forget(session.ended_items())
        other = begun(model, SAMPLINGS[1], [3])
        next(other.run(None))
        if (session.done_steps - other.done_steps) % 5 == 0:
            join(session, other)
    assert session.state.out.shape[1] < 200
    assert session.decoder is not None and session.decoder.kv.used < 120
    assert len(session.open_items) + len(session.left) < 20
    assert session.plans is not None and len(session.plans) < 20


def test_those_that_are_free_of_groups_cannot_join(model: Step1ForCausalLM) -> None:
    one, other = begun(model, GREEDY, [0]), begun(model, GREEDY, [1])
    assert not can_join(one, other)  # nothing is read yet
    next(one.run(None)), next(other.run(None))
    assert can_join(one, other)
    other.constraint = None
    assert not can_join(one, other)
