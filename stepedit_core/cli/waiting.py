"""Progress display while a command works: on terminals only, on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from stepedit_core.cli.console import console
from stepedit_core.llm_route.progress import listening

__all__ = ["piece_progress", "progress"]


@contextmanager
def progress(total: int) -> Iterator[Callable[[], None]]:
    """Show how far recordings, and the tokens of the present one, are; yield what moves it on.

    Args:
        total: how many recordings there are; the bar for them is left out where there is one.
    """
    with _bars("recordings", total) as move:
        done = 0

        def advance() -> None:
            nonlocal done
            done += 1
            move(done, total)

        yield advance


@contextmanager
def piece_progress() -> Iterator[Callable[[int, int], None]]:
    """Show how far the pieces of a long recording are; yield what takes done and total."""
    with _bars("pieces", 1) as move:
        yield move


@contextmanager
def _bars(what: str, total: int) -> Iterator[Callable[[int, int], None]]:
    """Show one bar for things and one for tokens; yield what takes done and total."""
    out = console(stderr=True)
    if not out.is_terminal:
        yield lambda done, total: None
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
    )
    # Redirected, standard output would end up in the console of standard error.
    redirect = sys.stdout.isatty()
    with Progress(*columns, console=out, redirect_stdout=redirect, transient=True) as bars:
        things = bars.add_task(what, total=total, visible=total > 1)
        tokens = bars.add_task("tokens, at most", total=None, visible=False)

        def heard(done: int, most: int) -> None:
            if done <= 1 or bars.tasks[tokens].completed > done:
                bars.reset(tokens, total=most)
            bars.update(tokens, completed=done, total=most, visible=True)

        def move(done: int, total: int) -> None:
            bars.update(things, completed=done, total=total, visible=total > 1)
            bars.update(tokens, visible=False)

        with listening(heard):
            yield move
