"""What a reward found of the last answers, for a second question about them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from stepedit_core.reward import Answer

__all__ = ["LastAnswers"]

Found = TypeVar("Found")


class LastAnswers(Generic[Found]):
    """Keeps what was found of the last answers: a run asks for their scores and for their parts."""

    def __init__(self) -> None:
        self._kept: tuple[tuple[Answer, ...], Found] | None = None

    def get(self, answers: Sequence[Answer], find: Callable[[Sequence[Answer]], Found]) -> Found:
        """Return what ``find`` returns, which is not asked again for the very same answers."""
        if self._kept is not None:
            before, found = self._kept
            if len(before) == len(answers) and all(map(_is, before, answers)):
                return found
        found = find(answers)
        self._kept = tuple(answers), found
        return found


def _is(one: Answer, other: Answer) -> bool:
    return one is other
