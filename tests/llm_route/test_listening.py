"""Which of several spoken versions of new words is kept, by what is heard of each."""

from __future__ import annotations

import numpy as np
import pytest

from stepedit_core import Utterance
from stepedit_core.alignment import Ear
from stepedit_core.llm_route.listening import Heard, Listener, best_of
from stepedit_core.plan import Replacement

BEFORE = "the cars came scudding in towards dublin running evenly"
AFTER = "the cars came scudding in towards london running evenly"
CHANGE = Replacement(6, 7, "london", AFTER)


def sound(number: int) -> Utterance:
    """Return a sound that the fake ears know by its first sample."""
    return Utterance(np.full(1600, number / 10, dtype=np.float32), 16_000)


def listener(*ears: dict[int, str]) -> Listener:
    """Return a listener whose ears hear, of sound n, the n-th of their texts."""

    def ear(texts: dict[int, str]) -> Ear:
        return lambda heard: texts[round(float(heard.samples[0]) * 10)]

    return Listener([ear(texts) for texts in ears], BEFORE, CHANGE, sound(0))


@pytest.mark.parametrize(
    ("heard", "lacking", "around"),
    [
        (AFTER, 0, 0),
        ("The cars came scudding in towards London, running evenly.", 0, 0),
        (BEFORE, 1, 0),
        ("the cars came scudding in towards london and running evenly", 0, 1),
        ("the cars came scudding in london running evenly", 0, 1),
        ("cars came scutting in towards london running", 0, 2),
        ("", 1, 5),
    ],
)
def test_what_is_heard(heard: str, lacking: int, around: int) -> None:
    found = listener({0: BEFORE, 1: heard}).hear(sound(1))
    assert (found.lacking, found.around) == (lacking, around)


def test_errors_of_the_source_are_left_out() -> None:
    misheard = {0: BEFORE.replace("towards", "to words"), 1: AFTER.replace("towards", "to words")}
    assert listener(misheard).hear(sound(1)).is_right


def test_all_ears_have_to_agree() -> None:
    right, wrong = {0: BEFORE, 1: AFTER}, {0: BEFORE, 1: BEFORE}
    assert listener(right, right).hear(sound(1)).content == 2
    second = listener(right, wrong).hear(sound(1))
    assert (second.is_right, second.content) == (False, 1)
    assert listener(wrong, right).hear(sound(1)).content == 0


def test_the_best_of_those_that_are_not_right() -> None:
    versions = [Heard("", 1, 0), Heard("", 0, 2), Heard("", 0, 1), Heard("", 1, 0, content=1)]
    assert best_of(versions) == 3
    assert best_of(versions[:3]) == 2
    assert best_of([Heard("a", 1, 0), Heard("b", 1, 0)]) == 0
