"""Emit the next token of each row on a CPU, by NumPy.

Its calls cost a fifth of torch's on arrays as small as these. What is emitted equals what the
general way of `Session` gives, to the bit.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from stepedit_core.models.lm.columns import Part
from stepedit_core.models.lm.constraint_state import ConstraintState
from stepedit_core.models.lm.row_state import RowState
from stepedit_core.models.lm.sampling import Sampling, pick

__all__ = ["can_emit_on_host", "emit_on_host"]


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
    keys = state.keys[:, min(step, state.keys.shape[1] - 1)]
    picked = pick(logits, sampling, keys, part.tokens).numpy()
    tokens, ended = constraint.speak(part.tokens.numpy()[picked])
    ids = np.where(tokens >= 0, tokens + base, -1)
    state.out.numpy()[:, step] = ids
    state.token = torch.from_numpy(np.maximum(ids, 0)[:, None])
    state.done = torch.from_numpy(ended)
