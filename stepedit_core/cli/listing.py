"""``stepedit edits`` and ``stepedit plugins``: what can be done, and by whom."""

from __future__ import annotations

from typing import Any

import click

from stepedit_core.cli.console import echo_json
from stepedit_core.cli.tables import print_table
from stepedit_core.edit import ROUTES, Edit, Route
from stepedit_core.registry.checks import EditInfo, PluginInfo
from stepedit_core.registry.registry import get_registry

__all__ = ["describe_edit", "describe_plugin", "edits_command", "plugins_command"]


def describe_plugin(info: PluginInfo) -> dict[str, Any]:
    """Return a plugin as JSON data."""
    found = [name for name, edit in get_registry().edits().items() if edit.plugin == info]
    return {
        "name": info.name,
        "distribution": info.distribution,
        "version": info.version,
        "edits": found,
        "hooks": get_registry().hooks_of(info.name),
        "error": info.error,
    }


def _needing_words(edit_class: type[Edit]) -> list[Route]:
    """Return the routes of a class that need the words, whatever its parameters are."""
    blank = edit_class.model_construct()
    try:
        return sorted(route for route in ROUTES if blank.needs_transcript(route))
    except AttributeError:  # it depends on a parameter
        return []


def describe_edit(info: EditInfo) -> dict[str, Any]:
    """Return an edit as JSON data, its parameters as JSON Schema."""
    edit_class, plugin = info.edit_class, info.plugin
    return {
        "name": edit_class.name,
        "summary": edit_class.summary(),
        "routes": list(edit_class.routes()),
        "needs_transcript": _needing_words(edit_class),
        "plugin": {
            "name": plugin.name,
            "distribution": plugin.distribution,
            "version": plugin.version,
        },
        "parameters": edit_class.model_json_schema(),
    }


def _parameter_text(info: EditInfo) -> str:
    """Return the parameters of an edit; required ones have no question mark."""
    fields = info.edit_class.model_fields.items()
    return ", ".join(name if field.is_required() else f"{name}?" for name, field in fields)


@click.command("edits")
@click.option("--json", "as_json", is_flag=True, help="Print JSON with a JSON Schema per edit.")
def edits_command(as_json: bool) -> None:
    """List the edits: parameters (optional ones with a question mark), routes, origin."""
    registry = get_registry()
    edits = registry.edits()
    if as_json:
        echo_json([describe_edit(info) for info in edits.values()])
        return
    from rich.markup import escape

    rows = [
        (
            f"[bold cyan]{escape(name)}[/]",
            escape(_parameter_text(info)),
            " ".join(info.edit_class.routes()),
            escape(info.edit_class.summary()),
            f"[dim]{escape(f'{info.plugin.distribution} {info.plugin.version}')}[/]",
        )
        for name, info in edits.items()
    ]
    headings = ("edit", "parameters", "routes", "what it does", "plugin")
    print_table(headings, rows, prose={1, 3}, title="Edits")
    for text in registry.clashes().values():
        click.echo(f"left out: {text}", err=True)
    if not edits:
        click.echo("no edits: no plugin is loaded; see stepedit plugins", err=True)


@click.command("plugins")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plugins_command(as_json: bool) -> None:
    """List the plugins with distribution, version, edits, hooks and errors."""
    registry = get_registry()
    rows = [describe_plugin(info) for info in registry.plugins()]
    if as_json:
        echo_json(rows)
        return
    from rich.markup import escape

    cells = []
    for row in rows:
        hooks = " ".join(hook.removeprefix("stepedit_") for hook in row["hooks"])
        state = f"[bold red]{escape(row['error'])}[/]" if row["error"] else "[green]works[/]"
        cells.append(
            (
                f"[bold cyan]{escape(row['name'])}[/]",
                escape(f"{row['distribution']} {row['version']}"),
                " ".join(row["edits"]),
                f"[dim]{hooks}[/]",
                state,
            )
        )
    headings = ("plugin", "distribution", "edits", "hooks", "state")
    print_table(headings, cells, prose={2, 3, 4}, title="Plugins")
    if registry.disabled:
        click.echo(f"blocked by STEPEDIT_DISABLE: {', '.join(sorted(registry.disabled))}")
