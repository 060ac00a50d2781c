"""The report page of a run: counts, histograms, rejects and players, in one file."""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from stepedit_core.atomic import write_atomically
from stepedit_core.pairs import MAX_MARGIN, MIN_MARGIN
from stepedit_core.storage.pair_rows import read_shard
from stepedit_core.storage.tables import plain_cell
from stepedit_pairs.card import write_card
from stepedit_pairs.settings import RunSettings
from stepedit_pairs.summary import RunSummary, reject_counts, summarise
from stepedit_pairs.work import read_rejects

__all__ = ["reject_counts", "write_card", "write_rejects", "write_report"]

PLAYED = 8
"""Pairs with players on the page."""
_PLAYED_SECONDS = 20.0


def write_report(out: Path, *, seed: int = 0) -> Path:
    """Write ``report.html`` into a run's folder, with everything that it needs inside.

    Args:
        out: the run's folder.
        seed: draws the pairs that can be played.
    """
    settings, summary = RunSettings.load(out), summarise(out)
    source, target = summary.hours()
    facts = {
        "pairs": f"{summary.pairs}",
        "rejected": f"{sum(summary.rejects.values())}",
        "source": f"{source:.2f} h",
        "target": f"{target:.2f} h",
        "mean margin": f"{np.mean(summary.margins):.2f}" if summary.margins else "none",
        "speakers": f"{len(set(summary.counts['speaker']) - {'unknown'})}",
    }
    ratios = [after / before for before, after in summary.seconds if before]
    page = Template(files("stepedit_pairs").joinpath("report.html").read_text(encoding="utf-8"))
    text = page.substitute(
        title=escape(f"{settings.edit} pairs"),
        intro=escape(
            f"stepedit {settings.stepedit}, builder version {settings.builder_version}, "
            f"corpus layout {settings.layout}, seed {settings.seed}, margins from "
            f"{settings.margin or 'the builder'}, kept from {settings.min_margin:g}"
        ),
        facts="".join(f"<div><b>{escape(value)}</b>{name}</div>" for name, value in facts.items()),
        margins=_histogram(summary.margins, (MIN_MARGIN, MAX_MARGIN), "margin", bins=18),
        durations=_histogram([before for before, _ in summary.seconds], None, "source, s")
        + _histogram(ratios, None, "target over source duration"),
        rejects=_table(("reason", "count"), summary.rejects.items()),
        edits=_table(("edit", "pairs"), summary.counts["edit_json"].most_common(60)),
        speakers=_table(("corpus", "pairs"), summary.counts["corpus"].most_common(40))
        + _table(("speaker", "pairs"), summary.counts["speaker"].most_common(40)),
        players=_players(summary, seed),
    )
    path = out / "report.html"
    write_atomically(path, text)
    return path


def write_rejects(out: Path) -> Path:
    """Write the rejects of a run as one table, ``rejects.csv``: reason, recordings, details.

    A text that a spreadsheet would take for a formula gets an apostrophe in front.
    """
    buffer = io.StringIO()
    table = csv.writer(buffer, lineterminator="\n")
    table.writerow(["reason", "key", "paths", "details"])
    for reject in read_rejects(out):
        details = json.dumps(reject["details"], ensure_ascii=False)
        paths = " ".join(map(str, reject["paths"]))
        cells = (reject["reason"], reject["key"], paths, details)
        table.writerow([plain_cell(cell) for cell in cells])
    path = out / "rejects.csv"
    write_atomically(path, buffer.getvalue())
    return path


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table, or a word where there is nothing."""
    body = "".join(
        f"<tr><td><code>{escape(str(name))}</code></td><td class=n>{count}</td></tr>"
        for name, count in rows
    )
    heads = "".join(f"<th>{escape(name)}</th>" for name in head)
    return f"<table><tr>{heads}</tr>{body}</table>" if body else "<p>none</p>"


def _histogram(
    values: Sequence[float], span: tuple[float, float] | None, label: str, *, bins: int = 24
) -> str:
    """Return a histogram as an SVG picture."""
    if not len(values):
        return "<p>none</p>"
    counts, edges = np.histogram(values, bins=bins, range=span)
    width, height, tallest = 640 / bins, 120.0, max(int(counts.max()), 1)
    bars = "".join(
        f'<rect x="{i * width + 1:.1f}" y="{height - count / tallest * height + 14:.1f}" '
        f'width="{width - 2:.1f}" height="{count / tallest * height:.1f}">'
        f"<title>{edges[i]:.2f} to {edges[i + 1]:.2f}: {count}</title></rect>"
        for i, count in enumerate(counts)
    )
    marks = (
        f'<text x="0" y="150">{edges[0]:.2f}</text>'
        f'<text x="640" y="150" text-anchor="end">{edges[-1]:.2f}</text>'
        f'<text x="320" y="150" text-anchor="middle">{escape(label)}, highest bar {tallest}</text>'
    )
    return f'<svg viewBox="0 0 640 156" role="img">{bars}{marks}</svg>'


def _players(summary: RunSummary, seed: int) -> str:
    """Return players for pairs drawn at random; long recordings are left to the shards."""
    short = [
        place
        for place, seconds in zip(summary.places, summary.seconds, strict=True)
        if max(seconds) <= _PLAYED_SECONDS
    ]
    chosen = np.random.default_rng(seed).permutation(len(short))[:PLAYED]
    shown = [_pair(*short[int(place)]) for place in sorted(chosen)]
    return "".join(shown) or "<p>none</p>"


def _pair(shard: Path, number: int) -> str:
    columns = ["id", "edit_json", "margin", "source_text", "target_text", "details"]
    row = read_shard(shard, [*columns, "source_audio", "target_audio", "rejected_audio"])[number]
    sounds = "".join(
        f"<td>{role}<br>{_player(row[f'{role}_audio'])}</td>"
        for role in ("source", "target", "rejected")
        if row[f"{role}_audio"] is not None
    )
    words = escape(row["source_text"] or "")
    if row["target_text"] != row["source_text"]:
        words += f" &rarr; {escape(row['target_text'] or '')}"
    margin = "not measured" if row["margin"] is None else f"{row['margin']:.2f}"
    return (
        f'<div class="pair"><code>{escape(row["edit_json"])}</code> margin {margin}'
        f"<table><tr>{sounds}</tr></table>{words}<br><small><code>{escape(row['id'] or '')} "
        f"{escape(row['details'] or '')}</code></small></div>"
    )


def _player(audio: dict[str, Any]) -> str:
    sound = base64.b64encode(audio["bytes"]).decode()
    return f'<audio controls preload="none" src="data:audio/flac;base64,{sound}"></audio>'
