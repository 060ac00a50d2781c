"""From requests to codes: prompts, constraints, generation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from stepedit_core.codes import GROUP_SIZE, DualCodes
from stepedit_core.engine import GenerateRequest
from stepedit_core.models.checkpoint.load import EngineParts
from stepedit_core.models.lm.answers import Generated, Watcher
from stepedit_core.models.lm.chat import hide_words
from stepedit_core.models.lm.framing import (
    AlignedPrompt,
    Rules,
    aligned_prompt,
    codes_of,
    constraint_of,
    most_groups,
    sampling_of,
)
from stepedit_core.models.lm.lanes import finish
from stepedit_core.models.lm.session import Session

__all__ = ["answer_of", "answer_requests", "begun_session", "watched_answers"]


def answer_requests(
    parts: EngineParts,
    rules: Rules,
    requests: Sequence[GenerateRequest],
    *,
    graphs: bool | None = None,
) -> list[DualCodes]:
    """Return the codes of requests that share their rules of sampling, in one batch.

    Raises:
        BudgetError: if a prompt and its output do not fit the context.
        EngineError: if the model ends its turn without a single group.
    """
    outputs = _generated(parts, rules, requests, None, graphs)
    return [codes_of(out, item, parts) for out, item in zip(outputs, requests, strict=True)]


def watched_answers(
    parts: EngineParts,
    rules: Rules,
    requests: Sequence[GenerateRequest],
    watcher: Watcher,
    *,
    graphs: bool | None = None,
) -> list[DualCodes | None]:
    """Return codes as `answer_requests` does, and None for answers that the watcher gave up."""
    outputs = _generated(parts, rules, requests, watcher, graphs)
    return [answer_of(out, item, parts) for out, item in zip(outputs, requests, strict=True)]


def _generated(
    parts: EngineParts,
    rules: Rules,
    requests: Sequence[GenerateRequest],
    watcher: Watcher | None,
    graphs: bool | None,
) -> list[Generated]:
    """Return what the model gives for requests."""
    if not requests:
        return []
    return finish(begun_session(parts, rules, requests, watcher, graphs=graphs))


def begun_session(
    parts: EngineParts,
    rules: Rules,
    requests: Sequence[GenerateRequest],
    watcher: Watcher | None = None,
    *,
    graphs: bool | None = None,
) -> Session:
    """Return the generation of requests that share their rules, before its first step.

    Raises:
        BudgetError: if a prompt and its output do not fit the context.
    """
    prompts = _prompts(parts, requests)
    budgets = [parts.budget(len(prompt.ids), rules.sampling.max_length) for prompt in prompts]
    asked = list(zip(requests, prompts, budgets, strict=True))
    constraints = [constraint_of(r, prompt.ids, most, rules) for r, prompt, most in asked]
    longest = [GROUP_SIZE * most_groups(r, most, rules.policy) for r, _, most in asked]
    drawing = sampling_of(rules.sampling)
    against: list[list[int]] | None = None
    if drawing.guided:
        own = {id(prompt): prompt.ids for prompt in prompts}
        hidden = {key: hide_words(ids, parts.text) for key, ids in own.items()}
        against = [hidden[id(prompt)] for prompt in prompts]
    return Session(
        parts.network(rules.policy.weights),
        [prompt.ids for prompt in prompts],
        parts.layout,
        drawing,
        constraints if rules.sampling.grammar else None,
        [request.seed for request in requests],
        budgets if rules.sampling.grammar else longest,
        graphs,
        [prompt.alignment for prompt in prompts],
        against,
        watcher,
    )


def _prompts(parts: EngineParts, requests: Sequence[GenerateRequest]) -> list[AlignedPrompt]:
    """Return the prompt of each request; candidates, which follow each other, share theirs."""
    made: list[AlignedPrompt] = []
    for before, request in zip([None, *requests], requests, strict=False):
        if before is not None and _are_candidates(before, request):
            made.append(made[-1])
        else:
            made.append(aligned_prompt(request, parts.text, parts.encoding))
    return made


def _are_candidates(one: GenerateRequest, other: GenerateRequest) -> bool:
    """Return whether two requests are the same but for their seeds."""
    names = [field.name for field in fields(one) if field.name != "seed"]
    return all(getattr(one, name) is getattr(other, name) for name in names)


def answer_of(output: Generated, request: GenerateRequest, parts: EngineParts) -> DualCodes | None:
    """Return an answer's codes, None where it was given up; raises as `codes_of` does."""
    return None if output.finish == "dropped" else codes_of(output, request, parts)
