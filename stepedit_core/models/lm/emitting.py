"""Emit the next token of each row: in general by torch, on a CPU mostly by NumPy.

NumPy's calls cost a fifth of torch's on arrays as small as these. What is emitted is the same, to
the bit.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from stepedit_core.models.lm.columns import Part
from stepedit_core.models.lm.constraint_state import ConstraintState
from stepedit_core.models.lm.row_state import RowState
from stepedit_core.models.lm.sampling import Sampling, pick, repeated_id, without_column

__all__ = ["can_emit_on_host", "emit_on_host", "free_ids", "held_ids"]


def can_emit_on_host(constraint: ConstraintState, sampling: Sampling) -> bool:
    """Tell whether rows are on the CPU, say nothing but what is drawn, and may repeat themselves.

    The answer may change when rows join.
    """
    is_free = not constraint.has_copies and not sampling.repetition_window
    return is_free and constraint.place.device.type == "cpu"


def emit_on_host(
    state: RowState,
    constraint: ConstraintState,
    sampling: Sampling,
    part: Part,
    logits: Tensor,
    step: int,
    base: int,
) -> None:
    """Pick a token for each row and keep it.

    Args:
        state: of the rows; ``out``, ``token`` and ``done`` are set.
        constraint: where rows stand; moved on.
        sampling: the rules.
        part: columns of the step.
        logits: ``(rows, columns)``; may be changed.
        step: number of the step.
        base: id of the first audio token.
    """
    logits = logits.float()
    if part.with_end:
        logits.numpy()[:, -1][~constraint.may_end_on_host()] = -np.inf
    picked = pick(logits, sampling, _keys(state, step), part.tokens).numpy()
    tokens, ended = constraint.speak(part.tokens.numpy()[picked])
    ids = np.where(tokens >= 0, tokens + base, -1)
    state.out.numpy()[:, step] = ids
    state.token = torch.from_numpy(np.maximum(ids, 0)[:, None])
    state.done = torch.from_numpy(ended)


def free_ids(state: RowState, sampling: Sampling, logits: Tensor, step: int, eot: int) -> Tensor:
    """Pick any id for each row; no question to the host.

    Args:
        state: of the rows; ``cut`` and ``done`` are set.
        sampling: the rules.
        logits: ``(rows, ids)``.
        step: number of the step.
        eot: id of the end of turn.

    Returns:
        int64 ``(rows,)``; -1 where a row has ended.
    """
    scores = _without_repeat(logits, state, sampling, 0, logits.shape[1])
    sampled = pick(scores, sampling, _keys(state, step))
    over = sampled == eot
    ids = torch.where(state.done | over, -1, sampled)
    full = ~state.done & ~over & (state.limits <= step + 1)
    state.cut |= full
    state.done |= over | full
    return ids


def held_ids(
    state: RowState,
    constraint: ConstraintState,
    sampling: Sampling,
    part: Part,
    logits: Tensor,
    step: int,
    base: int,
) -> Tensor:
    """Pick an id that may come now for each row; no question to the host.

    Args:
        state: of the rows; ``done`` is set.
        constraint: where rows stand; moved on.
        sampling: the rules.
        part: columns of the step.
        logits: ``(rows, columns)``; may be changed.
        step: number of the step.
        base: id of the first audio token.

    Returns:
        int64 ``(rows,)``; -1 where a row has ended.
    """
    scores = _without_repeat(logits, state, sampling, base + part.first, part.count)
    scores = constraint.restrict(scores, logits, part)
    picked = part.tokens[pick(scores, sampling, _keys(state, step), part.tokens)]
    tokens = constraint.advance(picked)
    state.done = constraint.ended
    return torch.where(tokens >= 0, tokens + base, -1)


def _keys(state: RowState, step: int) -> Tensor:
    """Return the noise keys of a step."""
    return state.keys[:, min(step, state.keys.shape[1] - 1)]


def _without_repeat(
    logits: Tensor, state: RowState, sampling: Sampling, first_id: int, count: int
) -> Tensor:
    """Apply the repetition rule; column 0 of ``count`` is the id ``first_id``."""
    if not sampling.repetition_window:
        return logits
    banned = repeated_id(state.recent, sampling.repetition_count) - first_id
    return without_column(logits, banned, count)
