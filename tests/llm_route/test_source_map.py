"""Where answers are expected in their sources."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from stepedit_core.codes import DualCodes, FreeGroups
from stepedit_core.engine import GenerateRequest
from stepedit_core.llm_route.source_map import SourceMap
from stepedit_core.plan import Insertion, Plan
from stepedit_core.prompt import Prompt
from stepedit_core.utterance import Span, Utterance


def request(plan: Plan | None = None, **changes: Any) -> GenerateRequest:
    codes = DualCodes(np.zeros(20, dtype=np.int64), np.zeros(30, dtype=np.int64))
    speech = Utterance(np.zeros(19_200, dtype=np.float32), 16_000)
    return GenerateRequest(Prompt.edit("x"), codes, speech, plan=plan or Plan(), **changes)


def test_uniform_tempo_gives_positions() -> None:
    asked = request(Plan(length_ratio=0.5, uniform_tempo=True, label="speed"))
    found = asked.source_map(5)
    assert found.condition == "speed"
    assert found.positions is not None and found.edited is None
    assert found.positions.tolist() == pytest.approx([2 * (n + 0.5) - 0.5 for n in range(15)])


def test_positions_follow_the_codes_that_they_are_counted_in() -> None:
    found = SourceMap(np.arange(3, dtype=np.float32), start=0.2)
    assert found.counted_from(0.2) is found
    moved = found.counted_from(0.12)
    assert moved.positions is not None and moved.start == 0.12
    assert moved.positions.tolist() == pytest.approx([2.0, 3.0, 4.0], abs=1e-5)


def test_places_in_the_source_at_another_pace() -> None:
    asked = request(Plan(length_ratio=1.6, uniform_tempo=True, label="speed"))
    found = replace(asked.source_map(16), start=0.2).at_pace(1.6)
    assert (found.condition, found.start) == ("speed", pytest.approx(0.32))
    assert found.positions is not None
    assert found.positions.tolist() == pytest.approx(range(48), abs=1e-4)
    assert SourceMap(start=0.2).at_pace(0.5).start == 0.1


def test_identity_maps_each_code_to_itself() -> None:
    codes = DualCodes(np.zeros(4, dtype=np.int64), np.zeros(6, dtype=np.int64), start=0.3)
    found = SourceMap.identity(codes)
    assert found.positions is not None and found.positions.tolist() == list(range(6))
    assert (found.start, found.condition) == (0.3, "")


def test_nothing_is_known_of_a_guess() -> None:
    assert request(Plan(label="emotion:sad")).source_map(9).positions is None


def test_what_is_confined_lies_between_copies() -> None:
    found = request(free=(FreeGroups(2, 4, 4),)).source_map(12)
    assert found.positions is not None and found.edited is not None
    assert np.flatnonzero(found.edited).tolist() == [2, 3, 4, 5]
    assert found.positions[:6].tolist() == pytest.approx(range(6))
    assert found.positions[18:].tolist() == pytest.approx(range(12, 30), abs=1e-4)


def test_insertions_have_no_position() -> None:
    found = request(free=(FreeGroups(4, 5, 4, True),)).source_map(13)
    assert found.positions is not None
    lost = np.flatnonzero(np.isnan(found.positions))
    assert lost.tolist() == list(range(13, 22))
    assert found.positions[24:].tolist() == pytest.approx(range(15, 30), abs=1e-4)


def test_the_label_of_a_sound_holds_for_the_sound_alone() -> None:
    plan = Plan(label="bell", insertions=(Insertion(0.5, 0.4),))
    assert request(plan, free=(FreeGroups(4, 5, 4, True),)).condition == "bell"
    assert request(plan).condition == ""
    assert request(Plan(label="bell")).condition == "bell"


def test_spans_of_no_one_tempo_are_not_placed_inside() -> None:
    plan = Plan(label="emotion:sad", spans=(Span(0.24, 0.48),), uniform_tempo_in_spans=False)
    found = request(plan, free=(FreeGroups(2, 4, 4),)).source_map(12)
    assert found.positions is not None
    assert np.flatnonzero(np.isnan(found.positions)).tolist() == list(range(6, 18))
    assert found.positions[18:].tolist() == pytest.approx(range(12, 30), abs=1e-4)


def test_a_part_of_a_map_keeps_its_places() -> None:
    edited = np.array([False, True, True, False])
    whole = SourceMap(np.arange(12, dtype=np.float32), "laugh", edited, start=0.2)
    part = whole.part(1, 3)
    assert part.positions is not None and part.positions.tolist() == [3, 4, 5, 6, 7, 8]
    assert part.edited is not None and part.edited.tolist() == [True, True]
    assert (part.condition, part.start) == ("laugh", 0.2)
    assert SourceMap(None, "laugh").part(0, 2).positions is None
