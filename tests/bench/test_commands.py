"""The command ``stepedit bench`` as its help shows it."""

from __future__ import annotations

import io
import re
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from rich.console import Console
from stepedit_bench import commands
from stepedit_bench.commands import bench, progress
from stepedit_bench.runner import BenchConfig

from stepedit_core.cli.root import Failure, cli


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


def test_a_run_in_which_everything_failed_says_so() -> None:
    failed = {"condition": "edit", "status": "failed", "problem": "no time"}
    source = {"condition": "source", "status": "ok"}
    with pytest.raises(Failure, match="RUN: all 2 edits failed: no time") as caught:
        commands._refuse_nothing([source, failed, failed], "RUN")
    assert caught.value.code == 1
    commands._refuse_nothing([source, failed, {**failed, "status": "ok"}], "RUN")
    commands._refuse_nothing([source], "RUN")


@pytest.mark.parametrize("windows", ["moving", "one"])
def test_the_windows_of_dnsmos_are_chosen(
    windows: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[BenchConfig] = []
    monkeypatch.setattr(commands, "_run", lambda config, *others: asked.append(config))
    more = [] if windows == "moving" else ["--dnsmos", windows]
    done = CliRunner().invoke(bench, ["run", "speed", "--out", str(tmp_path), *more])
    assert done.exit_code == 0, done.output
    assert asked[0].measures.dnsmos == windows


def test_a_log_file_is_told_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    log, now = io.StringIO(), [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with progress("figures", Console(file=log)) as show:
        for done in range(4, 9):  # an earlier run had finished 4
            show(done, 10)
            now[0] += 20.0
    assert log.getvalue().splitlines() == [
        "figures: 6 of 10, 1 min left",
        "figures: 8 of 10, 1 min left",
    ]
