"""Keep, of several draws, the one whose sound is most what an edit asked for.

Where all draws but for a new sound are the source's own codes, an engine that decodes excerpts
speaks each around its new sound alone, and then the whole of the best one; of the best two where
these are near each other, as their whole sound tells better.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Protocol, TypeGuard

import numpy as np

from stepedit_core.codes import answer_starts
from stepedit_core.edit import Outcome
from stepedit_core.engine import (
    DecodeRequest,
    GenerateRequest,
    SpeechEngine,
    draws_alone,
)
from stepedit_core.plan import Plan
from stepedit_core.utterance import Utterance

__all__ = [
    "ExcerptEngine",
    "best_fitting",
    "best_heard",
    "decodes_excerpts",
    "draw_seeds",
    "is_chosen_by_sound",
    "is_heard_in_part",
    "new_sounds",
]

AT_ONCE = 4
"""Draws that are made and decoded whole in one batch; more take more memory."""
NEAR, WHOLE = 0.1, 2
"""By how much two draws may differ in part and be heard whole, and how many are at most. In part,
how a draw fits is off by 0.06 on average (38 requests of validation speakers)."""


class ExcerptEngine(SpeechEngine, Protocol):
    """Optional ability of an engine: decode part of an answer, with little around it."""

    @property
    def excerpt_context(self) -> float:
        """Seconds before and after an excerpt that are decoded with it."""

    def decode_excerpts(
        self, requests: Sequence[DecodeRequest], excerpts: Sequence[tuple[int, int]]
    ) -> list[Utterance]:
        """Return the sound of some groups, from the first to before the last, of each request.

        It is near to what ``decode`` gives there, at the level of the request's reference.
        """


def decodes_excerpts(engine: SpeechEngine) -> TypeGuard[ExcerptEngine]:
    """Return whether an engine can decode part of an answer."""
    return hasattr(engine, "excerpt_context") and hasattr(engine, "decode_excerpts")


def is_chosen_by_sound(engine: SpeechEngine, plan: Plan) -> bool:
    """Return whether several draws are listened to: the edit can tell, and the rules ask for it."""
    return plan.fits is not None and draws_alone(engine, plan) > 1


def is_heard_in_part(engine: SpeechEngine, requests: Sequence[GenerateRequest]) -> bool:
    """Return whether draws can be heard by what is new in them: the rest is copied."""
    return decodes_excerpts(engine) and all(
        request.free is not None and any(part.length for part in request.free)
        for request in requests
    )


def best_fitting(
    plan: Plan, seeds: Sequence[int], carry_out: Callable[[Sequence[int]], Sequence[Outcome]]
) -> Outcome:
    """Return the best of outcomes that are carried out whole; of equals, the first.

    Args:
        plan: says how well an outcome fits (``Plan.fits``).
        seeds: of the draws.
        carry_out: returns an outcome for each seed.
    """
    assert plan.fits is not None
    best, best_fit = None, -np.inf
    for begin in range(0, len(seeds), AT_ONCE):
        for outcome in carry_out(seeds[begin : begin + AT_ONCE]):
            fit = plan.fits(outcome)
            if best is None or fit > best_fit:
                best, best_fit = outcome, fit
    assert best is not None
    return _chosen(best, len(seeds), best_fit)


def best_heard(
    plan: Plan,
    drawn: Sequence[tuple[GenerateRequest, DecodeRequest]],
    engine: SpeechEngine,
    finished: Callable[[int], Outcome],
) -> Outcome:
    """Return the outcome of the draw whose new sounds fit best; of equals, the first.

    Draws whose new sounds are near the best are heard whole.

    Args:
        plan: says how well an outcome fits (``Plan.fits``).
        drawn: draws of one edit, and how each is decoded.
        engine: decodes excerpts.
        finished: returns the whole outcome of a draw, by its place.
    """
    assert plan.fits is not None
    fits = [plan.fits(one) for one in new_sounds(drawn, engine)]
    best, *others = sorted(range(len(fits)), key=lambda place: -fits[place])
    near = [place for place in others[: WHOLE - 1] if fits[place] >= fits[best] - NEAR]
    if not near:
        return _chosen(finished(best), len(fits), fits[best])
    whole = [finished(place) for place in sorted([best, *near])]
    found = [plan.fits(one) for one in whole]
    first = found.index(max(found))
    return _chosen(whole[first], len(fits), found[first])


def _chosen(outcome: Outcome, draws: int, fit: float) -> Outcome:
    """Return an outcome that says of how many it was chosen, and how well it fits."""
    facts = {"draws": draws, "fit": round(float(fit), 3)}
    return dataclasses.replace(outcome, details={**outcome.details, **facts})


def new_sounds(
    drawn: Sequence[tuple[GenerateRequest, DecodeRequest]], engine: SpeechEngine
) -> list[Outcome]:
    """Return of each draw its new sounds alone, one after the other, at the source's rate.

    Their level is what the engine says brings it to the source's; joins are not cross-faded.

    Args:
        drawn: draws of one edit, which have equally many new parts, and how each is decoded.
        engine: decodes excerpts.
    """
    sounds: list[list[Utterance]] = [[] for _ in drawn]
    frees = [request.free or () for request, _ in drawn]
    starts = [answer_starts(free) for free in frees]
    decoding = [how for _, how in drawn]
    assert decodes_excerpts(engine)
    for number in range(len(frees[0])):
        excerpts = [
            (own[number], own[number] + free[number].length)
            for own, free in zip(starts, frees, strict=True)
        ]
        spoken = engine.decode_excerpts(decoding, excerpts)
        for parts, audio, (request, _) in zip(sounds, spoken, drawn, strict=True):
            parts.append(audio.resample(request.utterance.sample_rate))
    return [
        _as_outcome(request, how, parts)
        for (request, how), parts in zip(drawn, sounds, strict=True)
    ]


def _as_outcome(
    request: GenerateRequest, how: DecodeRequest, parts: Sequence[Utterance]
) -> Outcome:
    """Return new sounds as an outcome of their edit that has nothing else."""
    ends = np.cumsum([0.0, *(part.seconds for part in parts)]).tolist()
    details = {"output_spans": [list(span) for span in pairwise(ends)]}
    samples = np.concatenate([part.samples for part in parts])
    heard = request.utterance.replace(samples=samples, alignment=None)
    return Outcome(heard.replace(transcript=request.plan.words_after), "llm", how.codes, details)


def draw_seeds(seed: int, count: int) -> list[int]:
    """Return a seed for each draw; the first is the edit's own."""
    spawned = [np.random.SeedSequence(abs(seed), spawn_key=(place,)) for place in range(1, count)]
    return [seed, *(int(one.generate_state(1, np.uint32)[0]) for one in spawned)]
