"""``stepedit bench figures``."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stepedit_core.errors import StepeditError

if TYPE_CHECKING:
    from stepedit_bench.figures.running import Run, Settings

__all__ = ["figures"]


@click.command("figures", short_help="Measure every row of the model card for an engine.")
@click.option("--engine", default="embedded", show_default=True, help="Name, folder, or dsp.")
@click.option(
    "--data",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with the corpora's manifests.",
)
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path))
@click.option("--rows", help="Rows to measure, separated by commas; all by default.")
@click.option(
    "--n",
    "count",
    type=click.IntRange(2),
    default=40,
    show_default=True,
    help="Utterances of each kind, real and synthetic.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--batch", type=click.IntRange(1), default=8, show_default=True)
@click.option("--quick", is_flag=True, help="One recogniser, no WORLD, no pictures, no timing.")
@click.option("--finished", is_flag=True, help="Report what is finished; measure nothing.")
@click.option(
    "--install", is_flag=True, help="Copy figures.json and routes.json into the engine's folder."
)
def figures(
    engine: str,
    data: Path,
    out: Path,
    rows: str | None,
    count: int,
    seed: int,
    batch: int,
    quick: bool,
    finished: bool,
    install: bool,
) -> None:
    """Measure an engine on held-out speakers: real and synthetic speech apart.

    Originals, signal processing and WORLD copies are measured once for all engines. A killed
    run goes on with the same command. ``--engine dsp`` measures these baselines alone.
    """
    from stepedit_bench.figures.families import ROWS
    from stepedit_bench.figures.running import Settings

    if install and not Path(engine).is_dir():
        raise StepeditError(f"--install: --engine {engine} is not a folder to copy into")
    chosen = tuple(name.strip() for name in rows.split(",")) if rows else tuple(ROWS)
    settings = Settings(data, out, chosen, count, seed, batch, quick, finished)
    settings.check()
    page = _measure(settings, engine)
    if install:
        for name in ("figures.json", "routes.json"):
            shutil.copyfile(page.parent / name, Path(engine) / name)
    click.echo(str(page))


def _measure(settings: Settings, engine: str) -> Path:
    """Measure with a progress bar and write the reports."""
    import torch
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from stepedit_bench.commands import load_choice
    from stepedit_bench.figures.pictures import draw_rows
    from stepedit_bench.figures.reporting import write_figures
    from stepedit_bench.figures.running import measure_all

    torch.set_num_threads(1)
    loaded = load_choice(engine, "auto")
    columns: tuple[Any, ...] = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("figures", total=None)

        def show(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        run = measure_all(settings, loaded, on_line=show)
    cost = None if settings.quick or loaded is None else _cost(run, engine, settings.finished)
    pictures = [] if settings.quick or loaded is None else draw_rows(run)
    # Whole paths tell of the machine, not of the measurement, and figures travel.
    given = [Path(word).name if word.startswith("/") else word for word in sys.argv[1:]]
    command = shlex.join(["stepedit", *given])
    return write_figures(run, settings, loaded, cost, command, pictures)


def _cost(run: Run, engine: str, finished: bool) -> dict[str, float] | None:
    """Time whole edits of six of the utterances in a process of its own, once."""
    from stepedit_bench.figures.cost import measure_cost
    from stepedit_bench.figures.lines import Lines

    known = Lines(run.folder / "cost.jsonl")
    if "cost" not in known.entries and not finished:
        held = list({item.held.id: item.held for item in run.items}.values())
        step = max(1, len(held) // 6)
        speech = run.maker.baseline.parent.parent / "speech"
        chosen = [
            (speech / f"{one.id}.flac", one.speech.transcript or "") for one in held[::step][:6]
        ]
        known.add("cost", measure_cost(engine, chosen))
    return known.entries.get("cost")
