"""The command ``stepedit pairs-validate``."""

from __future__ import annotations

import json
from pathlib import Path

import click

__all__ = ["pairs_validate"]


@click.command("pairs-validate", short_help="Validate a margin scorer on a parallel corpus.")
@click.argument("edit")
@click.option("--corpus", required=True, help="Parallel corpus: manifest, folder or dataset.")
@click.option("--layout", help="Corpus reader; detected from the file names if not given.")
@click.option("--margin", default="acoustic", show_default=True, help="Margin scorer.")
@click.option("--set-name", "sets", multiple=True, help="Only this corpus of a manifest.")
@click.option("--groups", type=click.IntRange(1), help="Only so many parallel groups.")
@click.option("--threshold", default=6.0, show_default=True, help="Margin that keeps a pair.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def pairs_validate(
    edit: str,
    corpus: str,
    layout: str | None,
    margin: str,
    sets: tuple[str, ...],
    groups: int | None,
    threshold: float,
    as_json: bool,
) -> None:
    """Measure how well a margin scorer tells labels of EDIT (emotion, style) from each other.

    For each label, margins of neutral-to-label pairs are set against those of pairs from
    neutral to the other labels: the area under the ROC curve, and the shares that would be kept.
    """
    from dataclasses import asdict

    from stepedit_core.errors import StepeditError, printable
    from stepedit_core.registry.corpora import find_reader
    from stepedit_core.registry.registry import get_registry
    from stepedit_pairs.validate import validate
    from stepedit_pairs.work import margin_scorer

    registry = get_registry()
    scorer = margin_scorer(registry, margin)
    if scorer is None:
        raise StepeditError("give a margin scorer")
    items = find_reader(corpus, layout, registry).items(Path(corpus))
    wanted = (item for item in items if not sets or item.corpus in sets)
    rows = validate(scorer, registry.edit_class(edit), wanted, threshold=threshold, groups=groups)
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows], indent=2))
        return
    click.echo("label       pairs  others   AUC  AUC/neutral  mean  kept  kept others")
    for row in rows:
        neutral = "-" if row.neutral_auc is None else f"{row.neutral_auc:.2f}"
        click.echo(
            f"{printable(row.label):10} {row.same:6} {row.other:7} {row.auc:5.2f} {neutral:>12} "
            f"{row.mean:5.1f} {row.kept:5.0%} {row.kept_other:12.0%}"
        )
