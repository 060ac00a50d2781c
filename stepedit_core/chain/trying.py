"""Draw a step until a candidate keeps the limits: best of N, new seeds, other settings and route.

An answer that is drawn is drawn again. Where all that is missed is the edit's target, the stronger
setting that it names is tried, and where something else is lost, the gentler one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from stepedit_core.chain.accept import Accept
from stepedit_core.chain.gate import Compared, Gate, Judged, ordered
from stepedit_core.chain.result import Step
from stepedit_core.edit import Edit, Route
from stepedit_core.engine import (
    SpeechEngine,
    answers_with_own_codes,
    chooses,
    draws_alone,
    strength_problem,
)
from stepedit_core.errors import EditError, StepeditError
from stepedit_core.plan import Plan
from stepedit_core.scoring import Score

__all__ = ["Drawn", "Trial"]


@dataclass(frozen=True)
class Drawn:
    """One candidate, or why there is none.

    Attributes:
        number: of the try, from 0.
        step: the finished step.
        plan: of the step.
        error: what ended it.
    """

    number: int
    step: Step | None = None
    plan: Plan | None = None
    error: StepeditError | None = None


class Draw(Protocol):
    """Carries an edit out several times over, in one batch."""

    def __call__(self, edit: Edit, route: Route, numbers: Sequence[int], draws: int) -> list[Drawn]:
        """Return one candidate for each number, which seeds it.

        Where ``draws`` is not 0, they are the best of so many answers that the engine draws.
        """


@dataclass
class Trial:
    """The tries of one step.

    Attributes:
        limits: of this step.
        gate: judges candidates.
        edit: the request.
        route: the route that it takes.
        to: what candidates are compared with.
        draw: makes candidates.
        engine: reads candidates, where it can.
        where: names the step in errors.
    """

    limits: Accept
    gate: Gate
    edit: Edit
    route: Route
    to: Compared
    draw: Draw
    engine: SpeechEngine | None
    where: str

    def __post_init__(self) -> None:
        """Begin with nothing tried."""
        self._failed: list[dict[str, Any]] = []
        self._rest: list[tuple[Judged, Step]] = []
        self._drawn, self._begin = 0, time.perf_counter()
        self._words = self.to.received.transcript

    def run(self) -> Step:
        """Return the accepted step, or one that kept its source.

        Raises:
            EditError: if nothing keeps the limits and the source is not to be kept; or if no try
                gave any sound, the first one's error.
        """
        routes: list[Route] = [self.route]
        if self.limits.fallback == "dsp" and self.route == "llm":
            routes += ["dsp"] if self.edit.route_problem("dsp") is None else []
        for route in routes:
            found = self._by_route(route)
            if found is not None:
                return found
            if self._is_late():
                self._failed.append({"try": self._drawn, "why": ["the time is up"]})
                break
        return self._given_up()

    def _by_route(self, route: Route) -> Step | None:
        """Return a step that keeps all limits, by one setting of the edit after the other.

        An answer that is drawn has ``tries`` draws at the setting that was asked for, and one batch
        at each other setting; one that is not has ``tries`` settings at most.
        """
        limits, repeats = self.limits, self._repeats(route)
        edit: Edit | None = self.edit
        tried: dict[Edit, bool] = {}
        scores: list[tuple[Edit, Score]] = []
        while edit is not None and len(tried) < limits.tries:
            most = limits.tries if repeats else 1
            if tried:
                most = min(most, limits.best_of)
            before = len(self._rest)
            while most > 0:
                size = self._size(edit, route, most)
                found = self._batch(edit, route, size)
                if found is not None:
                    return found
                most -= size
                if self._is_late():
                    return None
            failed = self._rest[before:]
            tried[edit] = _is_harmed(failed)
            scores += [(edit, judged.score) for judged, _ in failed if judged.score is not None]
            edit = self._next(tried, edit, route, scores)
        return None

    def _size(self, edit: Edit, route: Route, most: int) -> int:
        """Return how many candidates are drawn at once: the engine's own answer comes alone."""
        size = min(most, self.limits.best_of) if route == "llm" else 1
        if size > 1 and self.limits.first_alone and not self._drawn:
            own = draws_alone(self.engine, edit.plan(self.to.received))
            return 1 if own < size else size
        return size

    def _next(
        self,
        tried: Mapping[Edit, bool],
        last: Edit,
        route: Route,
        scores: Sequence[tuple[Edit, Score]],
    ) -> Edit | None:
        """Return the setting to try after one that failed, or None where there is no more.

        Nothing stronger than a setting that did harm is tried, and nothing gentler than one that
        missed its target, or stronger of which the edit's scorer says that it will miss it, too.

        Args:
            tried: settings so far, and whether more than the target was missed.
            last: the one of them that failed last.
            route: that the edit takes.
            scores: what those came to whose scorer was asked.
        """
        if not self.limits.gentler:
            return None
        other: Edit | None = last
        while other is not None and (
            other in tried or (not tried[last] and not self.gate.promises(scores, other))
        ):
            if other in tried and tried[other] != tried[last]:
                return None
            other = other.gentler() if tried[last] else other.stronger()
        if other is None or other.route_problem(route) is not None:
            return None
        plan = other.plan(self.to.received)
        return None if route == "llm" and strength_problem(self.engine, plan) else other

    def _repeats(self, route: Route) -> bool:
        """Say whether another draw of the edit by a route may be another one.

        What a decoder does alone to the source's own codes is the same however often it is drawn.
        """
        if self.edit.is_composite() or not self.edit.draws(route):
            return False
        if route != "llm" or self.engine is None:
            return True
        return not answers_with_own_codes(self.engine, self.edit.plan(self.to.received))

    def _is_late(self) -> bool:
        spent = time.perf_counter() - self._begin
        return self.limits.seconds is not None and spent > self.limits.seconds

    def _batch(self, edit: Edit, route: Route, size: int) -> Step | None:
        """Draw candidates and return the first that keeps all limits, the best ones first."""
        ranked = route == "llm" and size > 1 and chooses(self.engine, self._words)
        count = min(size, self.limits.heard) if ranked else size
        numbers = range(self._drawn, self._drawn + count)
        drawn = self.draw(edit, route, numbers, size if ranked else 0)
        self._drawn += size
        errors = [one.error for one in drawn if one.error is not None]
        if len(errors) == len(drawn) and not self._rest and errors:
            raise errors[0]
        candidates = [(one, one.step) for one in drawn if one.step is not None]
        quick = [
            self.gate.quick(self.limits, edit, step.utterance, one.plan, self.to)
            for one, step in candidates
        ]
        order = ordered(quick, [self._reading(step) for _, step in candidates])
        heard = 0
        for at in order:
            (one, step), judged = candidates[at], quick[at]
            if not judged.complaints:
                heard += 1
                if heard > self.limits.heard:
                    break
                self.gate.listen(judged, self.limits, edit, step.utterance, self.to)
            if not judged.complaints:
                return self._finished(step, judged, edit)
            self._rest.append((judged, step))
            self._failed.append(self._record(one.number, edit, route, judged.why))
        for one in drawn:
            if one.error is not None:
                self._failed.append(self._record(one.number, edit, route, [str(one.error)]))
        return None

    def _record(self, number: int, edit: Edit, route: Route, why: list[str]) -> dict[str, Any]:
        """Return what is written of a try that failed."""
        record: dict[str, Any] = {"try": number + 1, "why": why}
        if edit is not self.edit:
            record["edit"] = edit.public_data()
        if route != self.route:
            record["route"] = route
        return record

    def _reading(self, step: Step) -> float:
        """Return how well a candidate's codes read as its words, by the engine's own reader."""
        read: Callable[..., float | None] | None = getattr(self.engine, "reading", None)
        words = step.utterance.transcript
        if read is None or step.codes is None or not words:
            return 0.0
        value = read(step.codes, words)
        return float("-inf") if value is None else value

    def _finished(self, step: Step, judged: Judged, edit: Edit) -> Step:
        """Return an accepted step with what was found and tried."""
        details = dict(step.details)
        if edit is not self.edit:
            details["setting"] = edit.public_data()
        return replace(
            step,
            edit=self.edit,
            seconds=time.perf_counter() - self._begin,
            details=details,
            accepted=True,
            failed_tries=tuple(self._failed),
            judged=self._facts(judged),
        )

    def _facts(self, judged: Judged) -> dict[str, Any]:
        """Return what was measured of a candidate; JSON data."""
        facts = {"drawn": self._drawn, **judged.values}
        return {**facts, **({"unjudged": dict(judged.unjudged)} if judged.unjudged else {})}

    def _given_up(self) -> Step:
        """Keep the source, or raise, as the user chose."""
        judged, step = min(self._rest, key=lambda one: one[0].badness)
        if self.limits.otherwise == "keep":
            kept = replace(step, edit=self.edit, utterance=self.to.received)
            return replace(
                kept,
                codes=None,
                latent=None,
                transcript_unverified=False,
                seconds=time.perf_counter() - self._begin,
                accepted=False,
                failed_tries=tuple(self._failed),
                judged=self._facts(judged),
            )
        raise EditError(
            f"{self.where}: not accepted in {self._drawn} tries, the best: "
            f"{'; '.join(judged.why)}; --accept off takes it, more --tries may help",
            tries=tuple(self._failed),
        )


def _is_harmed(failed: Sequence[tuple[Judged, Step]]) -> bool:
    """Say whether some candidate was refused for more than its target, or there was none."""
    named = [{one.limit for one in judged.complaints} for judged, _ in failed]
    return any(limits - {"target", "changed"} for limits in named) or not named
