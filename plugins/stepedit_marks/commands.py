"""``stepedit watermark``: measure how well the watermark is found after what files go through."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["watermark"]


@click.group(short_help="Measure the detection of the watermark.")
def watermark() -> None:
    """Measure the detection of the Perth watermark."""


@watermark.command(short_help="Mark recordings, spoil them, look for the mark.")
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option("--n", "count", default=40, show_default=True, type=click.IntRange(1, 10_000))
def measure(folder: Path | None, count: int) -> None:
    """Mark recordings, spoil them, and look for the mark; the packaged ones or FOLDER's.

    For each condition: how many marked ones are found, how many plain ones are taken for marked,
    where the whole is marked and where one second of it is.
    """
    from stepedit_marks.detection import CONDITIONS, detection_rows, recordings

    rows = detection_rows(recordings(folder, count))
    click.echo("condition | whole marked, found | one second marked, found | plain, false alarms")
    for name in CONDITIONS:
        mine = [row for row in rows if row["condition"] == name]
        parts = []
        for kind in ("whole", "second", "plain"):
            hits = [bool(row["found"]) for row in mine if row["kind"] == kind]
            parts.append(f"{sum(hits)} of {len(hits)}")
        click.echo(" | ".join([name, *parts]))
    snr = [row["snr_db"] for row in rows if row["snr_db"] is not None]
    if snr:
        click.echo(f"speech over mark: {sum(snr) / len(snr):.1f} dB in the mean")
