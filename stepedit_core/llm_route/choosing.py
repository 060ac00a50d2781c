"""Keep, of several draws, the one whose sound is most what an edit asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from stepedit_core.edit import Outcome
from stepedit_core.engine import SpeechEngine, draws_alone
from stepedit_core.plan import Plan

__all__ = ["best_fitting", "is_chosen_by_sound"]

AT_ONCE = 4
"""Draws that are made and decoded in one batch; more take more memory."""


def is_chosen_by_sound(engine: SpeechEngine, plan: Plan) -> bool:
    """Return whether several draws are listened to: the edit can tell, and the rules ask for it."""
    return plan.fits is not None and draws_alone(engine, plan) > 1


def best_fitting(
    plan: Plan,
    engine: SpeechEngine,
    seed: int,
    carry_out: Callable[[Plan, Sequence[int]], Sequence[Outcome]],
) -> Outcome:
    """Return the best of so many outcomes as the engine's rules ask for; of equals, the first.

    Args:
        plan: says how well an outcome fits (``Plan.fits``).
        engine: says how many answers are drawn.
        seed: of the first draw; the others have seeds that come of it.
        carry_out: returns an outcome of a plan for each seed.
    """
    assert plan.fits is not None
    seeds = _seeds(seed, draws_alone(engine, plan))
    alone = plan.but(fits=None)
    best, best_fit = None, -np.inf
    for begin in range(0, len(seeds), AT_ONCE):
        for outcome in carry_out(alone, seeds[begin : begin + AT_ONCE]):
            fit = plan.fits(outcome)
            if best is None or fit > best_fit:
                best, best_fit = outcome, fit
    assert best is not None
    facts = {"draws": len(seeds), "fit": round(float(best_fit), 3)}
    return dataclasses.replace(best, details={**best.details, **facts})


def _seeds(seed: int, count: int) -> list[int]:
    """Return a seed for each draw; the first is the edit's own."""
    spawned = [np.random.SeedSequence(abs(seed), spawn_key=(place,)) for place in range(1, count)]
    return [seed, *(int(one.generate_state(1, np.uint32)[0]) for one in spawned)]
