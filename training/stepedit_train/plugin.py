"""Hook implementations: the training command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stepedit_core.hookspecs import hookimpl

if TYPE_CHECKING:
    import click


@hookimpl
def stepedit_commands(cli: click.Group) -> None:
    """Add ``stepedit train``."""
    from stepedit_train.cli import train

    cli.add_command(train)
