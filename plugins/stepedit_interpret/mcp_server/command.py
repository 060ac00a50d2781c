"""The command ``stepedit mcp``."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import click

from stepedit_core import StepeditError, get_registry

__all__ = ["mcp"]

_HERE = ("127.0.0.1", "localhost", "::1")


@click.command("mcp", short_help="Serve edits as tools of the Model Context Protocol.")
@click.option(
    "--root",
    required=True,
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="The folder whose files may be read and written; nothing else is.",
)
@click.option(
    "--transport",
    type=click.Choice(["stdio", "http"]),
    default="stdio",
    show_default=True,
    help="Standard input and output, or streamable HTTP at /mcp.",
)
@click.option("--host", default="127.0.0.1", show_default=True, type=click.Choice(_HERE))
@click.option("--port", default=8765, show_default=True, type=click.IntRange(1, 65535))
@click.option("--engine", metavar="NAME_OR_PATH", help="Engine of the llm route.")
@click.option("--interpreter", default="grammar", show_default=True, help="Who reads sentences.")
def mcp(
    root: Path, transport: str, host: str, port: int, engine: str | None, interpreter: str
) -> None:
    """Serve list_edits, align, interpret, edit, undo and measure to an MCP client.

    HTTP is served to this machine alone; put a proxy that knows its users in front for others.

    Example: stepedit mcp --root recordings
    """
    if find_spec("mcp") is None:
        raise click.UsageError("the package mcp is not installed: pip install 'stepedit[mcp]'")
    from stepedit_interpret.mcp_server.folder import Folder
    from stepedit_interpret.mcp_server.server import make_server

    _check_interpreter(interpreter)
    folder = Folder(root)
    server = make_server(folder, interpreter, engine)
    try:
        if transport == "stdio":
            server.run("stdio")
        else:
            click.echo(f"serving {folder.root} at http://{host}:{port}/mcp", err=True)
            server.run("streamable-http", host=host, port=port)
    finally:
        folder.close()


def _check_interpreter(spec: str) -> None:
    """Refuse an interpreter that no plugin brings before a client asks for it.

    Raises:
        StepeditError: naming those that there are.
    """
    known = get_registry().named("stepedit_interpreters", lambda kind: str(kind.name))
    name = spec.partition(":")[0]
    if name not in known:
        raise StepeditError(f"no interpreter {name!r}; there is {', '.join(known) or 'none'}")
