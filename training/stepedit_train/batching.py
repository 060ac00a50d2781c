"""Batches of about equal cost, in a seeded order that can be entered anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from stepedit_train.seeds import rng_of

__all__ = ["BatchPlan", "Position", "pack_batches"]

BUCKETS = 50
"""Items are sorted by cost within stretches of about this many batches, which keeps padding
low and batches random."""


@dataclass(frozen=True)
class Position:
    """Place in the data: the next batch to take.

    Attributes:
        epoch: passes over the data that are complete.
        batch: batches of the present pass that are done.
    """

    epoch: int = 0
    batch: int = 0


def pack_batches(costs: Sequence[float], order: Sequence[int], budget: float) -> list[list[int]]:
    """Cut an order of items into batches whose padded cost stays within the budget.

    The padded cost is the largest cost times the number of items. An item that is above the
    budget by itself becomes a batch of its own.

    Args:
        costs: seconds, frames or tokens of every item.
        order: item indices.
        budget: largest padded cost of a batch.
    """
    batches: list[list[int]] = []
    batch: list[int] = []
    longest = 0.0
    for index in order:
        longest = max(longest, costs[index])
        if batch and longest * (len(batch) + 1) > budget:
            batches.append(batch)
            batch, longest = [], costs[index]
        batch.append(index)
    return [*batches, batch] if batch else batches


class BatchPlan:
    """Seeded batches of every epoch; the same seed gives the same batches.

    Args:
        costs: seconds, frames or tokens of every item.
        budget: largest padded cost of a batch.
        seed: of the order.
    """

    def __init__(self, costs: Sequence[float], budget: float, seed: int) -> None:
        if not costs:
            raise ValueError("there are no items to make batches of")
        self.costs = list(costs)
        self.budget = budget
        self.seed = seed

    def epoch(self, number: int) -> list[list[int]]:
        """Return the batches of an epoch, as lists of item indices."""
        rng = rng_of(self.seed, "epoch", number)
        order = rng.permutation(len(self.costs))
        per_batch = max(1, round(self.budget / max(float(np.mean(self.costs)), 1e-9)))
        stretch = per_batch * BUCKETS
        sorted_order: list[int] = []
        for start in range(0, len(order), stretch):
            part = order[start : start + stretch].tolist()
            sorted_order += sorted(part, key=lambda index: self.costs[index])
        batches = pack_batches(self.costs, sorted_order, self.budget)
        return [batches[i] for i in rng.permutation(len(batches))]

    def start_at(self, position: Position) -> Iterator[tuple[list[int], Position]]:
        """Yield batches without end, each with the position that follows it."""
        epoch, first = position.epoch, position.batch
        while True:
            batches = self.epoch(epoch)
            for number in range(first, len(batches)):
                last = number + 1 == len(batches)
                after = Position(epoch + 1, 0) if last else Position(epoch, number + 1)
                yield batches[number], after
            epoch, first = epoch + 1, 0
