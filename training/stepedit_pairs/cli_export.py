"""The commands ``stepedit pairs-export`` and ``stepedit pairs-import``."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["pairs_export", "pairs_import"]


@click.command("pairs-export", short_help="Write pairs as the public training JSONL.")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--ids", is_flag=True, help="Codes as vocabulary ids instead of <audio_N> marks.")
def pairs_export(folder: Path, file: Path, ids: bool) -> None:
    """Write the pairs in FOLDER as JSON lines that Step-Audio-EditX's training code reads.

    Audio goes into a folder beside FILE.
    """
    from stepedit_core.errors import printable
    from stepedit_pairs.jsonl import export_jsonl

    click.echo(printable(f"{export_jsonl(folder, file, as_ids=ids)} rows in {file}"))


@click.command("pairs-import", short_help="Read pairs from the public training JSONL.")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def pairs_import(file: Path, folder: Path) -> None:
    """Read JSON lines of Step-Audio-EditX's training data into FOLDER, with card and report."""
    from stepedit_core.errors import printable
    from stepedit_pairs.jsonl import import_jsonl
    from stepedit_pairs.report import write_card, write_report

    count = import_jsonl(file, folder)
    write_card(folder)
    click.echo(printable(f"{count} pairs in {folder / 'shards'}"))
    click.echo(printable(f"report: {write_report(folder)}"))
