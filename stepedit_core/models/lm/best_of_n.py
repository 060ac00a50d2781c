"""Draw several answers to a request and keep the one that says its words best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from stepedit_core.codes import DualCodes
from stepedit_core.engine import GenerateRequest
from stepedit_core.models.checkpoint.load import EngineParts
from stepedit_core.models.lm.framing import Rules
from stepedit_core.models.lm.generate_codes import answer_requests

__all__ = ["answer_by_choice"]

WIDEST = 32
"""Answers that are drawn in one batch."""


def _seeds(seed: int, count: int) -> list[int]:
    """Return a seed for each candidate; the first is the request's own."""
    spawned = [np.random.SeedSequence(abs(seed), spawn_key=(place,)) for place in range(1, count)]
    return [seed, *(int(one.generate_state(1, np.uint32)[0]) for one in spawned)]


def _count(parts: EngineParts, rules: Rules, request: GenerateRequest) -> int:
    """Return how many answers are drawn: one, where nobody could choose."""
    reader, words = parts.reader, request.words
    can_choose = reader is not None and words is not None and reader.reads(words)
    return rules.policy.best_of if can_choose else 1


def answer_by_choice(
    parts: EngineParts,
    rules: Rules,
    requests: Sequence[GenerateRequest],
    *,
    graphs: bool | None = None,
) -> list[DualCodes]:
    """Return the codes of requests as `answer_requests` does, the best read of several draws.

    What a request gives does not depend on those that it is in a batch with.
    """
    counts = [_count(parts, rules, request) for request in requests]
    drawn = [
        replace(request, seed=seed)
        for request, count in zip(requests, counts, strict=True)
        for seed in _seeds(request.seed, count)
    ]
    answers: list[DualCodes] = []
    for begin in range(0, len(drawn), WIDEST):
        part = drawn[begin : begin + WIDEST]
        answers += answer_requests(parts, rules, part, graphs=graphs)
    chosen, begin = [], 0
    for request, count in zip(requests, counts, strict=True):
        own = answers[begin : begin + count]
        begin += count
        chosen.append(own[0] if count == 1 else _best(parts, request, own))
    return chosen


def _best(parts: EngineParts, request: GenerateRequest, answers: Sequence[DualCodes]) -> DualCodes:
    """Return the answer that reads best as the request's words; the first of equals."""
    reader, words = parts.reader, request.words
    assert reader is not None and words is not None
    scores = [reader.score(answer, words) for answer in answers]
    known = [-np.inf if score is None else score for score in scores]
    return answers[int(np.argmax(known))]
