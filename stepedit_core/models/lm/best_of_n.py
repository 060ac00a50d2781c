"""Draw several answers to a request and keep the one that says its words best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from stepedit_core.codes import GROUP_SIZE, DualCodes
from stepedit_core.engine import GenerateRequest
from stepedit_core.models.checkpoint.load import EngineParts
from stepedit_core.models.lm.framing import Rules
from stepedit_core.models.lm.generate_codes import answer_requests, watched_answers

__all__ = ["answer_by_choice"]

WIDEST = 48
"""Answers that are drawn in one batch."""
_ROUNDING = 1e-3
"""Nats for each phone by which two readings of the same codes may differ."""


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
    owners = [at for at, count in enumerate(counts) for _ in range(count)]
    answers: list[DualCodes | None] = []
    for begin in range(0, len(drawn), WIDEST):
        part, own = drawn[begin : begin + WIDEST], owners[begin : begin + WIDEST]
        if len(set(own)) == len(own):
            answers += answer_requests(parts, rules, part, graphs=graphs)
        else:
            reading = _Reading(parts, part, own)
            answers += watched_answers(parts, rules, part, reading, graphs=graphs)
    chosen, begin = [], 0
    for request, count in zip(requests, counts, strict=True):
        own_answers = [answer for answer in answers[begin : begin + count] if answer is not None]
        begin += count
        chosen.append(own_answers[0] if count == 1 else _best(parts, request, own_answers))
    return chosen


class _Reading:
    """Tells which answers cannot become the best of their request any more.

    What is read of an answer so far bounds what the whole of it can be worth. One that repeats
    itself without end falls below those that have ended long before its own end.
    """

    def __init__(
        self, parts: EngineParts, requests: Sequence[GenerateRequest], owners: Sequence[int]
    ) -> None:
        """Watch requests; those of one owner compete."""
        self._parts, self._requests, self._owners = parts, requests, owners
        self._best: dict[int, float] = {}
        self._read: set[int] = set()

    def hopeless(
        self, finished: Mapping[int, list[int]], running: Mapping[int, list[int]]
    ) -> list[int]:
        """Return the running items to drop."""
        reader = self._parts.reader
        assert reader is not None
        for item in sorted(set(finished) - self._read):
            self._read.add(item)
            codes, words = self._codes(finished[item]), self._requests[item].words
            score = reader.score(codes, words) if words and codes.groups else None
            owner = self._owners[item]
            if score is not None:
                self._best[owner] = max(score, self._best.get(owner, -np.inf))
        dropped = []
        for item, ids in running.items():
            best, words = self._best.get(self._owners[item], -np.inf), self._requests[item].words
            if words is None or not np.isfinite(best):
                continue
            if reader.best_score(self._codes(ids), words) < best - _ROUNDING:
                dropped.append(item)
        return dropped

    def _codes(self, ids: Sequence[int]) -> DualCodes:
        """Return whole groups of ids as codes."""
        base = self._parts.layout.audio_base
        whole = len(ids) - len(ids) % GROUP_SIZE
        return DualCodes.from_interleaved([one - base for one in ids[:whole]])


def _best(parts: EngineParts, request: GenerateRequest, answers: Sequence[DualCodes]) -> DualCodes:
    """Return the answer that reads best as the request's words; the first of equals."""
    reader, words = parts.reader, request.words
    assert reader is not None and words is not None
    scores = reader.scores(answers, words)
    known = [-np.inf if score is None else score for score in scores]
    return answers[int(np.argmax(known))]
