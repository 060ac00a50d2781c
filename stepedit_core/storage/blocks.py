"""Sound files of any length block by block: reading, writing, and what a target takes."""

from __future__ import annotations

import errno
import io
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from io import FileIO
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
    "clips",
    "codec_rate",
    "encoded_sound",
    "open_sound",
    "output_format",
    "sound_problem",
    "sound_seconds",
    "target_rate",
    "unknown_format",
]

_KEPT_SUBTYPES = ("PCM_", "FLOAT", "DOUBLE", "ULAW", "ALAW")
_MPEG_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_RATES = {
    "aac": _MPEG_RATES,
    "mp3": _MPEG_RATES,
    "opus": (8_000, 12_000, 16_000, 24_000, 48_000),
}
"""A codec's own rates, in Hz."""
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
            layout, blocks = opened(file, name, max_seconds, header=True)
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
            opened(file, name, math.inf, header=True)
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


def codec_rate(codec: str, rate: int) -> int:
    """Return the rate at which a codec takes sound: the same, the next higher, or its highest.

    Args:
        codec: such as ``mp3``, ``opus`` or ``aac``; those without rates of their own, as in WAV
            and FLAC files, take any.
        rate: in Hz.
    """
    rates = _RATES.get(codec.lower())
    if rates is None or rate in rates:
        return rate
    return min((one for one in rates if one > rate), default=rates[-1])


def unknown_format(target: Path) -> str:
    """Say that a file's suffix names no format that is known here."""
    return f"unknown audio format {target.suffix!r}" if target.suffix else "the name has no suffix"


def target_rate(target: Path, rate: int) -> int:
    """Return the rate in Hz that a file is written with; pipes and devices get WAV at any."""
    return rate if is_outlet(target) else codec_rate(target.suffix.lstrip("."), rate)


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
        AudioError: if the suffix is unknown, or the format does not take the sample rate or the
            subtype that is asked for.
    """
    suffix = target.suffix.lstrip(".").upper()
    if is_outlet(target) and suffix not in sf.available_formats():
        suffix = "WAV"
    kind = "OGG" if suffix == "OPUS" else suffix
    if kind not in sf.available_formats():
        raise AudioError(f"{target}: {unknown_format(target)}; use .wav or .flac")
    if subtype is not None and not sf.check_format(kind, subtype):
        raise AudioError(
            f"{target}: {kind} has no subtype {subtype!r}; it has "
            f"{', '.join(sf.available_subtypes(kind))}"
        )
    if codec_rate(suffix, sample_rate) != sample_rate:
        raise AudioError(
            f"{target}: {suffix} takes {', '.join(map(str, _RATES[suffix.lower()]))} Hz, "
            f"not {sample_rate} Hz; choose .wav or .flac"
        )
    kept = (read_as or "").startswith(_KEPT_SUBTYPES)
    chosen = subtype or (read_as if kept else None)
    if chosen is None or not sf.check_format(kind, chosen):
        chosen = "OPUS" if suffix == "OPUS" else sf.default_subtype(kind)
    return kind, chosen


def clips(subtype: str) -> bool:
    """Return whether a subtype of soundfile cannot hold samples above full scale.

    Floats do, and so do Vorbis and MP3: what they decode to is above full scale as well. Opus
    does not.
    """
    return not subtype.startswith(("FLOAT", "DOUBLE", "VORBIS", "MPEG_LAYER"))


def encoded_sound(samples: FloatArray, rate: int, kind: str, subtype: str) -> bytes:
    """Return mono samples as the content of a sound file.

    A file that libsndfile writes to a full disk by itself is cut off without an error; these
    bytes are written by Python, which raises one.

    Args:
        samples: float32, shape ``(n,)``.
        rate: in Hz.
        kind: soundfile's format.
        subtype: soundfile's subtype.

    Raises:
        soundfile.LibsndfileError: if the format does not take them.
    """
    buffer = io.BytesIO()
    sf.write(buffer, samples, rate, subtype=subtype, format=kind)
    return buffer.getvalue()


class _Sink:
    """An open file for libsndfile, which loses the errors of writing: the first one is kept.

    The file is without a buffer, which would raise while libsndfile seeks.
    """

    def __init__(self, file: FileIO) -> None:
        self.tell, self.seek, self.read = file.tell, file.seek, file.read
        self._file = file
        self.error: OSError | None = None

    def write(self, content: bytes) -> int:
        """Write as a file does; return 0 where that fails."""
        try:
            count = self._file.write(content)
            if count < len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self.error = self.error or error
            return 0
        return count


class SoundWriter:
    """A mono sound file that is written block by block.

    Attributes:
        written: samples so far.
        clipped: samples above full scale that the format had to clip.
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
        self._counts = clips(subtype)
        self._under = partial.open("w+b", buffering=0)
        self._sink = _Sink(self._under)
        try:
            self._file = sf.SoundFile(
                self._sink, "w", rate, 1, subtype=subtype, format="RF64" if wide else kind
            )
        except sf.LibsndfileError as error:
            self._under.close()
            raise AudioError(f"cannot write ({error.error_string})") from error

    def write(self, samples: FloatArray) -> None:
        """Append samples.

        Raises:
            OSError: if the disk is full.
            AudioError: if they cannot be written for another reason.
        """
        if self._counts:
            self.clipped += int(np.sum(np.abs(samples) > 1.0))
        try:
            self._file.write(samples)
        except (sf.LibsndfileError, RuntimeError, AssertionError) as error:
            self._check()
            raise AudioError(f"cannot write ({error})") from error
        self._check()
        self.written += len(samples)

    def _check(self) -> None:
        """Raise what writing to the file has raised so far."""
        if self._sink.error is not None:
            raise self._sink.error

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Complete the header and close the file; raises as ``write`` does."""
        try:
            self._file.close()
            if error is None:
                self._check()
        finally:
            self._under.close()
