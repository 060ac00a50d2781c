"""Levenshtein distance of phones and of words."""

from __future__ import annotations

import pytest
from stepedit_train.edit_distance import edit_distance


@pytest.mark.parametrize(
    ("a", "b", "distance"), [("", "", 0), ("abc", "", 3), ("kitten", "sitting", 3), ("ab", "ba", 2)]
)
def test_distance(a: str, b: str, distance: int) -> None:
    assert edit_distance(list(map(ord, a)), list(map(ord, b))) == distance
    assert edit_distance(list(b), list(a)) == distance


def test_words() -> None:
    assert edit_distance(["you", "love", "your", "home"], ["you", "your", "house"]) == 2
