"""Cases of one's own as a suite."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from stepedit_bench.own_cases import read_own

from stepedit_core import StepeditError, get_edit


def write(folder: Path, *rows: dict[str, object]) -> None:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "cases.jsonl").write_text(text, encoding="utf-8")


def test_cases_of_one_edit_are_read(tmp_path: Path) -> None:
    speed = {"edit": "speed", "rate": "faster"}
    write(
        tmp_path,
        {"id": "a", "edit": speed, "audio": "a.wav", "transcript": "hello"},
        {"id": "b", "edit": {"edit": "denoise"}, "audio": "speech:doubt"},
    )
    (case,) = read_own(get_edit("speed"), tmp_path) or []
    assert case.audio == str(tmp_path / "a.wav") and case.transcript == "hello"
    assert read_own(get_edit("style"), tmp_path) is None


@pytest.mark.parametrize("text", ["{", '{"id": "a"}', '{"id": "a", "edit": {"edit": "nix"}}'])
def test_what_is_no_case_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "cases.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(StepeditError, match=r"cases\.jsonl: line 1") as caught:
        read_own(get_edit("speed"), tmp_path)
    assert "\n" not in str(caught.value)
    with pytest.raises(StepeditError, match="no such file"):
        read_own(get_edit("speed"), tmp_path / "nowhere")
