"""Sound files of any length block by block: reading, writing, and what a target takes."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import soundfile as sf

from stepedit_core.atomic import is_outlet
from stepedit_core.dsp.channels import Mixdown, plan_mixdown
from stepedit_core.errors import AudioError
from stepedit_core.storage.sound import Blocks, FloatArray, Layout, bounded, check_file, opened

__all__ = [
    "SoundReader",
    "SoundWriter",
    "open_sound",
    "output_format",
    "sound_problem",
    "sound_seconds",
]

_KEPT_SUBTYPES = ("PCM_", "FLOAT", "DOUBLE", "ULAW", "ALAW")
# A codec's own rates, in Hz; other formats take any rate.
_RATES = {
    "MP3": (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000),
    "OPUS": (8_000, 12_000, 16_000, 24_000, 48_000),
}
_LONGEST_WAV = 0xFFFF0000 // 8
"""Samples of 8 bytes from which on a WAV file takes 64-bit sizes (RF64, EBU Tech 3306)."""


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


def output_format(
    target: Path, sample_rate: int, read_as: str | None, subtype: str | None = None
) -> tuple[str, str]:
    """Return soundfile's format and subtype for a target.

    Args:
        target: its suffix chooses the format; standard output, pipes and devices get WAV.
        sample_rate: in Hz.
        read_as: subtype of the source; kept if it is not a codec's and the format has it.
        subtype: the subtype that is asked for.

    Raises:
        AudioError: if the suffix is unknown, or the format does not take the sample rate.
    """
    suffix = target.suffix.lstrip(".").upper()
    if is_outlet(target) and suffix not in sf.available_formats():
        suffix = "WAV"
    kind = "OGG" if suffix == "OPUS" else suffix
    if kind not in sf.available_formats():
        raise AudioError(f"{target}: unknown audio format {target.suffix!r}; use .wav or .flac")
    rates = _RATES.get(suffix)
    if rates is not None and sample_rate not in rates:
        raise AudioError(
            f"{target}: {suffix} takes {', '.join(map(str, rates))} Hz, "
            f"not {sample_rate} Hz; choose .wav or .flac"
        )
    kept = (read_as or "").startswith(_KEPT_SUBTYPES)
    chosen = subtype or (read_as if kept else None)
    if chosen is None or not sf.check_format(kind, chosen):
        chosen = "OPUS" if suffix == "OPUS" else sf.default_subtype(kind)
    return kind, chosen


class SoundWriter:
    """A mono sound file that is written block by block.

    Attributes:
        written: samples so far.
        clipped: samples above full scale that a format of whole numbers had to clip.
    """

    def __init__(self, partial: Path, rate: int, kind: str, subtype: str, expected: int) -> None:
        """Open the file.

        Args:
            partial: where the bytes go.
            rate: in Hz.
            kind: soundfile's format.
            subtype: soundfile's subtype.
            expected: samples that will come, about; very long WAV files need larger sizes.
        """
        wide = kind == "WAV" and expected > _LONGEST_WAV
        self.written = self.clipped = 0
        self._counts = not subtype.startswith(("FLOAT", "DOUBLE"))
        try:
            self._file = sf.SoundFile(
                partial, "w", rate, 1, subtype=subtype, format="RF64" if wide else kind
            )
        except sf.LibsndfileError as error:
            raise AudioError(f"cannot write ({error.error_string})") from error

    def write(self, samples: FloatArray) -> None:
        """Append samples.

        Raises:
            AudioError: if they cannot be written.
        """
        if self._counts:
            self.clipped += int(np.sum(np.abs(samples) > 1.0))
        try:
            self._file.write(samples)
        except (sf.LibsndfileError, RuntimeError) as error:
            raise AudioError(f"cannot write ({error})") from error
        self.written += len(samples)

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Complete the header and close the file."""
        self._file.close()
