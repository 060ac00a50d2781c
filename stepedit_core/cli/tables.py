"""Print tables that fit any width: no word is broken, no column is squeezed to a few letters."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from stepedit_core.cli.console import console

__all__ = ["print_table"]

LEAST_PROSE = 18
"""Fewest letters for a column of prose; where there are fewer, each row becomes a paragraph."""
_GAP = 2


def print_table(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    prose: Collection[int],
    *,
    title: str | None = None,
) -> None:
    """Print rows as a table, or as one paragraph each where the terminal is too narrow.

    Args:
        headings: one for each column; an empty one for what needs none.
        rows: cells with rich markup.
        prose: columns that may be wrapped between words; the others stay in one line.
        title: printed above.
    """
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    out = console()
    widths = [
        max(cell_len(Text.from_markup(cell).plain) for cell in (heading, *column))
        for heading, *column in zip(headings, *rows, strict=True)
    ]
    wanted = sum(
        min(width, LEAST_PROSE) if place in prose else width for place, width in enumerate(widths)
    )
    if wanted + _GAP * (len(widths) - 1) > out.width:
        _print_paragraphs(headings, rows, title)
        return
    table = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for place, heading in enumerate(headings):
        least = min(widths[place], LEAST_PROSE) if place in prose else widths[place]
        table.add_column(heading, no_wrap=place not in prose, min_width=least, overflow="fold")
    for row in rows:
        table.add_row(*row)
    out.print(table)


def _print_paragraphs(
    headings: Sequence[str], rows: Sequence[Sequence[str]], title: str | None
) -> None:
    """Print the first cells of each row in a line, the others below, indented."""
    from rich.padding import Padding

    out = console()
    if title:
        out.print(f"[italic]{title}[/]")
    for row in rows:
        first = next((place for place, cell in enumerate(row) if cell and headings[place]), 0)
        out.print(" ".join(cell for cell in row[: first + 1] if cell), overflow="fold")
        for heading, cell in zip(headings[first + 1 :], row[first + 1 :], strict=True):
            if cell:
                lead = f"[dim]{heading}:[/] " if heading else ""
                out.print(Padding(f"{lead}{cell}", (0, 0, 0, 4)), overflow="fold")
