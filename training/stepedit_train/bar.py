"""A bar of a run's steps, on terminals alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

__all__ = ["step_bar"]


@contextmanager
def step_bar(
    total: int, done: int, console: Console | None = None
) -> Iterator[Callable[[int, float], None]]:
    """Show steps, the loss and the time that is left; yield what is called after a step.

    Args:
        total: steps of the run.
        done: steps before this start of it.
        console: where; None: standard error. Nothing is shown where that is no terminal.
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    where = console or Console(stderr=True)
    columns = (
        TextColumn("steps"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.4f}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=where, disable=not where.is_terminal) as progress:
        task = progress.add_task("steps", total=total, completed=done, loss=float("nan"))

        def show(step: int, loss: float) -> None:
            progress.update(task, completed=step, loss=loss)

        yield show
