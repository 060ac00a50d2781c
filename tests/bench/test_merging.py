"""Figures of a run are joined into those of an engine's folder, row by row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from stepedit_bench.commands import bench
from stepedit_bench.heldout.merging import merge_figures

from stepedit_core.errors import StepeditError
from stepedit_core.models.checkpoint.model_files import RouteTable, read_figures

BASE = "Whisper base"


def figure(name: str, kind: str, value: float, n: int) -> dict[str, Any]:
    return {"row": name, "kind": kind, "value": value, "n": n, "gate": 35, "goal": 15} | {
        "higher_is_better": False
    }


def folder(
    path: Path, *rows: dict[str, Any], model: str = "m", ear: str = BASE, **routes: int
) -> Path:
    path.mkdir()
    measured = {"command": f"stepedit {path.name}", "heard_by": {"en": [ear]}}
    figures = {"model": model, "rows": list(rows), "measured": measured}
    (path / "figures.json").write_text(json.dumps(figures))
    edits = {name: {"llm": 0.5, "dsp": None, "n": n, "route": "llm"} for name, n in routes.items()}
    (path / "routes.json").write_text(json.dumps({"model": model, "edits": edits}))
    return path


def test_rows_are_joined_and_more_utterances_win(tmp_path: Path) -> None:
    engine = folder(
        tmp_path / "engine",
        figure("speed.added_wer", "all", 3, 20),
        figure("clone.wer", "synthetic", 40, 6),
        figure("clone.wer", "all", 40, 6),
        figure("cost.rtf", "all", 0.3, 5),
        speed=20,
        clone=6,
    )
    run = folder(
        tmp_path / "run",
        figure("clone.wer", "real", 30, 10),
        figure("clone.wer", "synthetic", 41, 10),
        figure("clone.wer", "all, 10-30 s", 60, 12),
        figure("speed.added_wer", "all", 9, 4),
        speed=4,
        clone=32,
    )
    done = CliRunner().invoke(bench, ["merge", str(run), "--into", str(engine)])
    assert done.exit_code == 0, done.output
    assert "took 3 figures" in done.output and "1 of more utterances stay: speed" in done.output
    found = [(one.name, one.kind, one.value, one.n) for one in read_figures(engine)]
    assert found == [
        ("speed.added_wer", "all", 3, 20),
        ("clone.wer", "real", 30, 10),
        ("clone.wer", "synthetic", 41, 10),
        ("clone.wer", "all", 40, 6),
        ("clone.wer", "all, 10-30 s", 60, 12),
        ("cost.rtf", "all", 0.3, 5),
    ]
    (origin,) = json.loads((engine / "figures.json").read_text())["measured"]["merged"]
    assert origin["command"] == "stepedit run" and "clone.wer (real)" in origin["rows"]
    routes = json.loads((engine / "routes.json").read_text())["edits"]
    assert (routes["speed"]["n"], routes["clone"]["n"]) == (20, 32)
    assert RouteTable.load(engine).routes == {"clone": "llm", "speed": "llm"}
    before = (engine / "figures.json").read_text()
    with pytest.raises(StepeditError, match="heard by tiny, the folder's figures by Whisper base"):
        merge_figures(folder(tmp_path / "deaf", ear="tiny"), engine)
    assert (engine / "figures.json").read_text() == before


def test_other_weights_replace_all(tmp_path: Path) -> None:
    engine = folder(tmp_path / "engine", figure("clone.wer", "all", 40, 60), clone=60)
    run = folder(tmp_path / "run", figure("chain.wer_growth", "all", 1, 2), model="new", chain=2)
    (told,) = merge_figures(run, engine)
    assert "those there were of m" in told
    assert [one.name for one in read_figures(engine)] == ["chain.wer_growth"]
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "there were none" in merge_figures(run, empty)[0]
    (run / "figures.json").write_text("{}")
    with pytest.raises(StepeditError, match="says no model"):
        merge_figures(run, engine)
