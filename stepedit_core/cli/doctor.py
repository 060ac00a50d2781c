"""``stepedit doctor``: check this installation, and name what to install for the rest."""

from __future__ import annotations

import platform
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from importlib.util import find_spec
from typing import Literal

import click

from stepedit_core.cli.console import console, echo_json
from stepedit_core.cli.tables import print_table
from stepedit_core.embedded import shipped_bytes, state
from stepedit_core.errors import counted
from stepedit_core.registry.registry import get_registry

__all__ = ["Finding", "doctor_command", "findings"]

State = Literal["ok", "optional", "missing"]

# Program, what it is for, and how to get it; none is required.
_PROGRAMS = (
    ("sox", "tempo changes by SoX", "apt-get install sox, or brew install sox"),
    ("rubberband", "tempo and pitch changes by Rubber Band", "apt-get install rubberband-cli"),
    ("ffmpeg", "reading formats that libsndfile lacks, before stepedit", "apt-get install ffmpeg"),
)
_REQUIREMENT = re.compile(r"^\s*([A-Za-z0-9._-]+)(.*?)(?:;(.*))?$")


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        topic: what it is about.
        name: the thing that was looked for.
        state: ``ok``, ``optional`` (absent, and only some things need it) or ``missing``.
        found: what was found.
        cure: what to do about it.
    """

    topic: str
    name: str
    state: State
    found: str
    cure: str = ""


def _python() -> Iterator[Finding]:
    """Report Python and stepedit."""
    fine = sys.version_info >= (3, 11)
    cure = "" if fine else "install Python 3.11 or newer"
    yield Finding("system", "python", "ok" if fine else "missing", platform.python_version(), cure)
    yield Finding("system", "machine", "ok", f"{platform.system()} {platform.machine()}")
    yield Finding("system", "stepedit", "ok", metadata.version("stepedit"))


def _device() -> Iterator[Finding]:
    """Report torch and the devices that it sees."""
    if find_spec("torch") is None:
        yield Finding("system", "torch", "missing", "not installed", "pip install torch torchaudio")
        return
    import torch

    yield Finding("system", "torch", "ok", str(torch.__version__))
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            memory = torch.cuda.get_device_properties(index).total_memory / 2**30
            text = f"{torch.cuda.get_device_name(index)}, {memory:.0f} GiB"
            yield Finding("device", f"cuda:{index}", "ok", text)
    elif torch.backends.mps.is_available():
        yield Finding("device", "mps", "ok", "Apple GPU")
    else:
        cure = "the llm route runs on the CPU, slowly for large models"
        yield Finding("device", "cpu", "ok", f"{torch.get_num_threads()} threads, no GPU", cure)


def _packages() -> Iterator[Finding]:
    """Report the libraries that the distribution asks for, extras included, each once."""
    seen: set[str] = set()
    for line in metadata.requires("stepedit") or []:
        match = _REQUIREMENT.match(line)
        if match is None or match.group(1) in seen or match.group(1) == "stepedit":
            continue
        name, marker = match.group(1), match.group(3) or ""
        seen.add(name)
        extra = re.search(r"extra\s*==\s*['\"]([\w-]+)['\"]", marker)
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            what = f"stepedit[{extra.group(1)}]" if extra else name
            state: State = "optional" if extra else "missing"
            yield Finding("library", name, state, "not installed", f"pip install '{what}'")
            continue
        yield Finding("library", name, "ok", version)


def _programs() -> Iterator[Finding]:
    """Report optional programs."""
    for name, purpose, cure in _PROGRAMS:
        place = shutil.which(name)
        if place:
            yield Finding("program", name, "ok", place)
        else:
            yield Finding("program", name, "optional", f"absent ({purpose})", cure)


def _engines() -> Iterator[Finding]:
    """Report the embedded model, downloaded checkpoints, and engines that plugins bring."""
    if size := shipped_bytes():
        about = f"{size / 1e6:.1f} MB in the package. {state() or ''}".strip()
        yield Finding("engine", "embedded", "ok", about)
    else:
        yield Finding("engine", "embedded", "optional", "no weights in this installation")
    registry = get_registry()
    for info in registry.plugins():
        if "stepedit_load_engine" in registry.hooks_of(info.name):
            yield Finding("engine", info.name, "ok", f"by {info.distribution} {info.version}")
    for name in _downloaded():
        yield Finding("engine", name, "ok", "in the Hugging Face cache")


def _downloaded() -> list[str]:
    """Return the ids of Step-Audio checkpoints in the local Hugging Face cache."""
    if find_spec("huggingface_hub") is None:
        return []
    from pathlib import Path

    from huggingface_hub.constants import HF_HUB_CACHE

    folders = sorted(Path(HF_HUB_CACHE).glob("models--*tep-*udio*"))
    return [folder.name.removeprefix("models--").replace("--", "/") for folder in folders]


def _plugins() -> Iterator[Finding]:
    """Report every plugin, the broken ones with their errors, and clashes of edits."""
    registry = get_registry()
    for info in registry.plugins():
        if info.error:
            cure = f"update or uninstall {info.distribution}, or set STEPEDIT_DISABLE={info.name}"
            yield Finding("plugin", info.name, "missing", info.error, cure)
        else:
            yield Finding("plugin", info.name, "ok", f"{info.distribution} {info.version}")
    for name, text in registry.clashes().items():
        yield Finding("plugin", name, "missing", text, "uninstall or block one")


def findings() -> Iterator[Finding]:
    """Yield everything that the doctor looks at, in order."""
    for part in (_python, _device, _packages, _programs, _engines, _plugins):
        yield from part()


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor_command(as_json: bool) -> None:
    """Check what works on this machine, and what to install for the rest.

    The exit code is 1 where something that stepedit needs is missing or broken.
    """
    rows = list(findings())
    if as_json:
        echo_json([asdict(row) for row in rows])
    else:
        _print(rows)
    missing = [row for row in rows if row.state == "missing"]
    if missing:
        click.get_current_context().exit(1)


def _print(rows: list[Finding]) -> None:
    """Print what works as a paragraph for each topic, and the rest as a table with cures."""
    from rich.markup import escape
    from rich.table import Table

    working = [row for row in rows if row.state == "ok"]
    paragraphs = Table(box=None, show_header=False, pad_edge=False)
    paragraphs.add_column(no_wrap=True)
    paragraphs.add_column(overflow="fold")
    for topic in dict.fromkeys(row.topic for row in working):
        text = "; ".join(_together([row for row in working if row.topic == topic]))
        paragraphs.add_row(f"[green]{topic}[/]", escape(text))
    console().print(paragraphs)
    marks = {"optional": "[yellow]absent[/]", "missing": "[bold red]needed[/]"}
    cells = [
        (escape(row.name), marks[row.state], escape(row.found), escape(row.cure))
        for row in rows
        if row.state in marks
    ]
    if cells:
        click.echo()
        print_table(("what", "state", "found", "what to do"), cells, prose={2, 3})
    click.echo()
    counts = {state: sum(row.state == state for row in rows) for state in marks}
    if counts["missing"]:
        click.echo(f"missing or broken: {counted(counts['missing'], 'needed thing')}, see above")
    else:
        click.echo(
            f"everything needed works; absent: {counted(counts['optional'], 'optional thing')}"
        )


def _together(rows: list[Finding]) -> Iterator[str]:
    """Yield what works with what was found; plugins of one package stand together."""
    names: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        about = f"{row.found} ({row.cure})" if row.cure else row.found
        names.setdefault((about, "" if row.topic == "plugin" else row.name), []).append(row.name)
    for (about, _), some in names.items():
        yield f"{', '.join(some)}: {about}" if len(some) > 1 else f"{some[0]} {about}"
