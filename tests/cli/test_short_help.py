"""Lists of commands: one whole line for each, nothing cut off."""

from __future__ import annotations

from collections.abc import Iterator

import click

from stepedit_core.cli.root import cli


def groups(
    group: click.Group, context: click.Context
) -> Iterator[tuple[click.Group, click.Context]]:
    """Yield a group and those below it, with their contexts."""
    yield group, context
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from groups(command, click.Context(command, info_name=name, parent=context))


def test_no_line_is_cut_off() -> None:
    pages = {
        context.command_path: group.get_help(context)
        for group, context in groups(cli, click.Context(cli, info_name="stepedit"))
    }
    assert len(pages) > 4
    cut = {
        path: [x for x in page.splitlines()[1:] if x.endswith("...")]
        for path, page in pages.items()
    }
    assert not any(cut.values()), cut
