from __future__ import annotations

import pytest
from stepedit_bench.interpreting.cli import shares
from stepedit_bench.interpreting.scoring import Instruction, read_instructions, run


def row(say: str, expect: object, text: str | None = None) -> Instruction:
    """Return an instruction."""
    data = {"say": say, "text": text, "kind": "single", "expect": expect, "language": "en"}
    return Instruction.model_validate(data | {"blind": False})


def test_outcomes() -> None:
    wanted = [{"edit": "denoise"}, {"edit": "speed:rate=slower"}]
    rows = run(
        [
            row("denoise it and slow it down", wanted),
            row("denoise it", wanted),
            row("speed it up", wanted),
            row("play it backwards", wanted),
            row("play it backwards", None),
            row("denoise it", None),
            row("delete go", "choice", "Go and go."),
        ]
    )
    found = ["exact", "partial", "wrong", "refused", "refused", "wrong", "asked"]
    assert [one.outcome for one in rows] == found
    figures = shares(rows)
    assert figures["exact"] == pytest.approx(0.25)
    assert figures["wrong_but_run"] == pytest.approx(2 / 7, abs=1e-3)
    assert figures["refused_rightly"] == pytest.approx(2 / 3, abs=1e-3)


def test_own_set() -> None:
    instructions = read_instructions()
    assert len(instructions) >= 400
    assert sum(one.blind for one in instructions) * 3 >= 400
    figures = shares(run(instructions))
    assert figures["exact"] >= 0.92
    assert figures["wrong_but_run"] < 0.01
    assert figures["median_ms"] < 20
