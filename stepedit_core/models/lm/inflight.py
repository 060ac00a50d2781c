"""In-flight batching: requests come and go between the steps of the language model.

Requests that come together and share their rules of sampling begin together, as a cohort: their
prompts are read in one batch. Their rows then join those of the older cohort with these rules,
where the decoder can, so that one step serves rows of all ages (Orca, Yu et al. 2022). Cohorts that
cannot join, changed words and streams take turns: the next step is that of whoever has had least of
the engine's time. A row's noise hangs on its seed alone, so that it says what it would say by
itself, whoever came before or after it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from stepedit_core.codes import GROUP_SECONDS, DualCodes
from stepedit_core.engine import GenerateRequest, Infilled, InfillRequest
from stepedit_core.errors import StepeditError
from stepedit_core.llm_route.inflight import StreamRequest
from stepedit_core.models.checkpoint.load import EngineParts
from stepedit_core.models.lm.best_of_n import Reading, best_of, candidates
from stepedit_core.models.lm.framing import Rules
from stepedit_core.models.lm.generate_codes import answer_of, begun_session
from stepedit_core.models.lm.infilling import infill_steps
from stepedit_core.models.lm.joining import can_join, is_time, join
from stepedit_core.models.stage_clock import StageClock

__all__ = ["LoopBatch"]

News = tuple[int, list[Any] | StepeditError]
Steps = Generator[Any, None, list[Any]]
"""Yields news or None, and returns the last ones."""
Streaming = Callable[[StreamRequest], Iterator[Any]]


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
        stream: Streaming,
    ) -> None:
        """Begin without requests.

        Args:
            parts: of the engine.
            rules: the engine's, with those for single edits.
            lock: held while the model works, and free between steps.
            clock: told how long steps take.
            graphs: as of ``generate``.
            stream: yields a stream's chunks, and None where others may work.
        """
        self._parts, self._rules, self._graphs = parts, rules, graphs
        self._lock, self._clock = lock, clock
        self._stream = stream
        self._waiting: list[_Asked] = []
        self._cohorts: list[_Cohort] = []
        self._solos: list[_Solo] = []

    @property
    def _members(self) -> list[_Cohort | _Solo]:
        return [*self._cohorts, *self._solos]

    def __len__(self) -> int:
        """Return how many requests have come and not gone."""
        return len(self._waiting) + sum(len(member) for member in self._members)

    def add(
        self,
        key: int,
        request: GenerateRequest | InfillRequest | StreamRequest,
        draws: int = 1,
        keep: int = 1,
    ) -> None:
        """Take a request under a new number; it begins with the next step."""
        if isinstance(request, GenerateRequest):
            self._waiting.append(_Asked(key, request, draws, keep))
            return
        steps = self._streamed(request) if isinstance(request, StreamRequest) else (
            self._infilled(request)
        )  # fmt: skip
        self._solos.append(_Solo(key, steps, self._least_spent()))

    def _infilled(self, request: InfillRequest) -> Steps:
        """Draw other words in one place of a recording, step by step."""
        made = yield from infill_steps(self._parts, self._rules.for_edit(*request.rules), request)
        return [made]

    def _streamed(self, request: StreamRequest) -> Steps:
        """Generate and decode a stream, step by step."""
        yield from self._stream(request)
        return []

    def _least_spent(self) -> float:
        """Return the time of a newcomer: nobody is to wait for it longer than for the others."""
        return min((member.spent for member in self._members), default=0.0)

    def abort(self, key: int) -> None:
        """Give a request up; its rows leave."""
        self._waiting = [asked for asked in self._waiting if asked.key != key]
        with self._lock:
            for member in self._members:
                member.abort(key)
        self._leave()

    def step(self, seconds: float = 0.0) -> list[News]:
        """Go on by a step, or by several; see `InflightBatch.step`."""
        until = time.monotonic() + seconds
        with self._lock, self._clock.stage("generate") as note:
            news = self._begin()
            while self._members and not news:
                news = self._step()
                if time.monotonic() >= until:
                    break
            self._leave()
            note.audio_seconds = sum(map(_generated_seconds, news))
        return news

    def _step(self) -> list[News]:
        """Have new cohorts join older ones; go on by a step of who has had least time."""
        ready: list[_Cohort | _Solo] = list(self._solos)
        for cohort in tuple(self._cohorts):
            host = self._host_of(cohort)
            if host is None:
                ready.append(cohort)
            elif host.take(cohort):
                self._cohorts.remove(cohort)
            # Else the host comes to the same place of a group within four steps.
        turn = min(ready, key=lambda member: member.spent)
        begin = time.perf_counter()
        news = turn.step()
        turn.spent += time.perf_counter() - begin
        return news

    def _host_of(self, cohort: _Cohort) -> _Cohort | None:
        """Return the older cohort that one is to join, if there is any."""
        older = self._cohorts[: self._cohorts.index(cohort)]
        return next((one for one in older if len(one) and one.can_take(cohort)), None)

    def _leave(self) -> None:
        """Let go those of whom nothing is left."""
        self._cohorts = [cohort for cohort in self._cohorts if len(cohort)]
        self._solos = [solo for solo in self._solos if len(solo)]

    def _begin(self) -> list[News]:
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

    def _begin_group(self, rules: Rules, group: Sequence[_Asked]) -> Iterator[News]:
        """Begin requests that share their rules; where one is at fault, each by itself."""
        try:
            cohort = _Cohort(self._parts, rules, group, self._graphs)
            cohort.spent = self._least_spent()
            self._cohorts.append(cohort)
        except StepeditError as error:
            if len(group) == 1:
                yield group[0].key, error
                return
            for asked in group:
                yield from self._begin_group(rules, [asked])


class _Solo:
    """A request that shares no batch: changed words, which are a batch of draws, or a stream.

    Attributes:
        spent: seconds of the engine's time that it has had, and those of others before it came.
    """

    def __init__(self, key: int, steps: Steps, spent: float) -> None:
        """Take a request's number and its work."""
        self._key, self._steps, self.spent = key, steps, spent
        self._is_over = False

    def __len__(self) -> int:
        """Return 1 until it has ended."""
        return not self._is_over

    def abort(self, key: int) -> None:
        """Give the request up, if it is this one."""
        if key == self._key:
            self._is_over = True
            self._steps.close()

    def step(self) -> list[News]:
        """Go on by a step; return what is new."""
        try:
            news = next(self._steps)
        except StopIteration as end:
            self._is_over = True
            return [(self._key, end.value)]
        except StepeditError as error:
            self._is_over = True
            return [(self._key, error)]
        return [] if news is None else [(self._key, [news])]


class _Cohort:
    """Requests that began together.

    Attributes:
        spent: as of `_Solo`.
    """

    def __init__(
        self, parts: EngineParts, rules: Rules, group: Sequence[_Asked], graphs: bool | None
    ) -> None:
        """Prepare the rows of all requests, one for each answer that is drawn.

        Raises:
            BudgetError: if a prompt and its output do not fit the context.
        """
        self._parts, self._rules = parts, rules
        self.spent = 0.0
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
        places = max(asked.keep, self._rules.policy.read_again)
        self._reading.watch(items, asked.request, places)

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

    def step(self) -> list[News]:
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


def _generated_seconds(news: News) -> float:
    """Return how much audio an answer is, in seconds; that of chunks is counted by its decoder."""
    found = news[1]
    if isinstance(found, StepeditError) or not found:
        return 0.0
    if isinstance(found[0], Infilled):
        return GROUP_SECONDS * found[0].length
    return found[0].seconds if isinstance(found[0], DualCodes) else 0.0
