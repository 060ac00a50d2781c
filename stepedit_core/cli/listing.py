"""``stepedit edits`` and ``stepedit plugins``: list edits and plugins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from stepedit_core.cli.console import echo_json
from stepedit_core.cli.tables import print_table
from stepedit_core.edit import ROUTES, Edit, Route
from stepedit_core.registry.checks import LOCAL, EditInfo, PluginInfo
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


def _source(info: PluginInfo) -> str:
    """Return a plugin's distribution and version, or that it is no package."""
    if info.distribution != LOCAL:
        return f"{info.distribution} {info.version}"
    return f"{info.name} (file or object, not installed)"


def _values(schema: dict[str, Any], root: dict[str, Any]) -> Iterator[str]:
    """Yield what a parameter takes: its named values, or its type with the limits."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        yield from _values(root.get("$defs", {}).get(name, {}), root)
    elif "enum" in schema or "const" in schema:
        yield from map(str, schema.get("enum", [schema.get("const")]))
    elif "anyOf" in schema:
        for part in schema["anyOf"]:
            yield from _values(part, root)
    else:
        limits = [
            f"{word} {schema[key]:g}"
            for key, word in (
                ("minimum", "at least"),
                ("exclusiveMinimum", "above"),
                ("maximum", "at most"),
                ("exclusiveMaximum", "below"),
            )
            if key in schema
        ]
        kind = {"null": "nothing", "object": "an edit or an object"}.get(
            schema.get("type", ""), schema.get("type", "anything")
        )
        yield " ".join([kind, " and ".join(limits)]).strip()


def _without_dsp(info: EditInfo, parameter: str, values: list[str]) -> list[str]:
    """Return the values of one parameter that signal processing cannot carry out."""
    if "dsp" not in info.edit_class.routes():
        return []
    found = []
    for value in values:
        try:
            edit = info.edit_class(**{parameter: value})
        except ValueError:
            continue  # another parameter is needed too, or the value is no value alone
        if edit.route_problem("dsp") is not None:
            found.append(value)
    return found


def _one_edit(info: EditInfo) -> Iterator[str]:
    """Yield the lines that describe one edit in full."""
    edit_class = info.edit_class
    schema = edit_class.model_json_schema()
    required = set(schema.get("required", ()))
    yield f"{edit_class.name}: {edit_class.summary()}"
    yield f"routes: {', '.join(edit_class.routes())}"
    yield f"plugin: {_source(info.plugin)}"
    for name, parameter in schema.get("properties", {}).items():
        values = list(_values(parameter, schema))
        default = parameter.get("default")
        state = "required" if name in required else f"default {default}"
        about = " ".join(str(parameter.get("description", "")).split())
        yield f"\n{name} ({state}): {about}"
        yield f"  values: {', '.join(values)}"
        if missing := _without_dsp(info, name, values):
            yield f"  llm route alone: {', '.join(missing)}"


def _parameter_text(info: EditInfo) -> str:
    """Return the parameters of an edit; required ones have no question mark."""
    fields = info.edit_class.model_fields.items()
    return ", ".join(name if field.is_required() else f"{name}?" for name, field in fields)


@click.command("edits")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON with a JSON Schema per edit.")
def edits_command(name: str | None, as_json: bool) -> None:
    """List the edits, or describe the edit NAME with all values of its parameters.

    In the list, optional parameters have a question mark.
    """
    registry = get_registry()
    edits = registry.edits()
    if name is not None:
        _describe(registry.edit_info(name), as_json)
    elif as_json:
        echo_json([describe_edit(info) for info in edits.values()])
    else:
        _print_edits(edits)
        for text in registry.clashes().values():
            click.echo(f"left out: {text}", err=True)


def _describe(info: EditInfo, as_json: bool) -> None:
    """Print one edit in full."""
    if as_json:
        echo_json(describe_edit(info))
        return
    for line in _one_edit(info):
        click.echo(line)


def _print_edits(edits: Mapping[str, EditInfo]) -> None:
    """Print the table of all edits; the column of plugins where there is more than one package."""
    from rich.markup import escape

    rows = [
        (
            f"[bold cyan]{escape(name)}[/]",
            escape(_parameter_text(info)),
            " ".join(info.edit_class.routes()),
            escape(info.edit_class.summary()),
            f"[dim]{escape(_source(info.plugin))}[/]",
        )
        for name, info in edits.items()
    ]
    headings = ("edit", "parameters", "routes", "what it does", "plugin")
    sources = {_source(info.plugin) for info in edits.values()}
    title = f"Edits, by {escape(sources.pop())}" if len(sources) == 1 else "Edits"
    columns = len(headings) - (not sources)
    print_table(headings[:columns], [row[:columns] for row in rows], prose={1, 3}, title=title)
    if not edits:
        click.echo("no edits: no plugin is loaded; see stepedit plugins", err=True)


@click.command("plugins")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plugins_command(as_json: bool) -> None:
    """List the plugins with distribution, version, edits, hooks and errors."""
    registry = get_registry()
    infos = registry.plugins()
    rows = [describe_plugin(info) for info in infos]
    if as_json:
        echo_json(rows)
        return
    from rich.markup import escape

    cells = []
    for info, row in zip(infos, rows, strict=True):
        hooks = " ".join(hook.removeprefix("stepedit_") for hook in row["hooks"])
        state = f"[bold red]{escape(row['error'])}[/]" if row["error"] else "[green]works[/]"
        cells.append(
            (
                f"[bold cyan]{escape(row['name'])}[/]",
                escape(_source(info)),
                " ".join(row["edits"]),
                f"[dim]{hooks}[/]",
                state,
            )
        )
    headings = ("plugin", "distribution", "edits", "hooks", "state")
    print_table(headings, cells, prose={2, 3, 4}, title="Plugins")
    if registry.blocked:
        click.echo(f"blocked by STEPEDIT_DISABLE: {', '.join(sorted(registry.blocked))}")
