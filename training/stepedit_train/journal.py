"""The record of a run: a JSON line per entry, TensorBoard, sample recordings, and a bar."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from rich.console import Console

from stepedit_core.atomic import append_line, write_atomically
from stepedit_core.errors import MissingDependencyError
from stepedit_core.storage.blocks import encoded_sound

__all__ = [
    "Journal",
    "read_journal",
    "step_bar",
]

FILE = "log.jsonl"


def read_journal(folder: Path) -> list[dict[str, Any]]:
    """Return the entries of a run's log; a line cut off by a crash is left out."""
    path = folder / FILE
    entries: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            entries.append(json.loads(line))
        except (ValueError, RecursionError):
            break
    return entries


class Journal:
    """Write figures by step; entering an older step again removes what came after it.

    Args:
        folder: of the run.
        step: step that the run stands at; later entries of the log are dropped, so that a
            resumed run leaves one curve.
        tensorboard: also write TensorBoard events.

    Attributes:
        entries: of the log so far, in order; rules that stop a run read them at every entry.

    Raises:
        MissingDependencyError: if TensorBoard is asked for and absent.
    """

    def __init__(self, folder: Path, step: int = 0, *, tensorboard: bool = True) -> None:
        self.folder = folder
        self.entries = [entry for entry in read_journal(folder) if entry["step"] <= step]
        lines = "".join(json.dumps(entry) + "\n" for entry in self.entries)
        write_atomically(folder / FILE, lines)
        self._board = self._open_board(step) if tensorboard else None

    def _open_board(self, step: int) -> Any:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingDependencyError(
                "TensorBoard is not installed: pip install 'stepedit[train]', or set "
                "tensorboard = false"
            ) from error
        return SummaryWriter(str(self.folder / "tensorboard"), purge_step=step + 1)  # type: ignore[no-untyped-call,unused-ignore]

    def __enter__(self) -> Self:
        """Return the journal."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the files."""
        if self._board is not None:
            self._board.close()

    def write(self, step: int, part: str, figures: Mapping[str, float]) -> None:
        """Add figures of a part (``train``, ``dev``) at a step."""
        entry = {"step": step, "part": part} | {
            name: round(float(value), 6) for name, value in figures.items()
        }
        self.entries.append(entry)
        append_line(self.folder / FILE, json.dumps(entry))
        if self._board is not None:
            for name, value in figures.items():
                self._board.add_scalar(f"{part}/{name}", value, step)

    def audio(self, step: int, name: str, samples: npt.NDArray[np.float32], rate: int) -> Path:
        """Write a sample recording, float32 of shape ``(n,)`` at ``rate`` Hz, as 16-bit WAV."""
        path = self.folder / "samples" / f"step-{step:08d}" / f"{name}.wav"
        write_atomically(path, encoded_sound(np.clip(samples, -1, 1), rate, "WAV", "PCM_16"))
        if self._board is not None:
            self._board.add_audio(name, samples[None], step, sample_rate=rate)
        return path


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
    if not where.is_terminal:
        yield lambda step, loss: None
        return
    with Progress(*columns, console=where) as progress:
        task = progress.add_task("steps", total=total, completed=done, loss=float("nan"))

        def show(step: int, loss: float) -> None:
            progress.update(task, completed=step, loss=loss)

        yield show
