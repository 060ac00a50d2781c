"""The constraint of an answer as what may come at each of its places: for vLLM's processor.

A place's number decides everything, because answers of open length are open at their end alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stepedit_core.codes import GROUP_SIZE, LINGUISTIC_PER_GROUP, LINGUISTIC_SIZE
from stepedit_core.errors import EngineError
from stepedit_core.models.lm.constraints import CODE_COUNT, Copy, Follow, Plan

__all__ = ["CodeSchedule", "Place", "banned_id"]


@dataclass(frozen=True)
class Place:
    """What may come at one place.

    Attributes:
        first: first code that may come.
        stop: code after the last.
        may_end: whether the end of turn may come instead.
    """

    first: int
    stop: int
    may_end: bool


@dataclass(frozen=True)
class CodeSchedule:
    """The places of an answer after its copied beginning.

    Attributes:
        tokens: what is copied at each place; -1 where the model speaks.
        least: tokens before the end of turn may come.
    """

    tokens: tuple[int, ...]
    least: int

    @classmethod
    def of_plan(cls, plan: Plan) -> CodeSchedule:
        """Return the schedule of a constraint.

        Raises:
            EngineError: if a free part before the last is of open length, or may end inside a
                group.
        """
        tokens: list[int] = []
        least = 0
        for segment in plan.body:
            if isinstance(segment, Copy):
                tokens += segment.tokens
                continue
            if isinstance(segment, Follow):
                raise EngineError(
                    "vLLM serves no answers that follow their source: set follow_source = false"
                )
            is_last = segment is plan.body[-1]
            if not segment.end_at_boundary:
                raise EngineError("vLLM serves answers with grammar = true alone")
            if not is_last and segment.min_groups != segment.max_groups:
                raise EngineError("vLLM serves free parts of open length at the end alone")
            least = len(tokens) + GROUP_SIZE * segment.min_groups
            tokens += [-1] * (GROUP_SIZE * (segment.max_groups or 0))
        return cls(tuple(tokens), least)

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> CodeSchedule:
        """Return what ``data`` gave.

        Raises:
            ValueError: if it is no schedule.
        """
        try:
            return cls(tuple(map(int, data["tokens"])), int(data["least"]))
        except (KeyError, TypeError) as error:
            raise ValueError(f"no schedule of codes: {error}") from error

    def data(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"tokens": list(self.tokens), "least": self.least}

    def place(self, number: int) -> Place:
        """Return what may come at a place; after the last one, the end alone."""
        if number >= len(self.tokens):
            return Place(0, 0, may_end=True)
        if (copied := self.tokens[number]) >= 0:
            return Place(copied, copied + 1, may_end=False)
        inside = number % GROUP_SIZE
        may_end = inside == 0 and number >= self.least
        if inside < LINGUISTIC_PER_GROUP:
            return Place(0, LINGUISTIC_SIZE, may_end)
        return Place(LINGUISTIC_SIZE, CODE_COUNT, may_end)


def banned_id(recent: Sequence[int], window: int, count: int) -> int | None:
    """Return the id that the repetition rule forbids next, as `sampling.repeated_id` does.

    Args:
        recent: ids of prompt and answer so far.
        window: how many last ones are looked at; 0: there is no rule.
        count: occurrences of the newest among them from which on it is forbidden.
    """
    seen = list(recent[-window:]) if window else []
    if not window or len(seen) < window or seen.count(seen[-1]) < count:
        return None
    return int(seen[-1])
