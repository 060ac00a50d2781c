"""``stepedit bench table``: the rows of a run by any of their fields, as a Markdown table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click
import numpy as np

from stepedit_bench.store import read_results
from stepedit_bench.summary import percent, share
from stepedit_core.errors import StepeditError

__all__ = ["table", "table_lines"]

Row = Mapping[str, Any]
_RATINGS = ("dnsmos_ovrl", "dnsmos_sig", "dnsmos_bak")


def field_of(row: Row, path: str) -> str:
    """Return a field of a row as text, such as ``request.backend``; "-" where there is none."""
    value: Any = row
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return "-" if value is None else str(value)


def table_lines(rows: Iterable[Row], by: Sequence[str], seed: int = 0) -> list[str]:
    """Return the lines of a table: what was heard, how it is rated, and the verdicts.

    The word error is pooled: errors over words of all rows. Sources are one line for each value
    of the fields that do not belong to the request.

    Args:
        rows: of ``results.jsonl``.
        by: fields of a row that split the table, with dots between keys.
        seed: of the intervals of joint success (bootstrap; Wilson where all cases agree).

    Raises:
        StepeditError: if no row has a field.
    """
    rows = list(rows)
    for path in by:
        if all(field_of(row, path) == "-" for row in rows):
            raise StepeditError(f"--by {path}: no row of the run has this field")
    groups: dict[tuple[str, ...], dict[str, Row]] = {}
    for row in rows:
        audio = str(row["condition"])
        is_source = audio == "source"
        fields = ("-" if is_source and p.startswith("request.") else field_of(row, p) for p in by)
        # Requests share their sources: the same recording counts once.
        name = str(row.get("audio_sha256")) if is_source else str(row["case"])
        groups.setdefault((audio, *fields), {})[name] = row
    heads = ["audio", *by, "n", "word error, %", *_RATINGS, "speaker"]
    heads += ["reached, %", "preserved, %", "joint success, % [95 % interval]"]
    lines = ["| " + " | ".join(heads) + " |", "| --- " * len(heads) + "|"]
    order = sorted(groups, key=lambda key: (key[0] != "source", key))
    return lines + [_line(key, list(groups[key].values()), seed) for key in order]


def _line(key: tuple[str, ...], rows: Sequence[Row], seed: int) -> str:
    """Return one line: the fields, means over the rows that have a figure, and shares."""
    kept: list[Mapping[str, Any]] = [row.get("kept") or {} for row in rows]
    texts = [one["text"] for one in kept if one.get("text")]
    words = sum(text["length"] for text in texts)
    error = f"{100 * sum(text['errors'] for text in texts) / words:.1f}" if words else ""
    cells = [*key, str(len(rows)), error]
    for name in (*_RATINGS, "speaker_similarity"):
        known = [float(one[name]) for one in kept if one.get(name) is not None]
        cells.append(f"{np.mean(known):.2f}" if known else "")
    if key[0] == "source":
        return "| " + " | ".join([*cells, "", "", ""]) + " |"
    for name in ("reached", "preserved", "joint"):
        found = share((row.get(name) for row in rows), seed)
        both = percent(found)
        cells.append(both if name == "joint" else both.split(" ")[0])
    return "| " + " | ".join(cells) + " |"


@click.command("table", short_help="Print the rows of runs as a Markdown table.")
@click.argument("folders", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False))
@click.option("--by", multiple=True, default=["class"], show_default=True, metavar="FIELD")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def table(folders: tuple[str, ...], by: tuple[str, ...], seed: int) -> None:
    """Print the rows of the runs in FOLDERS as one Markdown table, split by fields.

    Example: stepedit bench table OUT --by request.backend --by class
    """
    rows = [row for folder in folders for row in read_results(folder)]
    for line in table_lines(rows, by, seed):
        click.echo(line)
