from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from stepedit_core import Omission, Span
from stepedit_core.codes import DualCodes
from stepedit_core.llm_route.omissions import Passage, cut_off

START = 0.2


def codes(groups: int, seed: int = 0) -> DualCodes:
    rng = np.random.default_rng(seed)
    return DualCodes(rng.integers(0, 1024, 2 * groups), rng.integers(0, 4096, 3 * groups), START)


def omission(first: int, stop: int, kept: int = 0) -> Omission:
    """Return an omission between two semantic codes."""
    return Omission(Span(START + 0.04 * first, START + 0.04 * stop), 0.04 * kept)


def answer(passage: Passage, places: list[int]) -> DualCodes:
    return DualCodes.from_interleaved(passage.groups[places].reshape(-1))


def test_without_omissions_there_is_one_way() -> None:
    source = codes(5)
    passage = Passage.of(source, [])
    assert [passage.follow(place).tolist() for place in (0, 3, 14)] == [[0], [3], [14]]
    assert answer(passage, [0, 3, 6, 9, 12]) == source


def test_groups_keep_both_streams_in_time() -> None:
    source = codes(4)
    passage = Passage.of(source, [])
    for place, group in enumerate(passage.groups[:10]):
        assert group[2:].tolist() == (source.semantic[place : place + 3] + 1024).tolist()
        at = int(np.flatnonzero(source.linguistic == group[0])[0])
        assert abs(0.06 * at - 0.04 * place) < 0.021


@pytest.mark.parametrize(
    ("kept", "at", "ways"),
    [
        (0, 12, [20]),  # nothing may stay: straight to the end of the silence
        (0, 14, [20]),
        (3, 12, [12, 17, 18, 19, 20]),  # a group more, or up to three codes before its end
        (3, 13, [18, 19, 20]),
        (3, 15, [20]),
        (3, 17, [17]),  # returned: speech is near
        (3, 9, [9]),  # speech
        (3, 21, [21]),
    ],
)
def test_a_silence_is_left_and_entered_within_what_may_stay(
    kept: int, at: int, ways: list[int]
) -> None:
    passage = Passage.of(codes(12), [omission(12, 20, kept)])
    assert passage.follow(at).tolist() == ways


def test_the_end_is_a_place() -> None:
    passage = Passage.of(codes(4), [omission(9, 40)])
    assert passage.follow(9).tolist() == [12]
    assert passage.places(answer(passage, [0, 3, 6])).tolist() == [0, 3, 6]


def test_places_of_an_answer() -> None:
    source = codes(12)
    passage = Passage.of(source, [omission(0, 4), omission(12, 20, 3)])
    places = [4, 7, 10, 18, 21, 24, 27, 30, 33]
    made = answer(passage, places)
    assert passage.places(made).tolist() == places
    positions = passage.positions(made)
    assert (source.semantic[positions.astype(int)] == made.semantic).all()
    to = passage.time_map(made, START)
    assert [to(START + 0.04 * place) for place in (4, 7, 18, 21)] == pytest.approx(
        [0, 0.12, 0.36, 0.48]
    )
    with pytest.raises(ValueError, match="does not follow at place 10"):
        passage.places(answer(passage, [4, 7, 21]))


def test_of_equal_groups_the_last_is_meant() -> None:
    source = DualCodes(np.zeros(16, int), np.zeros(24, int), START)
    passage = Passage.of(source, [omission(6, 15, 3)])
    assert passage.places(answer(passage, [0, 3, 6])).tolist() == [0, 3, 15]


@pytest.mark.parametrize(
    ("gone", "kept"),
    [
        ([], (0.4, 0.16)),
        ([Span(0.0, 0.3), Span(1.0, 1.1), Span(1.9, 2.0)], (0.1, 0.06)),
        ([Span(0.0, 0.5), Span(1.7, 2.0)], (0.0, 0.0)),
    ],
)
def test_soft_ends_that_tokenizers_cut_off_are_kept(
    gone: list[Span], kept: tuple[float, float]
) -> None:
    made = dataclasses.replace(codes(12), start=0.4)
    assert made.seconds == pytest.approx(1.44)
    found = cut_off(made, [Omission(span) for span in gone], 2.0)
    assert found == pytest.approx(kept)
