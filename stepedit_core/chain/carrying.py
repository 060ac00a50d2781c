"""Carry one edit out by one of its routes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from stepedit_core.chain.result import Step
from stepedit_core.codes import DualCodes
from stepedit_core.edit import Edit, Outcome, Rendered, Route
from stepedit_core.engine import SpeechEngine
from stepedit_core.errors import RouteError
from stepedit_core.llm_route.carrying_out import apply_by_llm
from stepedit_core.plan import Plan
from stepedit_core.utterance import Utterance

__all__ = ["carry_out", "notes_of", "step_rng", "with_notes", "with_word_times"]


def step_rng(seed: int, position: int, number: int = 0) -> np.random.Generator:
    """Return the generator of a step; it depends on the seed and the step's place alone.

    Args:
        seed: the chain's.
        position: the step's place in the chain, from 0.
        number: of the try, from 0, where a step is drawn several times.
    """
    key = (position,) if number == 0 else (position, number)
    return np.random.default_rng(np.random.SeedSequence(abs(seed), spawn_key=key))


def with_word_times(made: Utterance, source: Utterance, plan: Plan | None) -> Utterance:
    """Carry the words' times along where an edit keeps the words and its tempo is known."""
    known = source.alignment or (plan.alignment if plan is not None else None)
    if known is None or made.alignment is not None or made.transcript != source.transcript:
        return made
    if plan is None or not plan.uniform_tempo:
        return made
    ratio = made.seconds / source.seconds
    return made.replace(alignment=known.moved(lambda second: second * ratio))


def with_notes(details: Mapping[str, Any], plan: Plan | None) -> Mapping[str, Any]:
    """Return the facts of a step with what its plan's alignment has to say."""
    said = plan.alignment.notes if plan is not None and plan.alignment is not None else ()
    notes = tuple(dict.fromkeys((*details.get("notes", ()), *said)))
    return {**details, "notes": list(notes)} if said else details


def notes_of(steps: Iterable[Step]) -> tuple[str, ...]:
    """Return what steps have to say, each note once; those that hide words say nothing."""
    open_steps = (step for step in steps if not step.edit.hides_words())
    said = (str(note) for step in open_steps for note in step.details.get("notes", ()))
    return tuple(dict.fromkeys(said))


def carry_out(
    edit: Edit,
    utterance: Utterance,
    engine: SpeechEngine | None,
    rng: np.random.Generator,
    route: Route,
    codes: DualCodes | None = None,
    **known: Any,
) -> Outcome:
    """Carry out an edit by the prompt and the engine, or by its own signal processing.

    Args:
        edit: the request.
        utterance: what to edit.
        engine: needed by the llm route.
        rng: the only source of randomness.
        route: ``llm`` or ``dsp``.
        codes: of the utterance, where they are known.
        known: ``plan``, ``latent``, ``keep_latent`` and ``past`` of the llm route, see
            `apply_by_llm`.

    Raises:
        RouteError: if there is no engine, or ``render()`` returns nonsense.
    """
    if route == "dsp":
        rendered = edit.render(utterance, rng)
        if not isinstance(rendered, Rendered):
            raise RouteError(f"render() returned {type(rendered).__name__}, not Rendered")
        return Outcome(rendered.utterance, "dsp", details=rendered.details)
    if engine is None:
        raise RouteError(f"{edit.name}: the llm route needs an engine")
    plan, latent = known.get("plan"), known.get("latent")
    return apply_by_llm(
        [edit],
        [utterance],
        engine,
        [int(rng.integers(2**63))],
        [codes],
        plans=None if plan is None else [plan],
        latents=[latent],
        keep_latent=known.get("keep_latent", False),
        pasts=[known.get("past")],
    )[0]
