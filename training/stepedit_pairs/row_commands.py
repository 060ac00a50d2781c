"""Commands on pairs that are built and on what rates them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stepedit_core.errors import counted

if TYPE_CHECKING:
    from stepedit_pairs.preference import PreferSettings

__all__ = ["pairs_encode", "pairs_export", "pairs_import", "pairs_prefer", "pairs_validate"]


@click.command("pairs-prefer", short_help="Make preference pairs from an engine's candidates.")
@click.argument("run", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to fill.")
@click.option("--engine", required=True, help="Engine that makes the candidates.")
@click.option("--device", default="auto", show_default=True, help="Device of the engine.")
@click.option("--candidates", default=20, show_default=True, type=click.IntRange(2, 100))
@click.option("--judge", help="Judge that scores 1-10; without one, people score 1-5.")
@click.option("--min-gap", type=float, help="Best minus worst must exceed it (3, or 8 by judge).")
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Same seed, same candidates.",
)
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
    from stepedit_core.registry.registry import get_registry
    from stepedit_core.storage.locking import sole_writer
    from stepedit_core.storage.pair_rows import finished_shards
    from stepedit_pairs.judging import judge_named
    from stepedit_pairs.preference import GAPS, PreferSettings, open_run

    finished_shards(run)
    if judge is not None:  # candidates take hours
        judge_named(get_registry(), judge)
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

    from stepedit_core.config import EngineConfig, GenerationPolicy
    from stepedit_core.registry.registry import load_engine
    from stepedit_core.storage.pair_rows import shard_paths
    from stepedit_pairs.preference import generate

    # A candidate is one draw: the best of several each would leave little to prefer.
    alone = GenerationPolicy(best_of=1)
    config = EngineConfig(name_or_path=settings.engine, device=device, generation=alone)
    engine = load_engine(config)
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
        click.echo(
            f"{counted(chosen.waiting, 'row waits', 'rows wait')} for "
            f"scores: fill in {sheet}, then call this again"
        )
    write_card(out)
    write_rejects(out)
    click.echo(
        f"{counted(chosen.kept, 'preference pair')} kept, "
        f"{counted(chosen.rejected, 'row')} rejected"
    )
    click.echo(printable(f"report: {write_report(out)}"))
    if not chosen.kept and not chosen.waiting:
        why = (
            f"{counted(chosen.rejected, 'row is', 'rows are')} rejected; "
            f"{out / 'rejects.csv'} says why"
        )
        raise Failure(f"{out}: no preference pair was kept ({why})", STEP_FAILED)


@click.command("pairs-encode", short_help="Give the pairs of a run codes, resumable.")
@click.argument(
    "runs", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, file_okay=False)
)
@click.option(
    "--tokenizer",
    required=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Step-Audio-Tokenizer folder.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for a copy with codes, with one run; in place if not given.",
)
@click.option("--device", default="auto", show_default=True, help="Device of the tokenizer.")
def pairs_encode(runs: tuple[Path, ...], tokenizer: Path, out: Path | None, device: str) -> None:
    """Give every row of RUNS, folders of `stepedit pairs`, the codes of an audio tokenizer.

    Shards that hold this tokenizer's codes already are left alone, so calling it again goes on
    where it stopped, and another tokenizer's codes are replaced. A row that cannot be encoded
    is listed in encode-failures.jsonl; the others are encoded, and the command ends with 1.
    """
    from time import monotonic

    from stepedit_core.cli.root import STEP_FAILED, Failure
    from stepedit_core.errors import StepeditError, printable
    from stepedit_core.models.tokenizer.identity import tokenizer_hash
    from stepedit_pairs.reencoding import FAILURES, encode_run
    from stepedit_pairs.report import write_card
    from stepedit_pairs.tokenizing import TokenizerEngine

    if out is not None and len(runs) > 1:
        raise StepeditError("--out takes one run at a time")
    fingerprint = tokenizer_hash(tokenizer)
    failed: dict[Path, str] = {}
    encoder = TokenizerEngine(tokenizer, device)
    for folder in runs:
        begun = monotonic()
        done = encode_run(folder, encoder, fingerprint, out=out)
        if not any(name.endswith(".parquet") for name in done.failed):
            write_card(out or folder)
        rate = done.seconds / max(monotonic() - begun, 1e-9)
        said = (
            f"{folder}: {done.fresh} of {counted(done.shards, 'shard')} "
            f"encoded, {counted(done.rows, 'row')}, "
            f"{len(done.failed)} failed, {rate:.0f} x real time (tokenizer {fingerprint})"
        )
        click.echo(printable(said))
        if done.failed:
            name, why = next(iter(done.failed.items()))
            list_of = (out or folder) / FAILURES
            failed[folder] = f"{len(done.failed)} without codes ({list_of}), first {name}: {why}"
    if failed:
        raise Failure(
            "; ".join(f"{folder}: {text}" for folder, text in failed.items()), STEP_FAILED
        )


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

    click.echo(printable(f"{counted(export_jsonl(folder, file, as_ids=ids), 'row')} in {file}"))


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
    click.echo(printable(f"{counted(count, 'pair')} in {folder / 'shards'}"))
    click.echo(printable(f"report: {write_report(folder)}"))


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
