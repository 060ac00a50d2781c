"""Use all cores for a batch: its prompts in lanes, each on a thread of its own.

A decode step of a small model is one call that runs on one core, and gains nothing by more. The
rows of a batch do not depend on each other, so each core takes some of them from the reading of
their prompts to the last token. torch and onnxruntime let go of Python's lock while they compute.
Draws hang on a row's seed alone; logits are equal up to rounding, as in a batch of another size.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch

__all__ = ["in_lanes", "lane_count", "shared_out"]

_MOST = 4
"""Lanes at most: between their calls all need Python's lock, for about a fifth of a step."""
_SAID = 2
"""A token that is said costs about as much as so many of a prompt."""

Work = Callable[[threading.Event], None]


def lane_count() -> int:
    """Return how many lanes the threads that torch may use in this one are enough for."""
    return min(torch.get_num_threads(), _MOST)


def shared_out(
    prompts: Sequence[Hashable], read: Sequence[int], said: Sequence[int], count: int
) -> list[list[int]]:
    """Share the rows of a batch out among lanes, those of one prompt into one lane.

    Args:
        prompts: of the rows; equal ones are read once.
        read: tokens of each row's prompt.
        said: tokens that each row may say at most.
        count: lanes at most.

    Returns:
        Numbers of rows in ascending order, for each lane; the first one has most to do.
    """
    rows: dict[Hashable, list[int]] = {}
    for row, prompt in enumerate(prompts):
        rows.setdefault(prompt, []).append(row)
    cost = {
        prompt: read[own[0]] + _SAID * sum(said[row] for row in own) for prompt, own in rows.items()
    }
    lanes: list[list[int]] = [[] for _ in range(min(count, len(rows)))]
    loads = [0] * len(lanes)
    for prompt in sorted(rows, key=lambda one: -cost[one]):
        least = loads.index(min(loads))
        lanes[least] += rows[prompt]
        loads[least] += cost[prompt]
    by_load = sorted(range(len(lanes)), key=lambda lane: -loads[lane])
    return [sorted(lanes[lane]) for lane in by_load]


def in_lanes(works: Sequence[Work]) -> None:
    """Carry works out at once, the first one in this thread.

    Args:
        works: told when another has failed, and to stop then.

    Raises:
        BaseException: what one of them has raised, once all have stopped.
    """
    stopped = threading.Event()

    def carried_out(work: Work) -> None:
        try:
            work(stopped)
        except BaseException:
            stopped.set()
            raise

    with _one_core_each(len(works)), ThreadPoolExecutor(len(works) - 1) as threads:
        others = [threads.submit(carried_out, work) for work in works[1:]]
        carried_out(works[0])
        try:
            for other in others:
                other.result()
        except BaseException:  # a KeyboardInterrupt reaches this thread alone
            stopped.set()
            raise


@contextmanager
def _one_core_each(lanes: int) -> Iterator[None]:
    """Share torch's threads out among lanes; threads that begin meanwhile have as many."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, before // lanes))
    try:
        yield
    finally:
        torch.set_num_threads(before)
