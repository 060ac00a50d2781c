"""What may come at each place of an answer: as our own loop has it."""

from __future__ import annotations

import json

import pytest
import torch

from stepedit_core.errors import EngineError
from stepedit_core.models.lm.constraint_state import ConstraintState
from stepedit_core.models.lm.constraints import CODE_COUNT, Copy, Free, Plan, grammar, plan
from stepedit_core.models.lm.sampling import repeated_id
from stepedit_core.models.vllm_serving.schedule import CodeSchedule, banned_id

COPIED = Copy((1, 2, 1100, 1200, 1300))


@pytest.mark.parametrize(
    "segments",
    [
        grammar(2, 4),
        (Free(1, 1), COPIED, Free(2, 2)),
        (COPIED, Free(1, 1), COPIED, Free(0, 3), COPIED),
    ],
)
def test_places_are_those_of_the_constraint(segments: tuple[Copy | Free, ...]) -> None:
    made = plan(segments, 100)
    schedule = CodeSchedule.from_data(json.loads(json.dumps(CodeSchedule.of_plan(made).data())))
    assert len(schedule.tokens) == made.most_tokens
    state = ConstraintState([made], torch.device("cpu"))
    for number, copied in enumerate(schedule.tokens):
        place = schedule.place(number)
        if copied >= 0:
            assert (place.first, place.stop, place.may_end) == (copied, copied + 1, False)
            token = copied
        else:
            allowed = state.allowed()[0]
            codes = allowed[:CODE_COUNT].nonzero()[:, 0]
            assert (place.first, place.stop) == (int(codes[0]), int(codes[-1]) + 1)
            assert place.may_end == bool(allowed[CODE_COUNT])
            token = place.first
        state.advance(torch.tensor([token]))
    assert schedule.place(len(schedule.tokens)).may_end


def test_open_lengths_are_for_the_end_alone() -> None:
    with pytest.raises(EngineError, match="at the end alone"):
        CodeSchedule.of_plan(Plan((), (Free(1, 2), COPIED, Free(1, 1)), ()))
    with pytest.raises(EngineError, match="grammar = true"):
        CodeSchedule.of_plan(Plan((), (Free(1, 2, end_at_boundary=False),), ()))
    with pytest.raises(ValueError, match="no schedule"):
        CodeSchedule.from_data({"tokens": [1]})


@pytest.mark.parametrize("ids", [[5, 7, 5], [5, 5, 7, 7], [7, 5, 6, 5], [5], []])
def test_the_repetition_rule_is_the_loops(ids: list[int]) -> None:
    window = 4
    recent = torch.tensor([([-1] * window + ids)[-window:]])
    known = int(repeated_id(recent)[0])
    assert banned_id(ids, window, 2) == (None if known < 0 else known)
    assert banned_id(ids, 0, 2) is None
