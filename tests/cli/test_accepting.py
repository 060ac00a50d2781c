"""Limits on the command line: what is accepted, refused, said and reported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stepedit_core.utterance import Utterance
from tests.cli.calls import call, refused

pytestmark = pytest.mark.usefixtures("toys")

OFF = [f"--limit={name}=off" for name in ("words", "voice", "length", "pitch")]
QUIET = ["--accept", "normal", *OFF, "--limit", "target=false"]


def test_accepted_and_said(wav: Path, tmp_path: Path) -> None:
    out, report = tmp_path / "out.wav", tmp_path / "report.json"
    args = ("edit", wav, "-o", out, "-e", "hiss", "--engine", "fake", "--report", report)
    result = call(*args, *QUIET, "--candidates", 3)
    assert result.exit_code == 0, result.output
    assert "| accepted, best of 3" in result.stdout
    (step,) = json.loads(report.read_text())["runs"][0]["steps"]
    assert step["accepted"] is True and step["judged"]["drawn"] == 3


def test_what_was_tried_is_printed_and_reported(wav: Path, tmp_path: Path) -> None:
    out, report = tmp_path / "out.wav", tmp_path / "report.json"
    args = ("edit", wav, "-o", out, "-e", "hiss", "--engine", "fake", "--report", report, *QUIET)
    tight = (*args, "--limit", "level=1e-9", "--tries", 2)
    result = call(*tight)
    assert result.exit_code == 1 and not out.exists()
    assert "not accepted in 2 tries" in result.stderr
    assert "  try 1: the level moved" in result.stdout
    (row,) = json.loads(report.read_text())["runs"]
    assert [one["try"] for one in row["failed_tries"]] == [1, 2]
    kept = call(*tight, "--otherwise", "keep")
    assert kept.exit_code == 0 and "not accepted in 2 tries: kept the source" in kept.stdout
    assert Utterance.read(out).seconds == pytest.approx(Utterance.read(wav).seconds)


def test_limits_that_cannot_be_judged_are_said(wav: Path, tmp_path: Path) -> None:
    out, report = tmp_path / "out.wav", tmp_path / "report.json"
    result = call("edit", wav, "-o", out, "-e", "hiss", "--accept", "normal", "--report", report)
    assert "voice is not judged: no plugin measures voices" in result.stdout
    notes = json.loads(report.read_text())["runs"][0]["notes"]
    assert any("voice is not judged" in note for note in notes)


def test_limits_from_a_file(wav: Path, tmp_path: Path) -> None:
    limits = tmp_path / "limits.json"
    limits.write_text(json.dumps({"level": 1e-9, "words": None, "otherwise": "keep"}))
    args = ("edit", wav, "-o", tmp_path / "out.wav", "-e", "hiss:amount=much")
    assert "kept the source" in call(*args, "--accept", limits).stdout
    assert "| accepted" in call(*args, "--accept", limits, "--limit", "level=off").stdout


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (["--tries", 3], "tries: such limits go with --accept"),
        (["--accept", "lenient"], "--accept lenient: one of strict, normal, off"),
        (["--accept", "normal", "--limit", "word=1"], "did you mean 'words'"),
        (["--accept", "normal", "--limit", "words=many"], "words"),
    ],
)
def test_bad_limits(wav: Path, tmp_path: Path, given: list[object], text: str) -> None:
    line = refused(call("edit", wav, "-o", tmp_path / "out.wav", "-e", "hiss", *given))
    assert text in line


@pytest.mark.parametrize(
    "limit",
    ["words=nan", "words=true", "words=1e999", "words=-1", "voice=2", "clipping=2", "tries=2.5",
     "tries=1_0", "tries=٣", "heard=99", "changed=1", "level=0"],
)  # fmt: skip
def test_limits_out_of_range(wav: Path, tmp_path: Path, limit: str) -> None:
    args = ("edit", wav, "-o", tmp_path / "out.wav", "-e", "hiss", "--accept", "normal")
    assert limit.partition("=")[0] in refused(call(*args, "--limit", limit))
    assert not (tmp_path / "out.wav").exists()


@pytest.mark.parametrize(("name", "cure"), [("his", "did you mean 'hiss'"), ("0", "unknown edit")])
def test_limits_of_an_edit_that_there_is_not(
    wav: Path, tmp_path: Path, name: str, cure: str
) -> None:
    limits = tmp_path / "limits.json"
    limits.write_text(json.dumps({"edits": {name: {"level": 1.0}}}))
    args = ("edit", wav, "-o", tmp_path / "out.wav", "-e", "hiss", "--accept", limits)
    assert cure in refused(call(*args))
