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


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        ({"edit": "replace", "find": "lights", "by": "colors"}, "light"),
        ({"edit": "insert", "text": "old", "after": "houses"}, "'houses' is not said"),
        ({"edit": "delete", "find": "red"}, "occurrence"),
        ({"edit": "rewrite", "to": "red and green light, red"}, "nothing changes"),
    ],
)
def test_words_that_are_not_there_are_told(
    edit: dict[str, object], said: str, tmp_path: Path
) -> None:
    case = {"id": "p258", "edit": edit, "audio": "a.wav", "transcript": "red and green light, red"}
    write(tmp_path, {**case, "id": "other", "edit": {"edit": "speed", "rate": "faster"}}, case)
    with pytest.raises(StepeditError, match=rf"case p258: .*{said}"):
        read_own(get_edit(str(edit["edit"])), tmp_path)
    assert read_own(get_edit("speed"), tmp_path)


def test_what_depends_on_the_sound_is_left_to_the_run(tmp_path: Path) -> None:
    edit = {"edit": "masked", "inner": {"edit": "denoise"}, "spans": [[7.0, 8.0]]}
    write(tmp_path, {"id": "a", "edit": edit, "audio": "a.wav", "transcript": "red light"})
    assert len(read_own(get_edit("masked"), tmp_path) or []) == 1
