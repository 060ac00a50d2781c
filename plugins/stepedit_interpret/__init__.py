"""A sentence becomes a chain; edits as tools of MCP: hook implementations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from stepedit_core import hookimpl

if TYPE_CHECKING:
    import click

    from stepedit_core import Interpreter


@hookimpl
def stepedit_interpreters() -> Sequence[type[Interpreter]]:
    """Bring the offline interpreter, and the one that asks a language model."""
    from stepedit_interpret.grammar import Grammar
    from stepedit_interpret.model import Model

    return [Grammar, Model]


@hookimpl
def stepedit_commands(cli: click.Group) -> None:
    """Add ``stepedit mcp``."""
    from stepedit_interpret.mcp_server.command import mcp

    cli.add_command(mcp)
