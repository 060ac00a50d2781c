from __future__ import annotations

import json
from pathlib import Path

import pytest

from stepedit_core.errors import CheckpointError
from stepedit_core.models.checkpoint.model_files import FIGURES_FILE, experimental, read_figures


def row(
    name: str, value: float | None, gate: float | None = 20, **more: object
) -> dict[str, object]:
    return {"row": name, "value": value, "gate": gate, "higher_is_better": False, **more}


def load(folder: Path, *rows: object) -> str | None:
    (folder / FIGURES_FILE).write_text(json.dumps({"rows": rows}))
    return experimental(read_figures(folder))


def test_a_gate_is_missed_on_its_wrong_side(tmp_path: Path) -> None:
    assert load(tmp_path, row("a", 20), row("b", 0.8, 0.75, higher_is_better=True)) is None
    assert load(tmp_path, row("a", 21), row("b", 1)) == "it misses 1 of 2 gates (a)"
    better = row("b", 0.7, 0.75, higher_is_better=True)
    assert load(tmp_path, better) == "it misses 1 of 1 gates (b)"


def test_every_kind_of_speech_must_pass_and_a_figure_counts_once(tmp_path: Path) -> None:
    rows = [row("a", 30, kind="real"), row("a", 40, kind="synthetic"), row("b", 1, kind="real")]
    assert load(tmp_path, *rows) == "it misses 1 of 2 gates (a)"


def test_what_was_not_measured_passes_no_gate(tmp_path: Path) -> None:
    assert experimental(read_figures(tmp_path)) == "its figures have not been measured yet"
    assert load(tmp_path, row("a", None)) == "it misses 1 of 1 gates (a)"
    assert load(tmp_path, row("a", 5, None)) == "its figures have not been measured yet"


def test_rows_keep_what_stands_beside(tmp_path: Path) -> None:
    load(tmp_path, row("a", 3, goal=2, n=41, beside={"dsp": 1.5, "world": None}))
    (figure,) = read_figures(tmp_path)
    assert (figure.n, figure.beside, figure.reaches_goal) == (41, {"dsp": 1.5}, False)


@pytest.mark.parametrize(
    "content", ["{", "{}", '{"rows": [3]}', '{"rows": [{"row": "a", "value": "x"}]}']
)
def test_damaged_figures_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / FIGURES_FILE).write_text(content)
    with pytest.raises(CheckpointError, match=r"figures\.json is not a list of figures"):
        read_figures(tmp_path)
