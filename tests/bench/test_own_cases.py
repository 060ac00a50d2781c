"""Cases of one's own as a suite."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from stepedit_bench.own_cases import read_own

from stepedit_core import StepeditError, Utterance, get_edit
from stepedit_core.cli.root import cli
from stepedit_core.testing import speech_like


def write(folder: Path, *rows: dict[str, object]) -> None:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "cases.jsonl").write_text(text, encoding="utf-8")


def _run(args: list[str]) -> Result:
    return CliRunner().invoke(cli, args)


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


def test_a_folder_of_recordings_becomes_a_suite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = []

    class Ear:
        def hear(self, utterance: Utterance) -> str:
            heard.append(utterance.language)
            return " one two "

    monkeypatch.setattr("stepedit_bench.crossing.Recognisers", Ear)
    folder = tmp_path / "mine"
    for name, seconds in (("a.wav", 1.0), ("b.FLAC", 1.0), ("short.wav", 0.2)):
        speech_like(seconds).write(folder / name)
    (folder / "a.txt").write_text("\ufeffthree\nfour", encoding="utf-8")
    (folder / "notes.md").write_text("no recording")
    asked = ["bench", "cross", str(folder), "--edit", "speed:rate=faster"]
    done = _run([*asked, "--edit", "delete:find=three", "--out", str(tmp_path / "suite")])
    assert done.exit_code == 0, done.output
    cases = read_own(get_edit("speed"), tmp_path / "suite") or []
    assert [(Path(case.audio).name, case.transcript) for case in cases] == [
        ("a.wav", "three four"),
        ("b.FLAC", "one two"),
    ]
    assert heard == ["en"]
    assert len(read_own(get_edit("delete"), tmp_path / "suite") or []) == 1
    assert "left out 1 case" in done.stderr and "left out 1 recording" in done.stderr

    with pytest.raises(StepeditError, match=r"bench cross .*mine --edit speed"):
        read_own(get_edit("speed"), folder)
    (folder / "a.txt").write_bytes(b"\xff\xfe\xfa")
    assert "not UTF-8" in _run([*asked, "--out", str(tmp_path / "s")]).stderr
    (tmp_path / "empty").mkdir()
    nothing = _run(["bench", "cross", str(tmp_path / "empty"), *asked[3:], "--out", "s"])
    assert "no recordings in it" in nothing.stderr


def test_a_suite_folder_is_never_overlooked(tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "run"), "--suite-path", str(tmp_path)]
    done = _run(["bench", "run", "speed", "--suite", "default", *out])
    assert done.exit_code and "--suite default reads no folder" in done.stderr
    done = _run(["bench", "run", "speed", *out])
    assert done.exit_code and "cases.jsonl" in done.stderr
