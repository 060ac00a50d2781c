"""``stepedit new``: scaffold a plugin that passes the contract at once."""

from __future__ import annotations

import keyword
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath
from string import Template

import click

from stepedit_core.cli.console import check_folder
from stepedit_core.registry.registry import get_registry

__all__ = ["new_command", "scaffold"]

_SUFFIX = ".tmpl"


def _walk(folder: Traversable, place: PurePosixPath) -> Iterator[tuple[PurePosixPath, str]]:
    """Yield the template's files as relative path and text."""
    for item in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if item.is_dir():
            yield from _walk(item, place / item.name)
        elif item.name.endswith(_SUFFIX):
            yield place / item.name.removesuffix(_SUFFIX), item.read_text(encoding="utf-8")


def _names(name: str) -> dict[str, str]:
    """Return the values of the template's placeholders."""
    parts = name.split("_")
    return {"name": name, "class_name": "".join(map(str.title, parts)), "words": " ".join(parts)}


def _is_name(name: str) -> bool:
    """Return whether an edit and its package can be called by a name."""
    snake_case = re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name) is not None
    return snake_case and not keyword.iskeyword(name)


def scaffold(name: str, into: Path) -> Path:
    """Write a plugin project for an edit of a name and return its folder.

    Args:
        name: snake_case name of the edit.
        into: folder in which ``stepedit-NAME`` is made.

    Raises:
        click.UsageError: if the name is not snake_case or taken, or the folder exists.
    """
    if not _is_name(name):
        near = re.sub(r"[\W_]+", "_", name, flags=re.ASCII).strip("_").lower()
        example = f"; did you mean {near!r}?" if _is_name(near) else ""
        raise click.UsageError(f"{name!r} is not a snake_case name such as 'vocal_fry'{example}")
    if name in get_registry().edits():
        raise click.UsageError(f"there is an edit {name!r} already; choose another name")
    target = into / f"stepedit-{name.replace('_', '-')}"
    if target.exists():
        raise click.UsageError(f"{target} exists already; choose another name or --into")
    check_folder(into)
    try:
        into.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=into, prefix=".stepedit-new-"))
    except OSError as error:
        raise click.UsageError(f"{into}: cannot write there ({error.strerror})") from error
    try:
        for place, text in _walk(files("stepedit_core").joinpath("template"), PurePosixPath()):
            file = partial / str(place).replace("__name__", name)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(Template(text).substitute(_names(name)), encoding="utf-8")
        os.chmod(partial, 0o755)
        partial.rename(target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return target


@click.command("new")
@click.argument("name")
@click.option(
    "--into",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    metavar="DIR",
    help="Where the project folder is made; here by default.",
)
def new_command(name: str, into: Path) -> None:
    """Scaffold a plugin for an edit called NAME: package, tests, README.

    What is made works and passes `stepedit check` at once; replace its sound by yours.
    """
    target = scaffold(name, into)
    for file in sorted(target.rglob("*")):
        if file.is_file():
            click.echo(f"wrote {file}")
    click.echo(f"next: stepedit check {target}; pip install -e {target}; pytest {target}")
