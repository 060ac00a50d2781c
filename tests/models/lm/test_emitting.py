"""Tokens that are drawn and stored by NumPy, against the general way."""

from __future__ import annotations

import pytest
import torch

from stepedit_core.models.lm.answers import Generated
from stepedit_core.models.lm.constraint_state import ConstraintState
from stepedit_core.models.lm.constraints import Free, grammar, plan
from stepedit_core.models.lm.emitting import can_emit_on_host
from stepedit_core.models.lm.generation import generate
from stepedit_core.models.lm.sampling import GREEDY, Sampling
from tests.models.tiny_step1 import LAYOUT, prompts, tiny_model

_USED = "stepedit_core.models.lm.session.can_emit_on_host"
LENGTHS = ((1, 4), (2, 9), (5, 5))


@pytest.mark.parametrize(
    "sampling",
    [
        GREEDY,
        Sampling(temperature=0.7, repetition_window=0),
        Sampling(temperature=1.0, repetition_window=0, guidance=2.0, top_k=20),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_answers_equal_those_of_the_general_way(
    sampling: Sampling, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model().to(dtype)
    rows = prompts()
    asked: list[int] = []

    def answers() -> list[Generated]:
        return generate(
            model,
            rows,
            layout=LAYOUT,
            sampling=sampling,
            constraints=[grammar(least, most) for least, most in LENGTHS],
            seeds=[1, 2, 3],
            max_new_tokens=60,
            against=[list(reversed(row)) for row in rows] if sampling.guided else None,
        )

    def counted(*given: object) -> bool:
        asked.append(1)
        return can_emit_on_host(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(_USED, counted)
    by_numpy = answers()
    assert len(asked) >= 25
    monkeypatch.setattr(_USED, lambda *_: False)
    assert answers() == by_numpy
    assert [len(one.ids) % 5 for one in by_numpy] == [0, 0, 0]
    assert {one.finish for one in by_numpy} <= {"stop", "length"}


def test_who_may_end_is_known_by_numpy_too() -> None:
    bodies = [[Free(1, 3, end_at_boundary=False)], [Free(0, 2)], []]
    state = ConstraintState([plan(body, 40) for body in bodies], torch.device("cpu"))
    for place in range(12):
        state.place.fill_(place)
        assert state.may_end_on_host().tolist() == state.may_end().tolist()
