"""Print which scorers cheats have fooled."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from stepedit_bench.attack import GOOD, Attack

__all__ = ["print_attacks"]


def print_attacks(found: Sequence[Attack], console: Console | None = None) -> None:
    """Print one line per edit, and the cheats that passed by name."""
    shown = console or Console()
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("scorer of", "cheats", "fooled by", "unscored", "dsp route passes"):
        table.add_column(heading, overflow="fold")
    for edit in dict.fromkeys(one.edit for one in found):
        own = [one for one in found if one.edit == edit]
        cheats = [one for one in own if one.cheat != GOOD]
        good = [one for one in own if one.cheat == GOOD]
        fooled = [f"{one.cheat} ({one.case})" for one in cheats if one.fooled]
        unscored = sum(one.reached is None for one in cheats)
        passed = sum(one.reached is True for one in good)
        names = f"[red]{escape(', '.join(fooled))}[/]" if fooled else "[green]none[/]"
        good_text = f"{passed} of {len(good)}"
        table.add_row(edit, str(len(cheats)), names, str(unscored), good_text)
    shown.print(table)
    kinds = len({one.cheat for one in found if one.cheat != GOOD})
    count = sum(one.fooled for one in found)
    shown.print(f"{kinds} cheats, {len(found)} verdicts, {count} fooled")
