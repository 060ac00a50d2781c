"""``stepedit check``: run the contract kit on a plugin, installed or not."""

from __future__ import annotations

import sys
import tomllib
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from stepedit_core.cli.console import console, echo_json
from stepedit_core.edit import Edit
from stepedit_core.errors import PluginError
from stepedit_core.hookspecs import PROJECT
from stepedit_core.registry.registry import Registry, get_registry
from stepedit_core.testing import CheckResult, run_contract

__all__ = ["check_command", "find_edits"]


def _load_project(folder: Path, registry: Registry) -> list[str]:
    """Register the plugins that a project folder declares; return their names.

    Raises:
        PluginError: if the folder declares none, or one cannot be imported.
    """
    file = folder / "pyproject.toml"
    if not file.is_file():
        raise PluginError(f"{folder}: no pyproject.toml; give a plugin's project folder")
    try:
        declared = tomllib.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        raise PluginError(f"{file}: not TOML ({error})") from error
    entries: Any = declared
    for name in ("project", "entry-points", PROJECT):
        entries = entries.get(name) if isinstance(entries, dict) else None
    if not (isinstance(entries, dict) and entries):
        raise PluginError(f"{file}: declares nothing under [project.entry-points.{PROJECT}]")
    sys.path[:0] = [str(place) for place in (folder / "src", folder) if place.is_dir()]
    installed = {info.name for info in registry.plugins()}
    for name, module in entries.items():
        if name in installed:
            continue
        try:
            registry.register(import_module(module), name)
        except PluginError:
            raise
        except Exception as error:
            raise PluginError(f"{module}: {type(error).__name__}: {error}") from error
    return list(entries)


def find_edits(name_or_path: str, registry: Registry) -> list[type[Edit]]:
    """Return the edit classes of a plugin, an edit, a project folder or a plugin file.

    Raises:
        PluginError: if the plugin is broken or brings no edit.
        UnknownEditError: if nothing has that name.
    """
    place = Path(name_or_path)
    plugins = {info.name: info for info in registry.plugins()}
    if name_or_path in plugins:
        wanted = [name_or_path]
    elif place.is_dir():
        wanted = _load_project(place.resolve(), registry)
    elif place.suffix == ".py" and place.resolve() in registry.files:
        wanted = [place.stem]
    elif place.suffix == ".py":
        wanted = [registry.register_file(place).name]
    else:
        package = name_or_path.removeprefix("stepedit_").removeprefix("stepedit-").replace("-", "_")
        wanted = [package] if package in plugins else []
    if not wanted:
        return [registry.edit_class(name_or_path)]
    for info in registry.plugins():
        if info.name in wanted and info.error:
            raise PluginError(f"{info} could not be loaded: {info.error}")
    edits = [row.edit_class for row in registry.edits().values() if row.plugin.name in wanted]
    clashing = [
        text for text in registry.clashes().values() if any(f"'{w}'" in text for w in wanted)
    ]
    if clashing:
        raise PluginError(clashing[0])
    if not edits:
        raise PluginError(f"plugin {', '.join(wanted)} brings no edit: implement stepedit_edits()")
    return edits


@click.command("check")
@click.argument("name_or_path")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("-v", "--verbose", is_flag=True, help="Show what passed, too.")
def check_command(name_or_path: str, as_json: bool, verbose: bool) -> None:
    """Run the contract kit on a plugin.

    NAME_OR_PATH is a plugin, an edit, a project folder with a pyproject.toml, or a plugin file.
    The exit code is 1 where a check fails.
    """
    registry = get_registry()
    edits = find_edits(name_or_path, registry)
    results = [result for edit in edits for result in run_contract(edit, registry)]
    if as_json:
        echo_json([asdict(result) for result in results])
    else:
        _print(results, verbose=verbose)
    if any(result.status == "failed" for result in results):
        click.get_current_context().exit(1)


def _print(results: Iterable[CheckResult], *, verbose: bool) -> None:
    """Print what failed and what was skipped, and how many passed."""
    from rich.markup import escape
    from rich.table import Table

    marks = {
        "passed": "[green]passed[/]",
        "skipped": "[yellow]skipped[/]",
        "failed": "[red]FAILED[/]",
    }
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("check", "of", "result", "why"):
        table.add_column(heading, overflow="fold")
    rows = list(results)
    alike: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        if verbose or row.status != "passed":
            alike.setdefault((row.check, row.status, row.text), []).append(row.about)
    for (check, status, text), about in alike.items():
        more = f" and {len(about) - 1} more" if len(about) > 1 else ""
        table.add_row(check.replace("_", " "), escape(about[0] + more), marks[status], escape(text))
    if table.row_count:
        console().print(table)
    counts = Counter(row.status for row in rows)
    edits = ", ".join(dict.fromkeys(row.about for row in rows if ":" not in row.about))
    click.echo(
        f"{edits}: {counts['passed']} passed, {counts['skipped']} skipped, "
        f"{counts['failed']} failed"
    )
