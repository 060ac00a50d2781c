"""Run one step of a chain through the hooks and check what comes back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from stepedit_core.chain.result import Step
from stepedit_core.edit import Edit, Outcome, Route
from stepedit_core.errors import EditError, StepeditError
from stepedit_core.registry.registry import Registry
from stepedit_core.utterance import Utterance

if TYPE_CHECKING:
    from stepedit_core.codes import DualCodes
    from stepedit_core.engine import SpeechEngine

__all__ = ["run_step", "step_rng"]


def step_rng(seed: int, position: int) -> np.random.Generator:
    """Return the generator of a step; it depends on the seed and the step's place alone."""
    return np.random.default_rng(np.random.SeedSequence(abs(seed), spawn_key=(position,)))


def run_step(
    registry: Registry,
    edit: Edit,
    utterance: Utterance,
    *,
    engine: SpeechEngine | None,
    route: Route,
    seed: int,
    position: int,
    codes: DualCodes | None = None,
) -> Step:
    """Carry out one edit.

    Args:
        registry: whose hooks run.
        edit: the request.
        utterance: what to edit.
        engine: given to the llm route.
        route: the route chosen before.
        seed: the chain's seed.
        position: the step's place in the chain, from 0.
        codes: codes carried over from the step before.

    Raises:
        EditError: if the edit does not fit the utterance, fails, or returns nonsense; the text
            names step, edit and plugin.
    """
    origin = registry.origin(edit)
    where = f"step {position + 1}, {edit.name} ({origin.distribution} {origin.version})"
    problem = edit.problem(utterance)
    if problem:
        raise EditError(f"{where}: {problem}")
    begin = time.perf_counter()
    try:
        outcome = registry.hook.stepedit_apply(
            edit=edit,
            utterance=utterance,
            engine=engine if route == "llm" else None,
            rng=step_rng(seed, position),
            route=route,
            codes=codes,
        )
    except StepeditError as error:
        raise EditError(f"{where}: {error}") from error
    except (Exception, SystemExit) as error:
        raise EditError(f"{where}: {type(error).__name__}: {error}") from error
    seconds = time.perf_counter() - begin
    if not isinstance(outcome, Outcome):
        raise EditError(f"{where}: stepedit_apply returned {type(outcome).__name__}, not Outcome")
    if len(outcome.utterance.samples) == 0:
        raise EditError(f"{where}: nothing is left of the utterance")
    return Step(
        edit=edit,
        utterance=outcome.utterance,
        route=outcome.route,
        engine=engine.name if engine is not None and outcome.route == "llm" else None,
        plugin=origin,
        seed=seed,
        seconds=seconds,
        codes=outcome.codes,
        details=outcome.details,
    )
