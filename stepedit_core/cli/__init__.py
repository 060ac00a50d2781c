"""The ``stepedit`` command line; each module here is one group of commands."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the command line, as the console script does."""
    from stepedit_core.cli.root import cli

    cli()
