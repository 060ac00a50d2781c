"""Batches within a budget, in an order that can be entered anywhere."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from stepedit_train.batching import BatchPlan, Position, pack_batches

COSTS = np.random.default_rng(3).uniform(1, 15, 400).tolist()


def test_batches_hold_every_item_once_within_the_budget() -> None:
    batches = BatchPlan(COSTS, 60.0, seed=0).epoch(4)
    assert sorted(index for batch in batches for index in batch) == list(range(400))
    assert all(max(COSTS[i] for i in batch) * len(batch) <= 60.0 for batch in batches)
    padded = sum(max(COSTS[i] for i in batch) * len(batch) for batch in batches)
    assert padded < 1.1 * sum(COSTS)


def test_an_item_above_the_budget_is_a_batch_of_its_own() -> None:
    assert pack_batches([1.0, 9.0, 2.0, 2.0], [0, 1, 2, 3], 4.0) == [[0], [1], [2, 3]]


def test_the_order_depends_on_seed_and_epoch() -> None:
    plan = BatchPlan(COSTS, 60.0, seed=0)
    assert plan.epoch(1) == BatchPlan(COSTS, 60.0, seed=0).epoch(1)
    assert plan.epoch(1) != plan.epoch(2)
    assert plan.epoch(1) != BatchPlan(COSTS, 60.0, seed=1).epoch(1)


@pytest.mark.parametrize("stop", [0, 1, 70, 140])
def test_an_order_entered_later_goes_on_the_same(stop: int) -> None:
    plan = BatchPlan(COSTS, 60.0, seed=5)
    whole = list(itertools.islice(plan.start_at(Position()), 150))
    position = whole[stop - 1][1] if stop else Position()
    rest = list(itertools.islice(plan.start_at(position), 150 - stop))
    assert rest == whole[stop:]
    assert whole[-1][1].epoch >= 1


def test_nothing_to_batch_is_an_error() -> None:
    with pytest.raises(ValueError, match="no items"):
        BatchPlan([], 1.0, 0)
