from __future__ import annotations

from collections.abc import Sequence

import pytest

from stepedit_core.edit import Outcome
from stepedit_core.llm_route.choosing import best_fitting, is_chosen_by_sound
from stepedit_core.plan import Plan
from stepedit_core.testing.fake_engine import FakeEngine
from stepedit_core.testing.signals import noise


class DrawingEngine(FakeEngine):
    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def draws(self, plan: Plan) -> int:
        return self.count


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

    def carry_out(plan: Plan, seeds: Sequence[int]) -> list[Outcome]:
        assert plan.fits is None and len(seeds) <= 4
        made = []
        for seed in seeds:
            value = -abs(len(drawn) - best)
            drawn.append(seed)
            made.append(Outcome(noise(0.1), "llm", None, {"value": value, "seed": seed}))
        return made

    kept = best_fitting(Plan(fits=_fits), DrawingEngine(count), 7, carry_out)
    assert kept.details == {"value": 0, "seed": drawn[best], "draws": count, "fit": 0.0}
    assert len(set(drawn)) == count and drawn[0] == 7


def test_the_first_of_equals_is_kept() -> None:
    def carry_out(plan: Plan, seeds: Sequence[int]) -> list[Outcome]:
        return [Outcome(noise(0.1), "llm", None, {"value": 1, "seed": seed}) for seed in seeds]

    kept = best_fitting(Plan(fits=_fits), DrawingEngine(9), 3, carry_out)
    assert kept.details["seed"] == 3
