"""Marks that need a library: C2PA manifests and a watermark; hook implementations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from stepedit_core import hookimpl

if TYPE_CHECKING:
    import click

    from stepedit_core import Mark

__all__ = ["stepedit_commands", "stepedit_marks"]


@hookimpl
def stepedit_marks() -> Sequence[type[Mark]]:
    """Return C2PA and Perth."""
    from stepedit_marks.content_credentials import ContentCredentials
    from stepedit_marks.watermark import Watermark

    return [ContentCredentials, Watermark]


@hookimpl
def stepedit_commands(cli: click.Group) -> None:
    """Add ``stepedit watermark``, which measures detection."""
    from stepedit_marks.commands import watermark

    cli.add_command(watermark)
