from __future__ import annotations

import json
from pathlib import Path

import pytest

from stepedit_core.errors import CheckpointError
from stepedit_core.models.checkpoint.model_files import ROUTES_FILE, RouteTable
from tests.toy_edits import Gain, Hiss


def load(folder: Path, content: object) -> RouteTable:
    (folder / ROUTES_FILE).write_text(json.dumps({"model": "0", "edits": content}))
    return RouteTable.load(folder)


def test_a_named_route_wins_and_the_better_score_otherwise(tmp_path: Path) -> None:
    table = load(
        tmp_path,
        {
            "hiss": {"llm": 0.2, "dsp": 0.9, "n": 40, "route": "llm"},
            "gain": {"llm": 0.2, "dsp": 0.9, "n": 40},
            "clone": {"llm": 0.0, "dsp": None},
            "tie": {"llm": 0.5, "dsp": 0.5},
        },
    )
    assert table.routes == {"hiss": "llm", "gain": "dsp", "clone": "llm", "tie": "llm"}
    assert (table.preferred(Hiss()), table.preferred(Gain())) == ("llm", "dsp")


def test_edits_that_were_not_measured_have_no_preference(tmp_path: Path) -> None:
    assert RouteTable.load(tmp_path).preferred(Hiss()) is None
    assert load(tmp_path, {"gain": {"route": "dsp"}}).preferred(Hiss()) is None


@pytest.mark.parametrize("row", [{"route": "best"}, {}, [], {"n": 3}, {"llm": "good"}])
def test_rows_that_name_no_route_are_refused(tmp_path: Path, row: object) -> None:
    with pytest.raises(CheckpointError, match=r"routes\.json, 'hiss'"):
        load(tmp_path, {"hiss": row})


def test_a_length_may_stand_alone(tmp_path: Path) -> None:
    table = load(tmp_path, {"hiss": {"longest_seconds": 4}, "gain": {"route": "dsp"}})
    assert (table.routes, table.longest) == ({"gain": "dsp"}, {"hiss": 4.0})
    with pytest.raises(CheckpointError, match="longest_seconds is a number from 1"):
        load(tmp_path, {"hiss": {"longest_seconds": 0.5}})


def test_damaged_tables_are_refused(tmp_path: Path) -> None:
    (tmp_path / ROUTES_FILE).write_text("{")
    with pytest.raises(CheckpointError, match="not readable JSON"):
        RouteTable.load(tmp_path)
    (tmp_path / ROUTES_FILE).write_text('{"speed": {}}')
    with pytest.raises(CheckpointError, match="no object under 'edits'"):
        RouteTable.load(tmp_path)
