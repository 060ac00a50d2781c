"""Empty paths on the command line, as of a shell's variable that is not set."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from stepedit_core.cli.paths import NamedPath, refuse_empty_paths
from stepedit_core.cli.root import cli
from tests.cli.calls import call, refused

EMPTY = "it is empty; name a file or a folder"


@pytest.mark.parametrize(
    "call_",
    [
        ["align", ""],
        ["edit", "", "-o", "o.wav", "-e", "gain"],
        ["edit", "i.wav", "-o", "o.wav", "-e", "gain", "--report", ""],
        ["edit", "i.wav", "-o", "o.wav", "--chain", ""],
        ["demo", "--out", " "],
        ["new", "vocal_fry", "--into", ""],
    ],
)
def test_an_empty_path_names_nothing(call_: list[str], tmp_path: Path, toys: object) -> None:
    assert EMPTY in refused(call(*call_))


def test_settings_of_paths_are_kept(tmp_path: Path) -> None:
    @click.command()
    @click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
    def show(folder: Path) -> None:
        click.echo(type(folder).__name__)

    group = click.Group(commands={"show": show})
    refuse_empty_paths(group)
    refuse_empty_paths(group)
    runner = CliRunner()
    assert runner.invoke(group, ["show", str(tmp_path)]).output == "PosixPath\n"
    assert "does not exist" in runner.invoke(group, ["show", str(tmp_path / "none")]).output
    (tmp_path / "file").touch()
    assert "is a file" in runner.invoke(group, ["show", str(tmp_path / "file")]).output
    assert EMPTY in runner.invoke(group, ["show", ""]).output


def test_paths_of_all_commands_are_named() -> None:
    context = click.Context(cli)
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        kinds = [param.type for param in command.params if isinstance(param.type, click.Path)]
        assert all(isinstance(kind, NamedPath) for kind in kinds), name
