from __future__ import annotations

import numpy as np
import pytest
import torch

from stepedit_core.codes import DualCodes
from stepedit_core.errors import BudgetError
from stepedit_core.models.lm.constraint_state import ConstraintState
from stepedit_core.models.lm.constraints import CODE_COUNT, Copy, Free, grammar, mask, plan

CPU = torch.device("cpu")


def codes(groups: int, seed: int = 0) -> DualCodes:
    rng = np.random.default_rng(seed)
    return DualCodes(rng.integers(0, 1024, 2 * groups), rng.integers(0, 4096, 3 * groups))


def copied(groups: int, seed: int = 0) -> Copy:
    return Copy(tuple(codes(groups, seed).interleave().tolist()))


def test_copies_must_be_whole_groups_in_phase() -> None:
    with pytest.raises(ValueError, match="whole groups"):
        Copy((1, 2, 1030))
    with pytest.raises(ValueError, match="should be a semantic code"):
        Copy((1, 2, 3, 1030, 1030))


def test_mask_copies_all_but_the_spans() -> None:
    source = codes(10)
    segments = mask(source, [(2, 4), (7, 8)])
    tokens = source.interleave().tolist()
    assert segments[0] == Copy(tuple(tokens[:10]))
    assert segments[1] == Free(2, 2)
    assert segments[2] == Copy(tuple(tokens[20:35]))
    assert segments[3:] == (Free(1, 1), Copy(tuple(tokens[40:])))
    for spans in ([(4, 2)], [(2, 5), (4, 6)], [(8, 11)]):
        with pytest.raises(ValueError, match="span"):
            mask(source, spans)


def test_plan_takes_the_copied_ends_out() -> None:
    first, middle, last = copied(2, 1), copied(1, 2), copied(3, 3)
    item = plan([first, Free(0, 2), middle, Free(1, 4), last], 1000)
    assert item.prefix == first.tokens
    assert item.suffix == last.tokens
    assert item.body == (Free(0, 2), middle, Free(1, 4))
    assert item.most_tokens == 10 + 5 + 20


def test_plan_joins_neighbours_and_drops_empty_segments() -> None:
    a, b = copied(1, 1), copied(1, 2)
    item = plan([Copy(()), a, b, Free(0, 0), b, Free(1, 2), Free(2, 3)], 1000)
    assert item.prefix == a.tokens + b.tokens + b.tokens
    assert item.body == (Free(3, 5),)
    assert plan([a, Free(0, 0), b], 100).body == ()


def test_plan_shares_the_budget_and_never_cuts_copies() -> None:
    item = plan([copied(2), Free(1), copied(2), Free(1, 2), copied(2)], 30 + 5 * 6)
    free = [s for s in item.body if isinstance(s, Free)]
    assert [s.max_groups for s in free] == [3, 2]
    assert len(item.prefix) + item.most_tokens + len(item.suffix) <= 60
    with pytest.raises(BudgetError, match="at least 35"):
        plan([copied(6), Free(1)], 34)
    with pytest.raises(ValueError, match="only the last"):
        plan([Free(0, 3, end_at_boundary=False), copied(1)], 100)


def test_grammar_keeps_phase_range_and_end() -> None:
    state = ConstraintState([plan(grammar(1, 2), 100)], CPU)
    for place in range(10):
        allowed = state.allowed()[0]
        linguistic = place % 5 < 2
        assert allowed[:1024].all() == linguistic
        assert allowed[:1024].any() == linguistic
        assert allowed[1024:CODE_COUNT].all() == (not linguistic)
        assert allowed[CODE_COUNT] == (place == 5)
        assert not state.ended
        token = 3 if linguistic else 2000
        assert state.advance(torch.tensor([token])).item() == token
    assert state.ended
    assert state.cut


def test_end_inside_a_group_only_where_allowed() -> None:
    state = ConstraintState([plan(grammar(0, 2, end_at_boundary=False), 100)], CPU)
    state.advance(torch.tensor([3]))
    assert state.allowed()[0, CODE_COUNT]
    assert state.advance(torch.tensor([CODE_COUNT])).item() == -1
    assert state.ended
    assert not state.cut


def test_an_end_inside_a_mask_continues_with_the_copy() -> None:
    middle = copied(2)
    long = plan([Free(0, 3), middle, Free(1, 1)], 1000)
    short = plan([Free(1, 1)], 1000)
    state = ConstraintState([long, short], CPU)
    assert state.copies_left().tolist() == [0, 0]
    emitted = state.advance(torch.tensor([CODE_COUNT, 7]))
    assert emitted.tolist() == [middle.tokens[0], 7]
    assert state.copies_left().tolist() == [9, 0]
    for token in middle.tokens[1:4]:  # what is sampled is not looked at while copying
        assert state.advance(torch.tensor([0, 1500]))[0].item() == token
    assert state.skip(1)[0].tolist() == [middle.tokens[4]]


def test_skip_equals_single_steps() -> None:
    middle = copied(3)
    item = plan([Free(1, 1), middle, Free(1, 1)], 1000)
    both = [ConstraintState([item], CPU) for _ in range(2)]
    for state in both:
        for token in (1, 2, 2000, 2001, 2002):
            state.advance(torch.tensor([token]))
    one_by_one = [both[0].advance(torch.tensor([0])).item() for _ in range(15)]
    assert both[1].skip(15)[0].tolist() == one_by_one == list(middle.tokens)
    assert torch.equal(both[0].segment, both[1].segment)
    assert torch.equal(both[0].allowed(), both[1].allowed())
