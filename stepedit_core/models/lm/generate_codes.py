"""From requests to codes: prompts, constraints, generation."""

from __future__ import annotations

from collections.abc import Sequence

from stepedit_core.codes import GROUP_SIZE, DualCodes
from stepedit_core.engine import GenerateRequest
from stepedit_core.models.checkpoint.load import EngineParts
from stepedit_core.models.lm.answers import Generated, Watcher
from stepedit_core.models.lm.chat import hide_words
from stepedit_core.models.lm.framing import (
    Rules,
    aligned_prompt,
    codes_of,
    constraint_of,
    most_groups,
    sampling_of,
)
from stepedit_core.models.lm.session import generate

__all__ = ["answer_requests", "watched_answers"]


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
    outputs = _generated(parts, rules, requests, graphs, None)
    return [codes_of(out, item, parts) for out, item in zip(outputs, requests, strict=True)]


def watched_answers(
    parts: EngineParts,
    rules: Rules,
    requests: Sequence[GenerateRequest],
    watcher: Watcher,
    *,
    graphs: bool | None = None,
) -> list[DualCodes | None]:
    """Return codes as `answer_requests` does, and None for answers that the watcher gave up.

    It is not asked where parts of a source are copied.
    """
    asked = watcher if all(request.free is None for request in requests) else None
    outputs = _generated(parts, rules, requests, graphs, asked)
    return [
        None if out.finish == "dropped" else codes_of(out, item, parts)
        for out, item in zip(outputs, requests, strict=True)
    ]


def _generated(
    parts: EngineParts,
    rules: Rules,
    requests: Sequence[GenerateRequest],
    graphs: bool | None,
    watcher: Watcher | None,
) -> list[Generated]:
    """Return what the model gives for requests."""
    prompts = [aligned_prompt(request, parts.text, parts.encoding) for request in requests]
    budgets = [parts.budget(len(prompt.ids), rules.sampling.max_length) for prompt in prompts]
    asked = list(zip(requests, prompts, budgets, strict=True))
    constraints = [constraint_of(r, prompt.ids, most, rules) for r, prompt, most in asked]
    longest = [GROUP_SIZE * most_groups(r, most, rules.policy) for r, _, most in asked]
    drawing = sampling_of(rules.sampling)
    against = [hide_words(prompt.ids, parts.text) for prompt in prompts] if drawing.guided else None
    return generate(
        parts.model,
        [prompt.ids for prompt in prompts],
        layout=parts.layout,
        sampling=drawing,
        constraints=constraints if rules.sampling.grammar else None,
        seeds=[request.seed for request in requests],
        max_new_tokens=budgets if rules.sampling.grammar else longest,
        graphs=graphs,
        alignments=[prompt.alignment for prompt in prompts],
        against=against,
        watcher=watcher,
    )
