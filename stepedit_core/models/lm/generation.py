"""Generate audio ids with a Step1 model: all of a batch, or those of one prompt as they come."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stepedit_core.models.lm.answers import Generated, Watcher
from stepedit_core.models.lm.arguments import Ids
from stepedit_core.models.lm.constraints import Segment
from stepedit_core.models.lm.lanes import finish
from stepedit_core.models.lm.sampling import Sampling
from stepedit_core.models.lm.session import Session
from stepedit_core.models.lm.step1.alignment import Alignment
from stepedit_core.models.lm.step1.network import CausalLM
from stepedit_core.models.lm.token_layout import TokenLayout

__all__ = ["generate", "stream"]


def generate(
    model: CausalLM,
    prompts: Sequence[Ids],
    *,
    layout: TokenLayout,
    sampling: Sampling | None = None,
    constraints: Sequence[Sequence[Segment]] | None = None,
    seeds: Sequence[int] | None = None,
    max_new_tokens: int | Sequence[int] | None = None,
    check_every: int | None = None,
    graphs: bool | None = None,
    alignments: Sequence[Alignment | None] | None = None,
    against: Sequence[Ids] | None = None,
    watcher: Watcher | None = None,
) -> list[Generated]:
    """Generate for a batch of prompts; each item gives what it would give alone.

    Args:
        model: the model, on any device, in evaluation mode.
        prompts: prompt ids, one sequence per item, of any lengths.
        layout: where audio ids lie.
        sampling: the rules of picking; None are the public ones.
        constraints: one sequence of segments per item (``grammar()``, ``mask()``); None lets
            the model emit any id, as the public system does.
        seeds: one non-negative seed per item; needed unless greedy.
        max_new_tokens: largest number of new ids, for all or per item, copied ones included;
            None is what the context leaves.
        check_every: steps between two looks at whether all are done; None: 1 on CPU, else 16.
        graphs: replay decode steps as CUDA graphs; None: on CUDA devices.
        alignments: one per item, needed by models with a ``source_alignment`` and not looked
            at by others.
        against: one per item and as long as its prompt, where ``sampling`` has guidance: the
            logits after it are what guidance leads away from. Not looked at otherwise.
        watcher: asked now and then, once some items have ended, which others need not go on.

    Raises:
        BudgetError: if a prompt and its output do not fit the context.
        ValueError: if the counts of prompts, constraints, seeds or lengths differ, or a
            constraint cannot be met by the model's vocabulary.
    """
    if not prompts:
        return []
    session = Session(
        model, prompts, layout, sampling, constraints, seeds, max_new_tokens, graphs, alignments,
        against, watcher,
    )  # fmt: skip
    return finish(session, check_every)


def stream(
    model: CausalLM,
    prompt: Ids,
    *,
    layout: TokenLayout,
    sampling: Sampling | None = None,
    constraint: Sequence[Segment] | None = None,
    seed: int | None = None,
    max_new_tokens: int | None = None,
    check_every: int | None = None,
    graphs: bool | None = None,
    alignment: Alignment | None = None,
    against: Ids | None = None,
) -> Iterator[int]:
    """Yield the new ids of one prompt as they come: those that ``generate`` returns.

    Args and errors are those of ``generate``; checks are made before the first id. On an
    accelerator ids come in blocks of ``check_every`` (None: 5, one group of 120 ms).
    """
    constraints = None if constraint is None else [constraint]
    alignments = None if alignment is None else [alignment]
    session = Session(
        model, [prompt], layout, sampling, constraints, None if seed is None else [seed],
        max_new_tokens, graphs, alignments, None if against is None else [against],
    )  # fmt: skip
    return session.stream(check_every)
