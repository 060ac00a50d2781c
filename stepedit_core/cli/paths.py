"""Paths of the command line: an empty one, as of a shell's variable that is not set, names nothing.

``pathlib`` takes it for the folder that one is in: files would be written there without a word.
"""

from __future__ import annotations

from typing import Any

import click

from stepedit_core.cli.numbers import parameters_of

__all__ = ["NamedPath", "refuse_empty_paths"]


class NamedPath(click.Path):
    """A path that is not empty."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Convert a text; fail where it is empty."""
        if isinstance(value, str) and not value.strip():
            self.fail("it is empty; name a file or a folder", param, ctx)
        return super().convert(value, param, ctx)


def _named(kind: click.Path) -> NamedPath:
    """Return a path type with the same settings that refuses an empty path."""
    return NamedPath(
        exists=kind.exists,
        file_okay=kind.file_okay,
        dir_okay=kind.dir_okay,
        writable=kind.writable,
        readable=kind.readable,
        resolve_path=kind.resolve_path,
        allow_dash=kind.allow_dash,
        path_type=kind.type,
        executable=kind.executable,
    )


def refuse_empty_paths(command: click.Command) -> None:
    """Let no path of a command, or of those below it, be empty."""
    for parameter in parameters_of(command):
        if isinstance(parameter.type, click.Path) and not isinstance(parameter.type, NamedPath):
            parameter.type = _named(parameter.type)
