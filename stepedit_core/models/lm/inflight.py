"""In-flight batching: requests come and go between the steps of the language model.

Requests that come together and share their rules of sampling begin together, as a cohort with a
batch of rows and a cache of its own; cohorts take turns, step by step. What a cohort generates is
therefore what the same requests give by themselves, whoever came before or after them. (Orca, Yu
et al. 2022, mixes rows of all ages in one step; that pays where reading the weights is what costs.)
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stepedit_core.codes import DualCodes
from stepedit_core.engine import GenerateRequest
from stepedit_core.errors import StepeditError
from stepedit_core.models.checkpoint.load import EngineParts
from stepedit_core.models.lm.best_of_n import Reading, best_of, candidates
from stepedit_core.models.lm.framing import Rules
from stepedit_core.models.lm.generate_codes import answer_of, begun_session
from stepedit_core.models.stage_clock import StageClock

__all__ = ["LoopBatch"]

Ended = tuple[int, list[DualCodes] | StepeditError]


@dataclass(frozen=True)
class _Asked:
    """A request under its number, with how many answers are drawn and kept."""

    key: int
    request: GenerateRequest
    draws: int
    keep: int


class LoopBatch:
    """The `InflightBatch` of our own generation loop."""

    def __init__(
        self,
        parts: EngineParts,
        rules: Rules,
        lock: threading.RLock,
        clock: StageClock,
        graphs: bool | None,
    ) -> None:
        """Begin without requests.

        Args:
            parts: of the engine.
            rules: the engine's, with those for single edits.
            lock: held while the model works, and free between steps.
            clock: told how long steps take.
            graphs: as of ``generate``.
        """
        self._parts, self._rules, self._graphs = parts, rules, graphs
        self._lock, self._clock = lock, clock
        self._waiting: list[_Asked] = []
        self._cohorts: list[_Cohort] = []

    def __len__(self) -> int:
        """Return how many requests have come and not gone."""
        return len(self._waiting) + sum(len(cohort) for cohort in self._cohorts)

    def add(self, key: int, request: GenerateRequest, draws: int = 1, keep: int = 1) -> None:
        """Take a request under a new number; it begins with the next step."""
        self._waiting.append(_Asked(key, request, draws, keep))

    def abort(self, key: int) -> None:
        """Give a request up; its rows leave."""
        self._waiting = [asked for asked in self._waiting if asked.key != key]
        with self._lock:
            for cohort in self._cohorts:
                cohort.abort(key)
        self._leave()

    def step(self, seconds: float = 0.0) -> list[Ended]:
        """Go on by a step of each cohort, or by several; see `InflightBatch.step`."""
        until = time.monotonic() + seconds
        with self._lock, self._clock.stage("generate") as note:
            ended = self._begin()
            while self._cohorts and not ended:
                for cohort in self._cohorts:
                    ended += cohort.step()
                if time.monotonic() >= until:
                    break
            self._leave()
            answers = [found for _, found in ended if not isinstance(found, StepeditError)]
            note.audio_seconds = sum(found[0].seconds for found in answers)
        return ended

    def _leave(self) -> None:
        """Let cohorts go of which nothing is left."""
        self._cohorts = [cohort for cohort in self._cohorts if len(cohort)]

    def _begin(self) -> list[Ended]:
        """Begin what waits; return the requests that cannot be begun."""
        groups: list[tuple[Rules, list[_Asked]]] = []
        for asked in self._waiting:
            rules = self._rules.for_edit(*asked.request.plan.rules)
            own = next((group for known, group in groups if known == rules), None)
            if own is None:
                groups.append((rules, [asked]))
            else:
                own.append(asked)
        self._waiting = []
        return [one for rules, group in groups for one in self._begin_group(rules, group)]

    def _begin_group(self, rules: Rules, group: Sequence[_Asked]) -> Iterator[Ended]:
        """Begin requests that share their rules; where one is at fault, each by itself."""
        try:
            self._cohorts.append(_Cohort(self._parts, rules, group, self._graphs))
        except StepeditError as error:
            if len(group) == 1:
                yield group[0].key, error
                return
            for asked in group:
                yield from self._begin_group(rules, [asked])


class _Cohort:
    """Requests that began together."""

    def __init__(
        self, parts: EngineParts, rules: Rules, group: Sequence[_Asked], graphs: bool | None
    ) -> None:
        """Prepare the rows of all requests, one for each answer that is drawn.

        Raises:
            BudgetError: if a prompt and its output do not fit the context.
        """
        self._parts = parts
        self._asked = {asked.key: asked for asked in group}
        each = [candidates(parts, rules, asked.request, asked.draws) for asked in group]
        self._drawn = [candidate for own in each for candidate in own]
        self._items: dict[int, range] = {}
        begin = 0
        for asked, own in zip(group, each, strict=True):
            self._items[asked.key] = range(begin, begin + len(own))
            begin += len(own)
        reading = None
        if len(self._drawn) > len(group):
            owners = [place for place, own in enumerate(each) for _ in own]
            keep = [asked.keep for asked, own in zip(group, each, strict=True) for _ in own]
            reading = Reading(parts, self._drawn, owners, keep)
        self._session = begun_session(parts, rules, self._drawn, reading, graphs=graphs)
        self._steps = self._session.run(None)

    def __len__(self) -> int:
        """Return how many requests have not ended."""
        return len(self._asked)

    def abort(self, key: int) -> None:
        """Give a request up, if it is one of these."""
        if self._asked.pop(key, None) is not None:
            self._session.drop(self._items[key])

    def step(self) -> list[Ended]:
        """Go on by a step; return the requests that have ended."""
        next(self._steps, None)
        over = self._session.ended_items()
        ended = [key for key in self._asked if over.issuperset(self._items[key])]
        return [(key, self._answers(self._asked.pop(key))) for key in ended]

    def _answers(self, asked: _Asked) -> list[DualCodes] | StepeditError:
        """Return the best answers to a request that has ended, or why it has none."""
        items = self._items[asked.key]
        try:
            answers = [
                answer_of(output, self._drawn[item], self._parts)
                for item, output in zip(items, self._session.results(items), strict=True)
            ]
        except StepeditError as error:
            return error
        return best_of(self._parts, asked.request, answers, asked.keep)
