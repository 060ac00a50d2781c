"""The part of a recording around words that change."""

from __future__ import annotations

import numpy as np
import pytest

from stepedit_core import Alignment, DualCodes, TimedWord
from stepedit_core.llm_route.surroundings import surroundings
from stepedit_core.plan import Replacement

TEXT = "one, two three four five six. seven eight nine ten"
WORDS = tuple(
    TimedWord(word, 0.6 * n, 0.6 * n + 0.6)
    for n, word in enumerate(TEXT.replace(",", "").replace(".", "").split())
)
KNOWN = Alignment(TEXT, WORDS, "test")
CODES = DualCodes(np.arange(100), np.arange(150))


def changed(first: int, stop: int, by: str) -> Replacement:
    """Return a change of one word, with the text after it."""
    old = WORDS[first].text if stop > first else ""
    after = TEXT.replace(old, by) if old else TEXT.replace("five", f"{by} five")
    return Replacement(first, stop, by, after)


@pytest.mark.parametrize(
    ("first", "text", "after", "groups"),
    [
        (4, "four five six.", "four 5 6 six.", (15, 30)),
        (0, "one, two three", "5 6, two three", (0, 15)),
        (9, "eight nine ten", "eight nine 5 6", (35, 50)),
    ],
)
def test_words_on_both_sides(first: int, text: str, after: str, groups: tuple[int, int]) -> None:
    change = changed(first, first + 1, "5 6")
    part = surroundings(CODES, KNOWN, change, (5 * first, 5 * first + 5), 1.8)
    assert (part.alignment.text, part.change.text_after) == (text, after)
    assert (part.start, part.stop) == groups
    assert part.codes == CODES.slice_groups(*groups)
    assert part.span == pytest.approx((groups[0] * 0.12, groups[1] * 0.12))


def test_the_whole_recording_where_no_length_is_given() -> None:
    part = surroundings(CODES, KNOWN, changed(4, 5, "x"), (20, 25), None)
    assert (part.start, part.stop, part.alignment.text) == (0, 50, TEXT)


def test_words_put_in_have_their_neighbours() -> None:
    change = changed(4, 4, "x")
    part = surroundings(CODES, KNOWN, change, (20, 21), 1.3)
    assert part.alignment.text == "four five"
    assert part.change == Replacement(1, 1, "x", "four x five")


def test_the_place_is_never_cut() -> None:
    part = surroundings(CODES, KNOWN, changed(4, 5, "x"), (19, 26), 0.2)
    assert (part.start, part.stop) == (19, 26)
    assert part.alignment.text == "five"
