"""``stepedit serve``: edits, sessions and speech over HTTP; hook implementations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stepedit_core import hookimpl

if TYPE_CHECKING:
    import click


@hookimpl
def stepedit_commands(cli: click.Group) -> None:
    """Add ``stepedit serve``."""
    from stepedit_serve.command import serve

    cli.add_command(serve)
