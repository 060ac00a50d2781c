"""Use all cores for a batch: its rows in lanes, each on a thread of its own.

A decode step of a small model is one call that runs on one core, and gains nothing by more. The
rows of a batch do not depend on each other: each core takes some prompts from their reading to the
last token, or some of the answers to one prompt. torch and onnxruntime let go of Python's lock
while they compute. Draws hang on a row's seed alone; logits are equal up to rounding, as in a
batch of another size.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import torch

from stepedit_core.models.lm.answers import Generated, OneAtATime
from stepedit_core.models.lm.session import Session
from stepedit_core.models.lm.step1.folded import folded_stack

__all__ = ["finish", "in_lanes", "shared_out"]

_MOST = 4
"""Lanes at most: between their calls all need Python's lock."""
_SAID = 2
"""A token that is said costs about as much as so many of a prompt."""
_LEAST_ANSWERS = 8
"""Answers to one prompt that a lane has at least: a step of fewer costs half as much or more."""

Work = Callable[[threading.Event], None]


def finish(session: Session, check_every: int | None = None) -> list[Generated]:
    """Run a session that has not begun to its end, in lanes where it pays.

    Args:
        session: of small models on a CPU several lanes are made; others use all cores as it is.
        check_every: as of ``generate``.

    Returns:
        What each item gives.
    """
    lanes = _lanes(session)
    if len(lanes) < 2:
        _go_on(session, check_every, threading.Event())
        return session.results()
    lock = threading.Lock()
    watcher = None if session.watcher is None else OneAtATime(session.watcher, lock)
    parts = [session.part(items, watcher) for items in lanes]
    in_lanes([partial(_go_on, part, check_every) for part in parts])
    for part in parts:
        session.take_back(part)
    return session.results()


def _go_on(session: Session, check_every: int | None, stopped: threading.Event) -> None:
    """Run to the end, or until another lane has failed."""
    for _ in session.run(check_every):
        if stopped.is_set():
            return


def _lanes(session: Session) -> list[list[int]]:
    """Return the items of each lane; where several say answers to one prompt, it is read first."""
    count = min(torch.get_num_threads(), _MOST)
    if count < 2 or session.graphs or not session.steps:
        return []
    if folded_stack(session.model.model) is None:
        return []
    size = session.count
    known = [None] * size if session.alignments is None else session.alignments
    prompts = [(tuple(row), one) for row, one in zip(session.rows, known, strict=True)]
    read, said = [*map(len, session.rows)], session.state.limits.tolist()
    lanes = shared_out(prompts, read, said, count)
    count = min(count, size // _LEAST_ANSWERS)
    if len(lanes) > 1 or count < 2:
        return lanes
    session.begin()
    return shared_out(range(size), [0] * size, said, count)


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
