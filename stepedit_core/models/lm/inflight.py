"""In-flight batching: requests come and go between the steps of the language model.

Requests that come together and share their rules of sampling begin together, as a cohort: their
prompts are read in one batch. Their rows then join those of the older cohort with these rules,
where the decoder can, so that one step serves rows of all ages (Orca, Yu et al. 2022); the others
take turns, step by step. A row's noise hangs on its seed alone, so that it says what it would say
by itself, whoever came before or after it.
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
from stepedit_core.models.lm.joining import can_join, is_time, join
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
                ended = self._step()
                if time.monotonic() >= until:
                    break
            self._leave()
            answers = [found for _, found in ended if not isinstance(found, StepeditError)]
            note.audio_seconds = sum(found[0].seconds for found in answers)
        return ended

    def _step(self) -> list[Ended]:
        """Go on by a step; new cohorts join older ones."""
        ended = []
        for cohort in tuple(self._cohorts):
            host = self._host_of(cohort)
            if host is None:
                ended += cohort.step()
            elif host.take(cohort):
                self._cohorts.remove(cohort)
            # Else the host comes to the same place of a group within four steps.
        return ended

    def _host_of(self, cohort: _Cohort) -> _Cohort | None:
        """Return the older cohort that one is to join, if there is any."""
        older = self._cohorts[: self._cohorts.index(cohort)]
        return next((one for one in older if len(one) and one.can_take(cohort)), None)

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
        self._parts, self._rules = parts, rules
        self._asked: dict[int, _Asked] = {}
        self._items: dict[int, range] = {}
        self._reading = Reading(parts)
        drawn: list[GenerateRequest] = []
        for asked in group:
            first = len(drawn)
            drawn += candidates(parts, rules, asked.request, asked.draws)
            self._own(asked, range(first, len(drawn)))
        watcher = None if parts.reader is None else self._reading
        self._session = begun_session(parts, rules, drawn, watcher, graphs=graphs)
        self._steps = self._session.run(None)

    def _own(self, asked: _Asked, items: range) -> None:
        """Take a request whose candidates are these items."""
        self._asked[asked.key], self._items[asked.key] = asked, items
        self._reading.watch(items, asked.request, asked.keep)

    def __len__(self) -> int:
        """Return how many requests have not ended."""
        return len(self._asked)

    def abort(self, key: int) -> None:
        """Give a request up, if it is one of these."""
        if self._asked.pop(key, None) is not None:
            self._session.drop(self._items[key])
            self._forget(key)

    def can_take(self, other: _Cohort) -> bool:
        """Whether another cohort, whose prompts are read, may join."""
        return self._rules == other._rules and can_join(self._session, other._session)

    def take(self, other: _Cohort) -> bool:
        """Have another cohort join, if both stand at the same place of a group."""
        if not is_time(self._session, other._session):
            return False
        first = join(self._session, other._session)
        for key, asked in other._asked.items():
            items = other._items[key]
            self._own(asked, range(first + items.start, first + items.stop))
        return True

    def _forget(self, key: int) -> None:
        """Keep nothing of a request."""
        items = self._items.pop(key)
        self._reading.forget(items)
        self._session.forget(items)

    def step(self) -> list[Ended]:
        """Go on by a step; return the requests that have ended."""
        next(self._steps, None)
        over = self._session.ended_items()
        ended = [key for key in self._asked if over.issuperset(self._items[key])]
        return [(key, self._answers(self._asked.pop(key))) for key in ended]

    def _answers(self, asked: _Asked) -> list[DualCodes] | StepeditError:
        """Return the best answers to a request that has ended, or why it has none."""
        outputs = self._session.results(self._items[asked.key])
        self._forget(asked.key)
        try:
            answers = [answer_of(output, asked.request, self._parts) for output in outputs]
        except StepeditError as error:
            return error
        return best_of(self._parts, self._rules, asked.request, answers, asked.keep)
