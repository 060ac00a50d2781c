"""The command ``stepedit pairs-prefer``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from stepedit_pairs.preference import PreferSettings

__all__ = ["pairs_prefer"]


@click.command("pairs-prefer", short_help="Make preference pairs from an engine's candidates.")
@click.argument("run", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to fill.")
@click.option("--engine", required=True, help="Engine that makes the candidates.")
@click.option("--device", default="auto", show_default=True, help="Device of the engine.")
@click.option("--candidates", default=20, show_default=True, type=click.IntRange(2, 100))
@click.option("--judge", help="Judge that scores 1-10; without one, people score 1-5.")
@click.option("--min-gap", type=float, help="Best minus worst must exceed it (3, or 8 by judge).")
@click.option("--seed", default=0, show_default=True, help="Same seed, same candidates.")
@click.option("--limit", type=click.IntRange(1), help="Only so many rows of each shard.")
def pairs_prefer(
    run: Path,
    out: Path,
    engine: str,
    device: str,
    candidates: int,
    judge: str | None,
    min_gap: float | None,
    seed: int,
    limit: int | None,
) -> None:
    """Draw candidates for the pairs in RUN, and keep the best against the worst.

    Without a judge, scores.csv and WAVs are written into --out; fill in 1 to 5 points and call
    the same command again. A killed run goes on where it stopped.
    """
    from stepedit_core.locking import sole_writer
    from stepedit_pairs.preference import GAPS, PreferSettings, open_run

    settings = PreferSettings(
        run=str(run.resolve()),
        engine=engine,
        judge=judge,
        candidates=candidates,
        gap=GAPS["judge" if judge else "people"] if min_gap is None else min_gap,
        seed=seed,
        limit=limit,
    )
    out.mkdir(parents=True, exist_ok=True)
    with sole_writer(out):
        open_run(out, settings)
        _generate(out, settings, device)
        _score(out, settings)


def _generate(out: Path, settings: PreferSettings, device: str) -> None:
    """Make the candidates that are missing, with a progress bar over shards."""
    from rich.progress import Progress

    from stepedit_core.config import EngineConfig
    from stepedit_core.pair_rows import shard_paths
    from stepedit_core.registry.registry import load_engine
    from stepedit_pairs.preference import generate

    engine = load_engine(EngineConfig(name_or_path=settings.engine, device=device))
    with Progress() as progress:
        task = progress.add_task("candidates", total=len(shard_paths(Path(settings.run))))
        for _ in generate(out, settings, engine):
            progress.advance(task)


def _score(out: Path, settings: PreferSettings) -> None:
    """Get the scores, write the pairs that they decide, and say what there is."""
    from stepedit_core.cli.root import STEP_FAILED, Failure
    from stepedit_core.errors import printable
    from stepedit_core.registry.registry import get_registry
    from stepedit_pairs.judging import judge_named
    from stepedit_pairs.preference import choose
    from stepedit_pairs.report import write_card, write_rejects, write_report
    from stepedit_pairs.scoring_sheet import judged, read_sheet, write_sheet

    if settings.judge is not None:
        scored = judged(out, settings, judge_named(get_registry(), settings.judge))
    else:
        sheet = write_sheet(out, settings)
        scored = read_sheet(out, settings)
    chosen = choose(out, settings, scored)
    if settings.judge is None and chosen.waiting:
        click.echo(f"{chosen.waiting} rows wait for scores: fill in {sheet}, then call this again")
    write_card(out)
    write_rejects(out)
    click.echo(f"{chosen.kept} preference pairs kept, {chosen.rejected} rows rejected")
    click.echo(printable(f"report: {write_report(out)}"))
    if not chosen.kept and not chosen.waiting:
        why = f"{chosen.rejected} rows are rejected; {out / 'rejects.csv'} says why"
        raise Failure(f"{out}: no preference pair was kept ({why})", STEP_FAILED)
