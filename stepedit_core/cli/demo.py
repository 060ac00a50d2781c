"""``stepedit demo``: a packaged recording through a chain, to look at and listen to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stepedit_core.cli.console import (
    check_folder,
    console,
    engine_options,
    load_named_engine,
    write_text,
)
from stepedit_core.errors import EditError

if TYPE_CHECKING:
    from stepedit_core.demo import Column, Demo, Planned
    from stepedit_core.result import Step

__all__ = ["demo_command"]

SOURCE = "0-source.wav"


@click.command("demo")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("stepedit-demo"),
    show_default=True,
    metavar="DIR",
    help="Folder for the WAVs and the page.",
)
@engine_options
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
def demo_command(out: Path, engine: str | None, device: str, seed: int) -> None:
    """Edit a packaged recording through a chain of edits.

    Writes the audio of every step, a page with players and spectrograms, and a report. Runs by
    signal processing; with --engine also by its language model, in a second column.
    """
    from importlib.metadata import version

    from stepedit_core.demo import load_demo, render_page, run_column

    check_folder(out)
    demo = load_demo()
    loaded = load_named_engine(engine, device)
    columns = []
    with console(stderr=True).status("editing ...") as status:
        for runner in (None, loaded) if loaded is not None else (None,):
            columns.append(
                run_column(
                    demo,
                    runner,
                    seed=seed,
                    on_step=lambda planned, step: status.update(f"{planned.title}: done"),
                )
            )
    demo.source.write(out / SOURCE)
    for column in columns:
        _write_steps(column, out)
    reports = [column.result.report() for column in columns]
    write_text(out / "report.json", json.dumps(reports, ensure_ascii=False, indent=2) + "\n")
    write_text(out / "index.html", render_page(demo, columns, version("stepedit")))
    _print(demo, columns, out)
    if not any(column.result.steps for column in columns):
        raise EditError("no step of the demo could be carried out; see the reasons above")


def _step_file(planned: Planned, step: Step) -> str:
    """Return the name of a step's audio file."""
    return f"{planned.number}-{step.edit.name}-{step.route}.wav"


def _write_steps(column: Column, out: Path) -> None:
    """Write the audio of every finished step as 16-bit WAV."""
    for planned, step in zip(column.plan, column.result.steps, strict=True):
        step.utterance.write(out / _step_file(planned, step), subtype="PCM_16")


def _print(demo: Demo, columns: list[Column], out: Path) -> None:
    """Print what was done by which route, what was not, and where it all is."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("", "edit", "route", "length", "time", "file"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "file")
    table.add_row("", "[dim]the recording[/]", "", f"{demo.source.seconds:.2f} s", "", SOURCE)
    for column in columns:
        for planned, step in zip(column.plan, column.result.steps, strict=True):
            route = f"[magenta]llm[/] {escape(step.engine)}" if step.engine else "[cyan]dsp[/]"
            table.add_row(
                str(planned.number),
                escape(str(step.edit)),
                route,
                f"{step.utterance.seconds:.2f} s",
                f"{step.seconds:.2f} s",
                _step_file(planned, step),
            )
    console().print(table)
    for column in columns:
        for title, reason in column.problems.items():
            click.echo(f"passed over ({column.title}): {title}: {reason}")
    for text in demo.left_out:
        click.echo(f"left out: {text}")
    click.echo(f"open {out / 'index.html'} in a browser to look and listen")
