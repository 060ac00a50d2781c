"""The commands ``stepedit pairs`` and ``stepedit pairs-settings``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stepedit_core.errors import counted

if TYPE_CHECKING:
    from stepedit_core.pairs import CorpusItem
    from stepedit_pairs.runner import RunTotals
    from stepedit_pairs.settings import RunSettings
    from stepedit_pairs.work import BlockReport

__all__ = ["pairs", "pairs_settings"]


def _named_values(given: tuple[str, ...], option: str) -> dict[str, str]:
    """Parse ``name=value`` texts of an option."""
    from stepedit_core.errors import StepeditError

    parsed = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise StepeditError(f"{option} takes name=value, got {text!r}")
        parsed[name.strip()] = value
    return parsed


def _delimiter(given: str | None) -> str | None:
    """Return the character between fields; a tab may be given by its name or its escape."""
    from stepedit_core.errors import StepeditError

    character = {"tab": "\t", "\\t": "\t"}.get(given or "", given)
    if character is not None and (len(character) != 1 or character in '"\r\n'):
        raise StepeditError(f"--delimiter takes one character or tab, got {given!r}")
    return character


@click.command(short_help="Build large-margin pairs from a corpus, resumable.")
@click.argument("edit")
@click.option(
    "--corpus",
    "corpora",
    required=True,
    multiple=True,
    help="Manifest (csv, tsv, jsonl), folder or dataset; several are read one after another.",
)
@click.option("--layout", help="Corpus reader; detected from the file names if not given.")
@click.option("--encoding", help="Encoding of a manifest, such as cp1252; found if not given.")
@click.option("--delimiter", help="Character between a manifest's fields; found if not given.")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the run.",
)
@click.option(
    "--workers", default=1, show_default=True, type=click.IntRange(1), help="Local processes."
)
@click.option("--ray", "ray_address", help="Ray cluster to use: an address, auto, or local.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Same seed, same rows."
)
@click.option("--set", "given", multiple=True, metavar="NAME=VALUE", help="Builder setting.")
@click.option("--builder", help="Plugin whose builder to use, where several bring one.")
@click.option("--margin", help="Margin scorer; the builder's own choice if not given.")
@click.option("--min-margin", type=click.FloatRange(1, 10), help="Reject pairs below (1-10).")
@click.option("--split", help="Only items of this split, such as train.")
@click.option("--where", multiple=True, metavar="NAME=VALUE", help="Only items with this label.")
@click.option(
    "--include", multiple=True, metavar="PATTERN", help="Only items whose id matches, such as a/*."
)
@click.option("--licence", help="Licence of recordings whose corpus states none.")
@click.option("--limit", type=click.IntRange(1), help="Only so many jobs, the first ones.")
@click.option("--sample", type=click.IntRange(1), help="Only so many jobs, drawn evenly.")
@click.option("--per-job", type=click.IntRange(1), help="Only so many pairs of each job, drawn.")
@click.option(
    "--block-size", type=click.IntRange(1), help="Jobs in a shard: 32, less with few jobs."
)
@click.option("--engine", help="Engine for codes and for cloning; none by default.")
@click.option(
    "--tokenizer",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Step-Audio-Tokenizer folder for codes, where no engine is given.",
)
@click.option("--device", default="auto", show_default=True, help="Device of the engine.")
def pairs(
    edit: str,
    corpora: tuple[str, ...],
    layout: str | None,
    encoding: str | None,
    delimiter: str | None,
    out: Path,
    workers: int,
    ray_address: str | None,
    seed: int,
    given: tuple[str, ...],
    builder: str | None,
    margin: str | None,
    min_margin: float | None,
    split: str | None,
    where: tuple[str, ...],
    include: tuple[str, ...],
    licence: str | None,
    limit: int | None,
    sample: int | None,
    per_job: int | None,
    block_size: int | None,
    engine: str | None,
    tokenizer: Path | None,
    device: str,
) -> None:
    """Build large-margin pairs for EDIT from a corpus.

    Writes Parquet shards with FLAC audio, a table of rejects, a dataset card and a report page
    into --out. Calling it again with the same settings goes on where it stopped; the rows depend
    on the settings alone, not on the workers. `stepedit pairs-settings EDIT` lists what --set
    takes.

    \b
    stepedit pairs speed --corpus speech.csv --out pairs/speed --workers 4
    stepedit pairs emotion --corpus ESD/ --layout esd --set mode=parallel --out pairs/emotion
    """  # noqa: D301 -- click reads the backspace as "keep these lines"
    from stepedit_core import __version__
    from stepedit_core.registry.corpora import find_reader
    from stepedit_core.registry.registry import get_registry
    from stepedit_pairs.corpora import configured_reader
    from stepedit_pairs.plan import wanted
    from stepedit_pairs.settings import RunSettings

    registry = get_registry()
    chosen = registry.pair_builder(registry.edit_class(edit), builder)
    readers = [
        configured_reader(find_reader(corpus, layout, registry), encoding, _delimiter(delimiter))
        for corpus in corpora
    ]
    settings = RunSettings(
        edit=edit,
        corpus=" + ".join(str(Path(corpus).resolve()) for corpus in corpora),
        layout=" + ".join(dict.fromkeys(reader.name for reader in readers)),
        encoding=encoding,
        delimiter=_delimiter(delimiter),
        seed=seed,
        options=_named_values(given, "--set"),
        builder=builder,
        builder_version=chosen.version,
        margin=margin or chosen.default_margin,
        min_margin=chosen.min_margin if min_margin is None else min_margin,
        split=split,
        where=_named_values(where, "--where"),
        licence=licence,
        include=include,
        limit=limit,
        sample=sample,
        per_job=per_job,
        block_size=block_size,
        engine=engine,
        tokenizer=None if tokenizer is None else str(tokenizer.resolve()),
        device=device,
        plugin_files=tuple(str(file) for file in registry.files),
        stepedit=__version__,
    )
    whole = (reader.items(Path(corpus)) for reader, corpus in zip(readers, corpora, strict=True))
    items = wanted(chain.from_iterable(whole), settings)
    totals = _run(out, settings, items, workers, ray_address)
    _summary(out, totals)


def _run(
    out: Path,
    settings: RunSettings,
    items: Iterator[CorpusItem],
    workers: int,
    ray_address: str | None,
) -> RunTotals:
    """Run with a progress bar: jobs, rate, time left, kept and rejected."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    from stepedit_pairs.plan import Plan
    from stepedit_pairs.runner import RunTotals, run_pairs

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[facts]}"),
    )
    shown = RunTotals()
    with Progress(*columns) as progress:
        task = progress.add_task(f"{settings.edit} pairs", total=None, facts="planning")
        begun = progress.get_time()
        fresh = RunTotals()

        def on_plan(plan: Plan, before: RunTotals) -> None:
            nonlocal shown
            shown = replace(before)
            progress.update(task, total=plan.jobs, completed=before.jobs, facts="")

        def on_block(report: BlockReport) -> None:
            shown.add(report)
            fresh.add(report)
            elapsed = max(progress.get_time() - begun, 1e-9)
            facts = (
                f"{shown.kept} kept, {shown.rejected} rejected, "
                f"{fresh.audio_seconds / elapsed:.0f} x real time"
            )
            progress.update(task, completed=shown.jobs, facts=facts)

        return run_pairs(
            out,
            settings,
            items,
            workers=workers,
            ray_address=ray_address,
            on_plan=on_plan,
            on_block=on_block,
            on_job=lambda: progress.advance(task),
        )


def _summary(out: Path, totals: RunTotals) -> None:
    """Write card and report, and say what there is and why pairs were rejected."""
    from stepedit_core.cli.root import STEP_FAILED, Failure
    from stepedit_core.errors import printable
    from stepedit_pairs.report import reject_counts, write_card, write_rejects, write_report

    write_card(out)
    table = write_rejects(out)
    page = write_report(out)
    hours = totals.audio_seconds / 3600
    shards = out / "shards"
    click.echo(
        printable(f"{counted(totals.kept, 'pair')} ({hours:.2f} h of source audio) in {shards}")
    )
    counts = reject_counts(out)
    for reason, count in islice(counts.items(), 20):
        click.echo(printable(f"rejected {count}: {reason}", 200))
    if totals.rejected:
        click.echo(printable(f"rejects: {table}"))
    click.echo(printable(f"report: {page}"))
    if not totals.kept:
        why = next(iter(counts), "no builder made one")
        raise Failure(f"{out}: no pair was kept ({why[:120]}); {table} lists all", STEP_FAILED)


@click.command("pairs-settings", short_help="List the settings of a pair builder.")
@click.argument("edit")
@click.option("--builder", help="Plugin whose builder to ask, where several bring one.")
def pairs_settings(edit: str, builder: str | None) -> None:
    """List the settings of EDIT's pair builder, and the margin scorers and corpus layouts."""
    from stepedit_core.registry.registry import get_registry

    registry = get_registry()
    chosen = registry.pair_builder(registry.edit_class(edit), builder)
    summary = (type(chosen).__doc__ or "").strip().split("\n")[0]
    click.echo(f"{type(chosen).__name__} version {chosen.version}: {summary}")
    click.echo(f"least margin {chosen.min_margin:g}, from {chosen.default_margin or 'the builder'}")
    for name, text in chosen.options.items():
        click.echo(f"  --set {name}=...  {text}")
    scorers = registry.named("stepedit_margin_scorers", lambda scorer: str(scorer.name))
    for name, scorer in scorers.items():
        click.echo(f"  --margin {name}  {scorer.validation}")
    layouts = registry.named("stepedit_corpora", lambda reader: str(reader.name))
    click.echo(f"  --layout  {', '.join(layouts)}")
