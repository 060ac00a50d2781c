"""A batch that is about to be generated, for tests of rows that join and follow."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from stepedit_core.models.lm.constraints import Segment
from stepedit_core.models.lm.sampling import Sampling
from stepedit_core.models.lm.session import Session
from stepedit_core.models.lm.step1 import Step1ForCausalLM
from stepedit_core.models.lm.step1.alignment import Alignment
from tests.models.tiny_step1 import LAYOUT

__all__ = ["session_of"]


def session_of(
    model: Step1ForCausalLM,
    sampling: Sampling,
    items: Sequence[int],
    prompts: Sequence[list[int]],
    constraints: Sequence[Sequence[Segment]],
    alignment: Callable[[Sequence[int]], Alignment],
) -> Session:
    """Return a session of some items; each is seeded by its number, and has a second prompt."""
    rows = [prompts[n] for n in items]
    has_rule = model.config.source_alignment is not None
    return Session(
        model,
        rows,
        LAYOUT,
        sampling,
        [constraints[n] for n in items],
        [100 + n for n in items],
        200,
        None,
        [alignment(row) for row in rows] if has_rule else None,
        [list(reversed(row)) for row in rows],
    )
