"""Draw several answers to a request and keep the one that says its words best."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from stepedit_core.codes import GROUP_SECONDS, DualCodes
from stepedit_core.config import SamplingConfig
from stepedit_core.engines import GenerateRequest
from stepedit_core.models.answering import answer_requests
from stepedit_core.models.parts import EngineParts
from stepedit_core.models.steering import Draws, Steering

__all__ = ["answer_by_choice"]

WIDEST = 32
"""Answers that are drawn in one batch."""
Asked = tuple[GenerateRequest, int]
"""A request, and how many answers are drawn for it."""


def _seeds(seed: int, count: int) -> list[int]:
    """Return a seed for each candidate; the first is the request's own."""
    spawned = [np.random.SeedSequence(abs(seed), spawn_key=(place,)) for place in range(1, count)]
    return [seed, *(int(one.generate_state(1, np.uint32)[0]) for one in spawned)]


def _count(parts: EngineParts, sampling: SamplingConfig, request: GenerateRequest) -> int:
    """Return how many answers are drawn: one, where nobody could choose."""
    reader, words = parts.reader, request.words
    can_choose = reader is not None and words is not None and reader.reads(words)
    return sampling.candidates if can_choose else 1


def answer_by_choice(
    parts: EngineParts,
    sampling: SamplingConfig,
    requests: Sequence[GenerateRequest],
    *,
    graphs: bool | None = None,
) -> list[DualCodes]:
    """Return the codes of requests as `answer_requests` does, the best read of several draws.

    What a request gives does not depend on those that it is in a batch with.
    """
    asked = [(request, _count(parts, sampling, request)) for request in requests]
    chosen = []
    for part in _batches(asked):
        drawn = [
            replace(request, seed=seed)
            for request, count in part
            for seed in _seeds(request.seed, count)
        ]
        steering = _steering(parts, sampling, part)
        answers = iter(answer_requests(parts, sampling, drawn, graphs=graphs, steering=steering))
        for request, count in part:
            own = [next(answers) for _ in range(count)]
            chosen.append(own[0] if count == 1 else _best(parts, request, own))
    return chosen


def _batches(asked: Sequence[Asked]) -> Iterator[list[Asked]]:
    """Yield requests whose draws fit one batch; those of one request stay together."""
    batch: list[Asked] = []
    for one in asked:
        if batch and sum(count for _, count in batch) + one[1] > WIDEST:
            yield batch
            batch = []
        batch.append(one)
    if batch:
        yield batch


def _steering(
    parts: EngineParts, sampling: SamplingConfig, asked: Sequence[Asked]
) -> Steering | None:
    """Return what reads the draws as they grow, or None where nothing does."""
    if parts.reader is None or not sampling.steer_seconds or not sampling.grammar:
        return None
    if all(count == 1 for _, count in asked):
        return None
    starts = np.cumsum([0, *(count for _, count in asked)]).tolist()
    draws = [
        Draws(start, count, request.words, request.seed)
        for start, (request, count) in zip(starts, asked, strict=False)
    ]
    groups = max(1, round(sampling.steer_seconds / GROUP_SECONDS))
    return Steering(parts.reader, parts.layout.audio_base, draws, groups)


def _best(parts: EngineParts, request: GenerateRequest, answers: Sequence[DualCodes]) -> DualCodes:
    """Return the answer that reads best as the request's words; the first of equals."""
    reader, words = parts.reader, request.words
    assert reader is not None and words is not None
    scores = [reader.score(answer, words) for answer in answers]
    known = [-np.inf if score is None else score for score in scores]
    return answers[int(np.argmax(known))]
