"""Draw several answers to a request and keep those that say its words best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from stepedit_core.codes import GROUP_SIZE, DualCodes
from stepedit_core.engine import GenerateRequest
from stepedit_core.models.checkpoint.load import EngineParts
from stepedit_core.models.lm.framing import Rules, warn_if_cut
from stepedit_core.models.lm.generate_codes import answer_requests, watched_answers
from stepedit_core.models.lm.read_again import in_spoken_order

__all__ = ["Reading", "answer_by_choice", "best_answers", "best_of", "candidates"]

WIDEST = 48
"""Answers that are drawn in one batch."""
_ROUNDING = 1e-3
"""Nats for each phone by which two readings of the same codes may differ."""


def _seeds(seed: int, count: int) -> list[int]:
    """Return a seed for each candidate; the first is the request's own."""
    spawned = [np.random.SeedSequence(abs(seed), spawn_key=(place,)) for place in range(1, count)]
    return [seed, *(int(one.generate_state(1, np.uint32)[0]) for one in spawned)]


def _count(parts: EngineParts, rules: Rules, request: GenerateRequest, draws: int) -> int:
    """Return how many answers are drawn: one, where nobody could choose or words are given."""
    reader, words = parts.reader, request.words
    can_choose = reader is not None and words is not None and reader.reads(words)
    if not can_choose:
        return 1
    return draws if rules.follows_source(request.plan) else max(rules.policy.best_of, draws)


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
    return [found[0] for found in best_answers(parts, rules, requests, graphs=graphs)]


def best_answers(
    parts: EngineParts,
    rules: Rules,
    requests: Sequence[GenerateRequest],
    *,
    draws: int = 1,
    keep: int = 1,
    graphs: bool | None = None,
) -> list[list[DualCodes]]:
    """Return the best read answers to each request, the best one first.

    Args:
        parts: of the engine.
        rules: that the requests share.
        requests: in one batch; what each gives does not depend on the others.
        draws: answers that are drawn at least, where the model's own rules do not say more.
        keep: answers of each request that are returned at most.
        graphs: as of `answer_requests`.

    Returns:
        At least one answer for each request; one alone where nobody could choose.
    """
    each = [candidates(parts, rules, request, draws) for request in requests]
    drawn = [candidate for own in each for candidate in own]
    owners = [at for at, own in enumerate(each) for _ in own]
    answers: list[DualCodes | None] = []
    for begin in range(0, len(drawn), WIDEST):
        part, own = drawn[begin : begin + WIDEST], owners[begin : begin + WIDEST]
        if len(set(own)) == len(own):
            answers += answer_requests(parts, rules, part, graphs=graphs)
            continue
        reading = Reading(parts)
        for owner in dict.fromkeys(own):
            first = own.index(owner)
            places = max(keep, rules.policy.read_again)
            reading.watch(range(first, first + own.count(owner)), requests[owner], places)
        answers += watched_answers(parts, rules, part, reading, graphs=graphs)
    chosen, begin = [], 0
    for request, drawn in zip(requests, each, strict=True):
        own_answers = answers[begin : begin + len(drawn)]
        chosen.append(best_of(parts, rules, request, own_answers, keep))
        begin += len(drawn)
    return chosen


def candidates(
    parts: EngineParts, rules: Rules, request: GenerateRequest, draws: int
) -> list[GenerateRequest]:
    """Return a request once for each answer that is drawn, each with a seed of its own."""
    seeds = _seeds(request.seed, _count(parts, rules, request, draws))
    return [replace(request, seed=seed) for seed in seeds]


def best_of(
    parts: EngineParts,
    rules: Rules,
    request: GenerateRequest,
    answers: Sequence[DualCodes | None],
    keep: int,
) -> list[DualCodes]:
    """Return the best read of a request's answers, at most ``keep``; None was given up."""
    whole = [answer for answer in answers if answer is not None]
    best = whole if len(answers) == 1 else _in_order(parts, request, whole)
    again = rules.policy.read_again
    if again > 1 and len(best) > 1:
        best = [*in_spoken_order(parts, rules.policy, request, best[:again]), *best[again:]]
    best = best[:keep]
    for answer in best[:1]:
        warn_if_cut(answer, request, rules.policy)
    return best


@dataclass
class _Race:
    """The candidates of one request."""

    words: str
    keep: int
    scores: list[float] = field(default_factory=list)


class Reading:
    """Tells which answers cannot come among the best of their request any more.

    What is read of an answer so far bounds what the whole of it can be worth. One that repeats
    itself without end falls below those that have ended long before its own end.
    """

    def __init__(self, parts: EngineParts) -> None:
        """Watch nobody yet."""
        self._parts = parts
        self._races: dict[int, _Race] = {}
        self._read: set[int] = set()

    def watch(self, items: Sequence[int], request: GenerateRequest, keep: int) -> None:
        """Watch the candidates of a request, if they compete, for so many places.

        They are not watched where parts of the source are copied.
        """
        if len(items) > 1 and request.words is not None and request.free is None:
            race = _Race(request.words, keep)
            self._races.update(dict.fromkeys(items, race))

    def forget(self, items: Sequence[int]) -> None:
        """Watch candidates no more."""
        for item in items:
            self._races.pop(item, None)
            self._read.discard(item)

    def hopeless(
        self, finished: Mapping[int, list[int]], running: Mapping[int, list[int]]
    ) -> list[int]:
        """Return the running items to drop."""
        reader = self._parts.reader
        assert reader is not None
        for item in sorted((self._races.keys() & finished.keys()) - self._read):
            self._read.add(item)
            codes, race = self._codes(finished[item]), self._races[item]
            score = reader.score(codes, race.words) if codes.groups else None
            if score is not None:
                race.scores.append(score)
        dropped = []
        for item in self._races.keys() & running.keys():
            race = self._races[item]
            if len(race.scores) < race.keep:
                continue
            least = sorted(race.scores, reverse=True)[race.keep - 1]
            if reader.best_score(self._codes(running[item]), race.words) < least - _ROUNDING:
                dropped.append(item)
        return dropped

    def _codes(self, ids: Sequence[int]) -> DualCodes:
        """Return whole groups of ids as codes."""
        base = self._parts.layout.audio_base
        whole = len(ids) - len(ids) % GROUP_SIZE
        return DualCodes.from_interleaved([one - base for one in ids[:whole]])


def _in_order(
    parts: EngineParts, request: GenerateRequest, answers: Sequence[DualCodes]
) -> list[DualCodes]:
    """Return answers in the order in which they read as the request's words, equals as drawn."""
    reader, words = parts.reader, request.words
    assert reader is not None and words is not None
    scores = reader.scores(answers, words)
    known = [-np.inf if score is None else score for score in scores]
    return [answers[at] for at in np.argsort(-np.asarray(known), kind="stable")]
