from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pytest

from stepedit_core.codes import GROUP_SECONDS, FreeGroups
from stepedit_core.edit import Edit, Outcome
from stepedit_core.engine import DecodeRequest, GenerateRequest
from stepedit_core.llm_route.carrying_out import apply_by_llm
from stepedit_core.llm_route.choosing import (
    best_fitting,
    best_heard,
    draw_seeds,
    is_chosen_by_sound,
)
from stepedit_core.plan import Insertion, Plan
from stepedit_core.prompt import Prompt
from stepedit_core.testing.fake_engine import FakeEngine
from stepedit_core.testing.signals import noise, tone
from stepedit_core.utterance import Span, Utterance


class DrawingEngine(FakeEngine):
    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count
        self.decoded: list[int] = []

    def draws(self, plan: Plan) -> int:
        return self.count

    def regenerates_insertions_only(self, plan: Plan) -> bool:
        return True

    def decode(self, requests: Sequence[DecodeRequest]) -> list[Utterance]:
        self.decoded.append(len(requests))
        return super().decode(requests)


class ExcerptingEngine(DrawingEngine):
    """Decodes excerpts as they are in the whole."""

    excerpt_context = 0.0

    def decode_excerpts(
        self, requests: Sequence[DecodeRequest], excerpts: Sequence[tuple[int, int]]
    ) -> list[Utterance]:
        return [
            audio.slice(Span(first * GROUP_SECONDS, stop * GROUP_SECONDS))
            for audio, (first, stop) in zip(
                FakeEngine.decode(self, requests), excerpts, strict=True
            )
        ]


class Bells(Edit):
    """Ring twice, as high as can be."""

    name: ClassVar[str] = "bells"

    def prompt(self, utterance: Utterance) -> Prompt:
        return Prompt.edit(f"Ring: {utterance.transcript}\n")

    def plan(self, utterance: Utterance) -> Plan:
        places = (Insertion(0.5, 0.4), Insertion(1.5, 0.6))
        return super().plan(utterance).but(insertions=places, fits=_height)


def _height(outcome: Outcome) -> float:
    """Return the mean frequency of what is new, away from its joins."""
    spans = [Span(*span) for span in outcome.details["output_spans"]]
    found = []
    for span in spans:
        part = outcome.utterance.slice(Span(span.start + 0.03, span.end - 0.03))
        power = np.abs(np.fft.rfft(part.samples)) ** 2
        hz = np.fft.rfftfreq(len(part.samples), 1 / part.sample_rate)
        found.append(float((power * hz).sum() / power.sum()))
    return float(np.mean(found))


SPEECH = tone(440.0, 1.2)
NEW = GenerateRequest(
    Prompt.edit("Ring."),
    FakeEngine().encode([SPEECH])[0],
    SPEECH,
    free=(FreeGroups(2, 3, 4, True),),
)


def _fits(outcome: Outcome) -> float:
    return float(outcome.details["value"])


def test_draws_are_listened_to_where_edit_and_rules_ask_for_it() -> None:
    plan = Plan(fits=_fits)
    assert is_chosen_by_sound(DrawingEngine(2), plan)
    assert not is_chosen_by_sound(DrawingEngine(1), plan)
    assert not is_chosen_by_sound(DrawingEngine(2), Plan())
    assert not is_chosen_by_sound(FakeEngine(), plan)


@pytest.mark.parametrize(("count", "best"), [(2, 1), (8, 7), (11, 9)])
def test_the_best_draw_is_kept(count: int, best: int) -> None:
    drawn: list[int] = []

    def carry_out(seeds: Sequence[int]) -> list[Outcome]:
        assert len(seeds) <= 4
        made = []
        for seed in seeds:
            value = -abs(len(drawn) - best)
            drawn.append(seed)
            made.append(Outcome(noise(0.1), "llm", None, {"value": value, "seed": seed}))
        return made

    kept = best_fitting(Plan(fits=_fits), draw_seeds(7, count), carry_out)
    assert kept.details == {"value": 0, "seed": drawn[best], "draws": count, "fit": 0.0}
    assert len(set(drawn)) == count and drawn[0] == 7


def test_the_first_of_equals_is_kept() -> None:
    def carry_out(seeds: Sequence[int]) -> list[Outcome]:
        return [Outcome(noise(0.1), "llm", None, {"value": 1, "seed": seed}) for seed in seeds]

    kept = best_fitting(Plan(fits=_fits), draw_seeds(3, 9), carry_out)
    assert kept.details["seed"] == 3


def test_an_engine_that_decodes_excerpts_speaks_one_draw_whole() -> None:
    speech = tone(440.0, 2.4, 16_000).replace(transcript="one two three")
    whole, part = DrawingEngine(6), ExcerptingEngine(6)
    (expected,) = apply_by_llm([Bells()], [speech], whole, [5])
    (found,) = apply_by_llm([Bells()], [speech], part, [5])
    assert whole.decoded == [4, 2] and part.decoded in ([1], [1, 1])
    assert found.utterance == expected.utterance and found.codes == expected.codes
    assert found.details["draws"] == 6
    assert found.details["fit"] == pytest.approx(expected.details["fit"], rel=0.02)
    assert {key: found.details[key] for key in found.details if key != "fit"} == {
        key: expected.details[key] for key in expected.details if key != "fit"
    }


def test_of_draws_that_are_near_the_best_the_whole_is_heard() -> None:
    drawn = [(NEW, DecodeRequest(NEW.codes, NEW.utterance, seed)) for seed in range(4)]
    parts, wholes = [0.4, 0.95, 1.0, 0.94], [9.0, 3.0, 2.0, 8.0]
    spoken: list[int] = []

    def fits(outcome: Outcome) -> float:
        place = outcome.details.get("place")
        return parts.pop(0) if place is None else wholes[place]

    def finished(place: int) -> Outcome:
        spoken.append(place)
        return Outcome(noise(0.1), "llm", None, {"place": place})

    kept = best_heard(Plan(fits=fits), drawn, ExcerptingEngine(4), finished)
    assert spoken == [1, 2] and kept.details == {"place": 1, "draws": 4, "fit": 3.0}
    parts[:] = [0.4, 0.5, 1.0, 0.6]
    kept = best_heard(Plan(fits=fits), drawn, ExcerptingEngine(4), finished)
    assert spoken == [1, 2, 2] and kept.details == {"place": 2, "draws": 4, "fit": 1.0}
