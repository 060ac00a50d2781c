"""The command ``stepedit bench`` as its help shows it."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from stepedit_bench.commands import bench

from stepedit_core.cli.root import cli


def test_help_lists_every_command_once() -> None:
    shown = CliRunner().invoke(bench, ["--help"]).output
    named = re.findall(r"^  ([a-z]+)  +[A-Z]", shown, re.MULTILINE)
    assert sorted(named) == bench.list_commands(click.Context(bench))
    assert "More:" not in shown and shown.index("Edits:") < shown.index("Words:")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["tabel", "RUN"], "no command 'tabel'; did you mean 'table'?"),
        (["sped", "--out", "RUN"], "unknown edit 'sped'; did you mean 'speed'?"),
        (["speed", "--out", "RUN", "--asr", "tiny"], "no recogniser 'tiny'"),
        (["attack", "--asr", "nobody"], "no recogniser 'nobody'; there are "),
    ],
)
def test_misspelt_names_are_told_before_anything_runs(
    args: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, ["bench", *args])
    assert done.exit_code and said in done.stderr
    assert not list(tmp_path.iterdir())
