"""Decode sound files of any common kind to mono, looking at their size before memory is spent.

libsndfile reads WAV, FLAC, OGG, Opus and MP3; FFmpeg, through PyAV, what phones and browsers
record (M4A, MP4, WebM, WMA, AMR). What had to be done to a file is said in its notes.
"""

from __future__ import annotations

import io
import os
import stat
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, BinaryIO

import numpy as np
import soundfile as sf

from stepedit_core.dsp.channels import plan_mixdown
from stepedit_core.errors import AudioError, counted
from stepedit_core.storage.cut_off import lacking, ogg_faults
from stepedit_core.storage.ffmpeg import by_ffmpeg
from stepedit_core.storage.joined import MAX_JOINED, Window, joined_recordings
from stepedit_core.storage.layout import Blocks, FloatArray, Layout
from stepedit_core.storage.wav_header import NOTED, has_more_data, repaired_wav

__all__ = [
    "MAX_CHANNELS",
    "MAX_RATE",
    "MAX_STREAM_BYTES",
    "MIN_RATE",
    "Blocks",
    "FloatArray",
    "Layout",
    "Sound",
    "bounded",
    "check_file",
    "is_stream",
    "opened",
    "read_sound",
    "read_stream",
]

MIN_RATE, MAX_RATE = 4_000, 192_000
"""Sample rates that are taken, in Hz."""
MAX_CHANNELS = 64
MAX_STREAM_BYTES = 1 << 29
"""Most bytes that are taken from standard input, a pipe or a device."""
_FULL_LENGTH_RATE = 96_000
"""Rate up to which sound may be as long as the limit says; above it, accordingly shorter."""
_BLOCK = 1 << 20  # samples of all channels in one block
_STDERR = threading.Lock()
_FLOATS = ("FLOAT", "DOUBLE")
_LOUD = 10 ** (3 / 20)
"""Peak of floats from which on it is said that players clip them: what decoders overshoot by is
less."""
_WHOLE, _WHOLE_PEAKS = 32_768, (100.0, 65_536.0)
"""Full scale of whole numbers of 16 bits, and peaks between which floats are such numbers: no
recorder of floating point numbers is 40 dB above full scale."""
Source = str | os.PathLike[str] | bytes | BinaryIO


@dataclass(frozen=True)
class Sound:
    """Decoded sound.

    Attributes:
        samples: mono float32, shape ``(n,)``.
        rate: in Hz.
        channels: channels that were mixed down.
        subtype: soundfile subtype, or None where FFmpeg read the file.
        notes: what was done beyond decoding, one line each.
    """

    samples: FloatArray
    rate: int
    channels: int
    subtype: str | None
    notes: tuple[str, ...] = ()


def is_stream(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is ``-``, a pipe or a device: read once, without looking back."""
    if os.fspath(path) == "-":
        return True
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or stat.S_ISSOCK(mode)


def read_stream(path: str | os.PathLike[str]) -> bytes:
    """Read all of standard input (``-``), a pipe or a device.

    Raises:
        AudioError: if it cannot be read, is empty, or holds more than `MAX_STREAM_BYTES`.
    """
    name = os.fspath(path)
    try:
        if name == "-":
            if sys.stdin is None:
                raise AudioError(f"{name}: standard input is closed")
            content = sys.stdin.buffer.read(MAX_STREAM_BYTES + 1)
        else:
            with open(name, "rb") as file:
                content = file.read(MAX_STREAM_BYTES + 1)
    except OSError as error:
        raise AudioError(f"{name}: cannot be read ({error.strerror})") from error
    if not content:
        raise AudioError(f"{name}: nothing came in; pipe a recording into it")
    if len(content) > MAX_STREAM_BYTES:
        raise AudioError(
            f"{name}: more than {MAX_STREAM_BYTES >> 20} MB came in; write it to a file first"
        )
    return content


def read_sound(source: Source, *, max_seconds: float, name: str | None = None) -> Sound:
    """Decode a file to mono samples; rate, channels and length are checked before they are read.

    Args:
        source: a path, ``-`` for standard input, the bytes of a file, or an open binary file.
        max_seconds: refuse longer sound.
        name: what messages call the source; its path by default.

    Raises:
        AudioError: if it is absent, unreadable, empty, too long, or outside the limits of rate
            and channels.
    """
    if isinstance(source, str | os.PathLike):
        label = name or os.fspath(source)
        if is_stream(source):
            source = read_stream(source)
        else:
            check_file(Path(source), label)
            try:
                with open(source, "rb") as file:
                    return _decode(file, label, max_seconds)
            except OSError as error:
                raise AudioError(f"{label}: cannot be read ({error.strerror or error})") from error
    label = name or "the recording"
    if not isinstance(source, bytes) and not hasattr(source, "read"):
        raise AudioError(f"{label}: give a path or the bytes of a file, got {source!r}")
    file_like = io.BytesIO(source) if isinstance(source, bytes) else source
    return _decode(file_like, label, max_seconds)


def check_file(path: Path, name: str) -> None:
    """Refuse what is no file with content."""
    try:
        if path.is_dir():
            raise AudioError(f"{name}: is a folder, not a recording")
        if path.is_symlink() and not path.exists():
            raise AudioError(f"{name}: is a link to {os.readlink(path)}, where no file is")
        if not path.is_file():
            raise AudioError(f"{name}: no such file")
        if path.stat().st_size == 0:
            raise AudioError(f"{name}: the file is empty")
    except (OSError, ValueError) as error:
        raise AudioError(f"{name}: cannot be read ({error})") from error


def _decode(file: IO[bytes], name: str, max_seconds: float) -> Sound:
    """Decode an open file by libsndfile, or by FFmpeg where libsndfile does not know it."""
    layout, blocks = opened(file, name, max_seconds)
    return _mono(blocks, layout, name, max_seconds)


def _starts_with(file: IO[bytes], *marks: bytes) -> bool:
    """Return whether a file begins with one of these four bytes."""
    file.seek(0)
    found = file.read(4) in marks
    file.seek(0)
    return found


@contextmanager
def _quiet(prints: bool) -> Iterator[None]:
    """Keep what libmpg123 prints about damaged MP3 files off the process's standard error."""
    if not prints:
        yield
        return
    with _STDERR, open(os.devnull, "wb") as nowhere:
        try:
            kept = os.dup(2)
        except OSError:  # there is none
            yield
            return
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def opened(
    file: IO[bytes], name: str, max_seconds: float, *, header: bool = False
) -> tuple[Layout, Blocks]:
    """Return an open file's layout, and a function that yields its samples from the start.

    Recordings that lie end to end in it are read one after another.

    Args:
        file: open for reading, seekable.
        name: what messages call it.
        max_seconds: refuse longer sound.
        header: look at the header alone; whole numbers in floats are not found then.

    Raises:
        AudioError: if it is no recording, or holds recordings of several rates.
    """
    bounds = joined_recordings(file)
    if len(bounds) == 1:
        return _opened(file, name, max_seconds, header)
    if len(bounds) > MAX_JOINED:
        raise AudioError(
            f"{name}: more than {MAX_JOINED:,} recordings end to end in one file; part them"
        )
    layouts, parts, unread = [], [], ""
    for number, (start, end) in enumerate(bounds, 1):
        try:
            part = io.BufferedReader(Window(file, start, end))
            layout, blocks = _opened(part, name, max_seconds, header)
        except AudioError:
            if number == 1:
                raise
            unread = f"; part {number} of {len(bounds)} and what follows cannot be read"
            break
        layouts.append(layout)
        parts.append(blocks)
    whole = _joined_layout(layouts, name, unread)
    _check(whole, name, max_seconds)
    return whole, lambda: (block for blocks in parts for block in blocks())


def _joined_layout(layouts: Sequence[Layout], name: str, unread: str) -> Layout:
    """Return the layout of recordings that lie end to end."""
    first = layouts[0]
    other = next((one for one in layouts if _shape(one) != _shape(first)), None)
    if other is not None:
        kinds = [f"{one.rate} Hz with {counted(one.channels, 'channel')}" for one in (first, other)]
        raise AudioError(
            f"{name}: recordings of {' and of '.join(kinds)} lie end to end in it; part them"
        )
    note = f"{len(layouts)} recordings lie end to end in the file, all are read"
    if unread:
        read = counted(
            len(layouts),
            "recording at the start of the file is",
            "recordings at the start of the file are",
        )
        note = f"{read} read{unread}"
    lengths = [one.frames for one in layouts]
    return replace(
        first,
        frames=None if None in lengths else sum(length or 0 for length in lengths),
        note="; ".join(dict.fromkeys(filter(None, (*(one.note for one in layouts), note)))),
    )


def _shape(layout: Layout) -> tuple[int, int]:
    return layout.rate, layout.channels


def _opened(file: IO[bytes], name: str, max_seconds: float, header: bool) -> tuple[Layout, Blocks]:
    """Return layout and samples of one recording."""
    # It may be MP3, whose decoder prints what is damaged.
    prints = not _starts_with(file, b"RIFF", b"RF64", b"fLaC", b"OggS", b"FORM")
    if has_more_data(file):
        raise AudioError(
            f"{name}: its sound stands in several data chunks, of which readers take one; "
            "record or export it anew"
        )
    repaired, note = repaired_wav(file)
    if not header and _starts_with(file, b"OggS"):
        note = ogg_faults(file)
    try:
        with _quiet(prints), sf.SoundFile(repaired) as sound:
            frames = sound.frames if 0 < sound.frames < 1 << 62 else None
            if frames and (missing := lacking(file) * frames / sound.samplerate) >= NOTED:
                note = f"the file ends {missing:.2f} s before its header says"
            layout = Layout(sound.samplerate, sound.channels, sound.subtype, frames, note)
            if frames is None and sound.format == "FLAC":
                raise ValueError("a FLAC stream without its length")  # libsndfile cannot read on
    except (sf.LibsndfileError, RuntimeError, ValueError) as error:
        reason = getattr(error, "error_string", None) or str(error)
        layout, read = by_ffmpeg(file, name, reason.rstrip("."))
        layout = layout.noting(note)
        _check(layout, name, max_seconds)
        return layout, read
    _check(layout, name, max_seconds)
    blocks = partial(_by_libsndfile, repaired, prints, name)
    if layout.subtype in _FLOATS and not header:
        return _to_full_scale(layout, blocks, name, max_seconds)
    return layout, blocks


def _by_libsndfile(file: IO[bytes], prints: bool, name: str) -> Iterator[FloatArray]:
    """Yield the samples of a file that libsndfile knows."""
    file.seek(0)
    try:
        with _quiet(prints):
            sound = sf.SoundFile(file)
        with sound:
            size = max(1, _BLOCK // sound.channels)
            while True:
                with _quiet(prints):
                    block = sound.read(size, dtype="float32", always_2d=True)
                if not len(block):
                    return
                yield block
    except (sf.LibsndfileError, RuntimeError, ValueError) as error:
        raise AudioError(f"{name}: not a readable audio file ({error}); export it anew") from error


def _to_full_scale(
    layout: Layout, blocks: Blocks, name: str, max_seconds: float
) -> tuple[Layout, Blocks]:
    """Divide floats that are whole numbers of 16 bits, as programs write them by mistake."""
    peak = 0.0
    for block in bounded(blocks, layout, name, max_seconds):
        level = np.abs(block)
        peak = max(peak, float(level.max(initial=0.0, where=level <= _WHOLE_PEAKS[1])))
    if peak <= _LOUD:
        return layout, blocks
    if peak <= _WHOLE_PEAKS[0]:
        note = (
            f"it reaches {20 * np.log10(peak):.0f} dB above full scale, which players clip; "
            "-e volume:peak=-1 brings it down"
        )
        return layout.noting(note), blocks
    note = (
        f"the samples reach {peak:.0f}, where 1 is full scale: "
        f"taken for whole numbers of 16 bits and divided by {_WHOLE}"
    )
    return layout.noting(note), lambda: (block / np.float32(_WHOLE) for block in blocks())


def _check(layout: Layout, name: str, max_seconds: float) -> None:
    """Refuse a layout outside the limits."""
    if not MIN_RATE <= layout.rate <= MAX_RATE:
        raise AudioError(
            f"{name}: sample rate {layout.rate} Hz is outside {MIN_RATE}..{MAX_RATE} Hz; "
            "resample it (ffmpeg -i IN -ar 48000 OUT.wav)"
        )
    if layout.channels > MAX_CHANNELS:
        raise AudioError(
            f"{name}: {layout.channels} channels, {MAX_CHANNELS} are the most; pick some of them"
        )
    if layout.seconds > max_seconds:
        raise AudioError(_too_long(name, layout.seconds, max_seconds))
    if (layout.frames or 0) > max_seconds * _FULL_LENGTH_RATE:
        raise AudioError(
            f"{name}: {layout.seconds:.0f} s at {layout.rate} Hz are more than fits; "
            "resample it to 48000 Hz"
        )


def _too_long(name: str, seconds: float, limit: float) -> str:
    lasts = f"{seconds:.0f} s" if seconds < 1e7 else "a year or more"
    return f"{name}: lasts {lasts}, more than the limit of {limit:.0f} s; split it into utterances"


def _most(layout: Layout, max_seconds: float) -> int:
    """Return the number of samples of each channel that are read at most."""
    return round(max_seconds * min(layout.rate, _FULL_LENGTH_RATE))


def bounded(blocks: Blocks, layout: Layout, name: str, max_seconds: float) -> Iterator[FloatArray]:
    """Yield blocks until there are more than the limit allows."""
    count, most = 0, _most(layout, max_seconds)
    for block in blocks():
        count += len(block)
        if count > most:
            raise AudioError(_too_long(name, count / layout.rate, most / layout.rate))
        yield block


def _mono(blocks: Blocks, layout: Layout, name: str, max_seconds: float) -> Sound:
    """Mix blocks down, in two passes where there are several channels."""
    most = _most(layout, max_seconds)
    limited = partial(bounded, blocks, layout, name, max_seconds)
    plan = plan_mixdown(limited, layout.channels, layout.rate)
    samples = np.zeros(min(layout.frames or 0, most), np.float32)
    at = 0
    for block in limited():
        if at + len(block) > len(samples):
            samples = np.concatenate([samples[:at], np.zeros(max(at, len(block)), np.float32)])
        samples[at : at + len(block)] = plan.apply(block)
        at += len(block)
    if not at:
        raise AudioError(f"{name}: the recording holds no samples")
    notes = tuple(note for note in (layout.note, layout.cut_off(at), plan.note) if note)
    return Sound(samples[:at], layout.rate, layout.channels, layout.subtype, notes)
