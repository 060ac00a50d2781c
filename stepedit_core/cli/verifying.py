"""``stepedit verify``: read and check the marks of a file."""

from __future__ import annotations

from pathlib import Path

import click

from stepedit_core.cli.console import echo_json, echo_line

__all__ = ["verify"]


@click.command(short_help="Say what a file says about itself: sidecar, C2PA, watermark.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(file: Path, as_json: bool) -> None:
    """Read and check the marks of FILE: sidecar, C2PA manifest, watermark.

    A mark that is absent proves nothing: each can be taken away. Exit code 1 where one is there
    and does not fit the file.

    Example: stepedit verify out.wav
    """
    from stepedit_core.marks.marking import verify as look

    found = look(file)
    if as_json:
        echo_json({"file": str(file), "findings": [one.to_data() for one in found]})
    else:
        for one in found:
            echo_line(f"{one.mark}: {one.state}: {one.says}")
        if all(one.state in ("absent", "unknown") for one in found):
            echo_line(f"{file} says nothing about itself")
    if any(one.state == "broken" for one in found):
        raise click.exceptions.Exit(1)
