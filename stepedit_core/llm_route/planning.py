"""What an engine is asked to generate for an edit, whole or confined to spans."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stepedit_core.codes import GROUP_SECONDS, DualCodes, FreeGroups
from stepedit_core.edit import Edit
from stepedit_core.engine import GenerateRequest
from stepedit_core.errors import EngineError, RouteError
from stepedit_core.plan import Insertion, Plan
from stepedit_core.prompt import Prompt
from stepedit_core.utterance import Span, Utterance

__all__ = ["free_groups", "inserted_groups", "request_for", "span_ratio"]


def span_ratio(spans: tuple[Span, ...], utterance: Utterance, ratio: float) -> float:
    """Return how much the spans grow, where the whole utterance grows by ``ratio``.

    What lies outside the spans keeps its length, so all growth happens inside.
    """
    inside = sum(span.seconds for span in spans)
    return max(0.0, 1 + (ratio - 1) * utterance.seconds / max(inside, GROUP_SECONDS))


def free_groups(spans: tuple[Span, ...], codes: DualCodes, ratio: float) -> tuple[FreeGroups, ...]:
    """Return the 120 ms groups that lie wholly inside the spans.

    Args:
        spans: in seconds of the utterance that ``codes`` encode.
        codes: its codes; they may begin later than the utterance.
        ratio: expected length of the spans after the edit over before.

    Raises:
        EngineError: if a span holds no whole group, so that nothing could be generated for it.
    """
    free = []
    for span in sorted(spans):
        start = max(0, int(np.ceil((span.start - codes.start) / GROUP_SECONDS - 1e-6)))
        stop = min(codes.groups, int(np.floor((span.end - codes.start) / GROUP_SECONDS + 1e-6)))
        if stop <= start:
            raise EngineError(
                f"span ({span.start:g}, {span.end:g}) holds no whole group of "
                f"{GROUP_SECONDS * 1000:.0f} ms of coded speech; make it longer"
            )
        free.append(FreeGroups(start, stop, max(1, round((stop - start) * ratio))))
    return tuple(free)


def inserted_groups(insertions: Sequence[Insertion], codes: DualCodes) -> tuple[FreeGroups, ...]:
    """Return the group that each insertion falls into, with what it grows to."""
    grown: dict[int, int] = {}
    for part in insertions:
        group = int(np.clip((part.at - codes.start) // GROUP_SECONDS, 0, codes.groups - 1))
        grown[group] = grown.get(group, 0) + max(1, round(part.seconds / GROUP_SECONDS))
    return tuple(
        FreeGroups(group, group + 1, 1 + more, True) for group, more in sorted(grown.items())
    )


def request_for(
    edit: Edit,
    utterance: Utterance,
    codes: DualCodes,
    seed: int,
    *,
    plan: Plan | None = None,
    insertions_only: bool = False,
) -> GenerateRequest:
    """Return what an engine is asked to generate for an edit.

    Args:
        edit: what is asked.
        utterance: what to edit.
        codes: its codes.
        seed: of the draw.
        plan: the edit's plan for the utterance; None asks the edit for it.
        insertions_only: copy all but the plan's insertions, where it has any.

    Raises:
        RouteError: if the edit has no prompt, or lacks the transcript that it needs.
        EngineError: if a span holds no whole group of codes.
    """
    problem = edit.route_problem("llm")
    if problem:
        raise RouteError(problem)
    if edit.needs_transcript("llm") and not (utterance.transcript or "").strip():
        raise RouteError(
            f"{edit.name}: the llm route needs the transcript; give the utterance one with "
            "transcript="
        )
    plan = edit.plan(utterance) if plan is None else plan
    free = None
    if plan.spans is not None:
        free = free_groups(plan.spans, codes, span_ratio(plan.spans, utterance, plan.length_ratio))
    elif insertions_only:
        free = inserted_groups(plan.insertions, codes) or None
    words = plan.words_after if free is None else None
    # Nobody reads the prompt of an edit that keeps the codes.
    prompt = Prompt.edit("") if plan.keeps_codes else edit.prompt(utterance)
    return GenerateRequest(prompt, codes, utterance, seed, plan, words, free)
