"""Read sound files of any length block by block."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from stepedit_core.dsp.channels import Mixdown, plan_mixdown
from stepedit_core.errors import AudioError
from stepedit_core.storage.sound import Blocks, FloatArray, Layout, bounded, check_file, opened

__all__ = ["SoundReader", "open_sound", "sound_problem", "sound_seconds"]


@dataclass(frozen=True)
class SoundReader:
    """An open sound file that is read block by block: memory does not grow with its length.

    Attributes:
        layout: what the file says of itself.
        notes: what was done beyond decoding, one line each.
    """

    layout: Layout
    notes: tuple[str, ...]
    _blocks: Blocks
    _mixdown: Mixdown
    _name: str

    def blocks(self) -> Iterator[FloatArray]:
        """Yield the mono samples from the beginning, float32, about a million at a time.

        Raises:
            AudioError: where the file is damaged or holds NaN or infinite values.
        """
        for block in self._blocks():
            mono = self._mixdown.apply(block)
            if not np.isfinite(mono).all():
                raise AudioError(
                    f"{self._name}: the samples contain NaN or infinite values; "
                    "repair the recording"
                )
            yield mono


def sound_seconds(path: str | os.PathLike[str], *, max_seconds: float) -> float:
    """Return the duration of a file: what its header says, or what is counted without one.

    Raises:
        AudioError: as `open_sound` does.
    """
    name = os.fspath(path)
    check_file(Path(path), name)
    try:
        with open(path, "rb") as file:
            layout, blocks = opened(file, name, max_seconds)
            if layout.frames:
                return layout.seconds
            return sum(map(len, bounded(blocks, layout, name, max_seconds))) / layout.rate
    except OSError as error:
        raise AudioError(f"{name}: cannot be read ({error.strerror or error})") from error


def sound_problem(path: str | os.PathLike[str]) -> str | None:
    """Say why a file's header is none of a recording, or return None; no samples are read."""
    name = os.fspath(path)
    try:
        check_file(Path(path), name)
        with open(path, "rb") as file:
            opened(file, name, math.inf)
    except OSError as error:
        return f"{name}: cannot be read ({error.strerror or error})"
    except AudioError as error:
        return str(error)
    return None


@contextmanager
def open_sound(path: str | os.PathLike[str], *, max_seconds: float) -> Iterator[SoundReader]:
    """Open a file of any length up to a limit; the samples are those that `read_sound` gives.

    Files of several channels are read once to decide how they are mixed down.

    Raises:
        AudioError: as `read_sound` does.
    """
    name = os.fspath(path)
    check_file(Path(path), name)
    try:
        file = open(path, "rb")  # noqa: SIM115
    except OSError as error:
        raise AudioError(f"{name}: cannot be read ({error.strerror or error})") from error
    with file:
        layout, blocks = opened(file, name, max_seconds)
        limited = partial(bounded, blocks, layout, name, max_seconds)
        plan = plan_mixdown(limited, layout.channels, layout.rate)
        notes = tuple(note for note in (layout.note, plan.note) if note)
        yield SoundReader(layout, notes, limited, plan, name)
