from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from stepedit_bench import table as tables
from stepedit_bench.table import table, table_lines

from stepedit_core import StepeditError


def _row(case: str, condition: str, errors: int, **more: Any) -> dict[str, Any]:
    kept = {"text": {"errors": errors, "length": 10, "unit": "word"}, "dnsmos_ovrl": 3.0}
    return {"case": case, "condition": condition, "class": "white", "kept": kept, **more}


ROWS = [
    _row("a", "source", 4, audio_sha256="1", request={"backend": "x"}),
    _row("b", "source", 4, audio_sha256="1", request={}),
    _row("a", "edit", 1, request={"backend": "x"}, reached=True, preserved=True, joint=True),
    _row("b", "edit", 3, request={}, reached=True, preserved=False, joint=False),
    _row("c", "edit", 5, request={}, reached=True, preserved=None, joint=None),
]


def test_groups() -> None:
    lines = table_lines(ROWS, ["request.backend", "class"])
    assert lines[2].startswith("| source | - | white | 1 | 40.0 | 3.00 |")
    assert lines[3].startswith("| edit | - | white | 2 | 40.0 |")
    assert "| 100.0 | 0.0 | 0.0 [" in lines[3]  # what is open is left out
    assert lines[4].startswith("| edit | x | white | 1 | 10.0 |")
    assert len({line.count("|") for line in lines if not line.startswith("| ---")}) == 1


def test_unknown_field() -> None:
    with pytest.raises(StepeditError, match=r"--by request\.colour: no row"):
        table_lines(ROWS, ["request.colour"])


def test_runs_are_put_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = {"first": ROWS[:3], "second": ROWS[3:]}
    monkeypatch.setattr(tables, "read_results", lambda folder: runs[Path(folder).name])
    for name in runs:
        (tmp_path / name).mkdir()
    shown = CliRunner().invoke(table, [str(tmp_path / name) for name in runs]).output
    assert shown.splitlines() == table_lines(ROWS, ["class"])
