"""``stepedit demo``: a packaged recording through a chain, to look at and listen to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stepedit_core.chain.notation import format_edit
from stepedit_core.cli.console import (
    check_folder,
    console,
    engine_options,
    load_named_engine,
    write_text,
)
from stepedit_core.cli.tables import print_table
from stepedit_core.errors import EditError

if TYPE_CHECKING:
    from stepedit_core.demo import Column, Demo, Take
    from stepedit_core.engine import SpeechEngine

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
@click.option("--dsp", is_flag=True, help="Signal processing alone; load no engine.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
def demo_command(out: Path, engine: str | None, device: str, dsp: bool, seed: int) -> None:
    """Edit a packaged recording through a chain of edits.

    Writes the audio of every step, a page with players and spectrograms, and a report. Every
    step is done by signal processing, by an engine's language model (the embedded one, unless
    --engine names another), and by that engine's codes alone, side by side.
    """
    from importlib.metadata import version

    from stepedit_core.demo import load_demo, render_page, run_demo

    check_folder(out)
    demo = load_demo()
    loaded, notes = _engine(engine, device, dsp)
    for note in notes:
        click.echo(note)
    with console(stderr=True).status("editing ...") as status:
        columns = run_demo(
            demo,
            loaded,
            seed=seed,
            on_take=lambda take: status.update(f"{take.planned.title}, {take.way}: done"),
        )
    demo.source.write(out / SOURCE)
    for take in (take for column in columns for take in column.takes.values()):
        take.utterance.write(out / _take_file(take), subtype="PCM_16")
    report = {
        "seed": seed,
        "engine": None if loaded is None else dict(loaded.describe()),
        "notes": notes,
        "columns": [column.report() for column in columns],
    }
    write_text(out / "report.json", json.dumps(report, ensure_ascii=False, indent=2) + "\n")
    page = render_page(demo, columns, version("stepedit"), seed=seed, notes=notes)
    write_text(out / "index.html", page)
    _print(demo, columns, out)
    if not any(column.takes for column in columns):
        raise EditError("no step of the demo could be carried out; see the reasons above")


def _engine(
    name: str | None, device: str, is_dsp_only: bool
) -> tuple[SpeechEngine | None, list[str]]:
    """Load the engine to show, and say what is to be known about it.

    Raises:
        StepeditError: if a named engine cannot be loaded.
    """
    from stepedit_core import embedded
    from stepedit_core.config import EMBEDDED

    if is_dsp_only:
        if name is not None:
            raise click.UsageError("--dsp loads no engine; leave out --engine")
        return None, []
    if name is None and not embedded.is_shipped():
        note = "dsp only: this installation ships no embedded model; --engine shows another one"
        return load_named_engine(None, device), [note]
    loaded = load_named_engine(name or EMBEDDED, device)
    notes = [embedded.state()] if (name or EMBEDDED) == EMBEDDED else []
    return loaded, [note for note in notes if note]


def _take_file(take: Take) -> str:
    """Return the name of a take's audio file."""
    return f"{take.planned.number}-{take.planned.edit.name}-{take.way}.wav"


_COLOURS = {"dsp": "cyan", "llm": "magenta", "identity": "dim"}


def _print(demo: Demo, columns: list[Column], out: Path) -> None:
    """Print what was done by which way, what was not, and where it all is."""
    from rich.markup import escape

    rows = [("", "[dim]the recording[/]", "", f"{demo.source.seconds:.2f} s", "", SOURCE)]
    found = [column.takes.get(planned.title) for planned in demo.steps for column in columns]
    for take in (take for take in found if take is not None):
        rows.append(
            (
                str(take.planned.number),
                escape(format_edit(take.planned.edit)),
                f"[{_COLOURS[take.way]}]{take.way}[/] {escape(take.engine or '')}",
                f"{take.utterance.seconds:.2f} s",
                f"{take.seconds:.2f} s",
                _take_file(take),
            )
        )
    print_table(("", "edit", "by", "length", "time", "file"), rows, prose={1})
    for column in columns:
        for title, reason in column.problems.items():
            click.echo(f"passed over ({column.title}): {title}: {reason}")
    for text in demo.left_out:
        click.echo(f"left out: {text}")
    click.echo(f"open {out / 'index.html'} in a browser to look and listen")
