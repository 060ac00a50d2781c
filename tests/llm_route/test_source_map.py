"""Where answers are expected in their sources."""

from __future__ import annotations

import numpy as np
import pytest

from stepedit_core.codes import DualCodes
from stepedit_core.engine import FreeGroups, GenerateRequest
from stepedit_core.llm_route.expected import origin_of
from stepedit_core.llm_route.source_map import Origin
from stepedit_core.prompt import Prompt
from stepedit_core.utterance import Utterance


def request(**changes: object) -> GenerateRequest:
    codes = DualCodes(np.zeros(20, dtype=np.int64), np.zeros(30, dtype=np.int64))
    speech = Utterance(np.zeros(19_200, dtype=np.float32), 16_000)
    return GenerateRequest(Prompt.edit("x"), codes, speech, **changes)  # type: ignore[arg-type]


def test_places_are_told_where_the_pace_is_known() -> None:
    asked = request(length_ratio=0.5, even_pace=True, decoded_as="speed")
    origin = origin_of(asked, 5)
    assert origin.source == asked.utterance.digest and origin.label == "speed"
    assert origin.places is not None and origin.made is None
    assert origin.places.tolist() == pytest.approx([2 * (n + 0.5) - 0.5 for n in range(15)])


def test_places_follow_the_codes_that_they_are_counted_in() -> None:
    origin = Origin("x", np.arange(3, dtype=np.float32), start=0.2)
    assert origin.counted_from(0.2) is origin
    moved = origin.counted_from(0.12)
    assert moved.places is not None and moved.start == 0.12
    assert moved.places.tolist() == pytest.approx([2.0, 3.0, 4.0], abs=1e-5)


def test_nothing_is_known_of_a_guess() -> None:
    assert origin_of(request(decoded_as="emotion:sad"), 9).places is None


def test_what_is_confined_lies_between_copies() -> None:
    origin = origin_of(request(free=(FreeGroups(2, 4, 4),)), 12)
    assert origin.places is not None and origin.made is not None
    assert np.flatnonzero(origin.made).tolist() == [2, 3, 4, 5]
    assert origin.places[:6].tolist() == pytest.approx(range(6))
    assert origin.places[18:].tolist() == pytest.approx(range(12, 30), abs=1e-4)


def test_what_is_put_in_has_no_place() -> None:
    origin = origin_of(request(free=(FreeGroups(4, 5, 4, True),)), 13)
    assert origin.places is not None
    lost = np.flatnonzero(np.isnan(origin.places))
    assert lost.tolist() == list(range(13, 22))
    assert origin.places[24:].tolist() == pytest.approx(range(15, 30), abs=1e-4)
