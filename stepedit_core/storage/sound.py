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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
import numpy.typing as npt
import soundfile as sf

from stepedit_core.dsp.channels import plan_mixdown
from stepedit_core.errors import AudioError
from stepedit_core.storage.wav_header import repaired_wav

__all__ = [
    "MAX_CHANNELS",
    "MAX_RATE",
    "MAX_STREAM_BYTES",
    "MIN_RATE",
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
_CUT_OFF = 0.5
"""Codecs pad, and containers round; a file this much shorter than its header says is cut off."""

# What FFmpeg may open: containers of recordings. Playlists and image sequences name other files.
_CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,asf,aac,amr,avi,flv,mpegts,mpeg,ac3,eac3,caf,wv,tta,"
    "ape,mp3,ogg,flac,wav,w64,aiff,au,dsf,loas,latm"
)

FloatArray = npt.NDArray[np.float32]
Source = str | os.PathLike[str] | bytes | BinaryIO
Blocks = Callable[[], Iterator[FloatArray]]


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


@dataclass(frozen=True)
class Layout:
    """Properties of a file that a decoder gives before its samples are read."""

    rate: int
    channels: int
    subtype: str | None
    frames: int | None
    note: str | None = None

    @property
    def seconds(self) -> float:
        """Length that the header promises, 0 where it has none."""
        return (self.frames or 0) / self.rate

    def cut_off(self, frames: int) -> str | None:
        """Return a note that a file holds fewer frames than its header promises, or None."""
        missing = self.seconds - frames / self.rate
        return (
            f"the file ends {missing:.2f} s before its header says" if missing > _CUT_OFF else None
        )


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
    file_like = io.BytesIO(source) if isinstance(source, bytes) else source
    return _decode(file_like, label, max_seconds)


def check_file(path: Path, name: str) -> None:
    """Refuse what is no file with content."""
    try:
        if path.is_dir():
            raise AudioError(f"{name}: is a folder, not a recording")
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


def _prints(file: IO[bytes]) -> bool:
    """Return whether a file may be MP3, whose decoder prints what is damaged."""
    file.seek(0)
    known = file.read(4) in (b"RIFF", b"RF64", b"fLaC", b"OggS", b"FORM")
    file.seek(0)
    return not known


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


def opened(file: IO[bytes], name: str, max_seconds: float) -> tuple[Layout, Blocks]:
    """Return an open file's layout, and a function that yields its samples from the start."""
    prints = _prints(file)
    repaired, note = repaired_wav(file)
    try:
        with _quiet(prints), sf.SoundFile(repaired) as sound:
            frames = sound.frames if 0 < sound.frames < 1 << 62 else None
            layout = Layout(sound.samplerate, sound.channels, sound.subtype, frames, note)
    except (sf.LibsndfileError, RuntimeError, ValueError) as error:
        reason = getattr(error, "error_string", None) or str(error)
        return _by_ffmpeg(file, name, max_seconds, reason.rstrip("."))
    _check(layout, name, max_seconds)

    def blocks() -> Iterator[FloatArray]:
        repaired.seek(0)
        try:
            with _quiet(prints):
                sound = sf.SoundFile(repaired)
            with sound:
                size = max(1, _BLOCK // sound.channels)
                while True:
                    with _quiet(prints):
                        block = sound.read(size, dtype="float32", always_2d=True)
                    if not len(block):
                        break
                    yield block
        except (sf.LibsndfileError, RuntimeError, ValueError) as error:
            raise AudioError(
                f"{name}: not a readable audio file ({error}); export it anew"
            ) from error

    return layout, blocks


def _check(layout: Layout, name: str, max_seconds: float) -> None:
    """Refuse a layout outside the limits."""
    if not MIN_RATE <= layout.rate <= MAX_RATE:
        raise AudioError(
            f"{name}: sample rate {layout.rate} Hz is outside {MIN_RATE}..{MAX_RATE} Hz; "
            "resample the recording"
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


# FFmpeg -----------------------------------------------------------------------------------


def _by_ffmpeg(
    file: IO[bytes], name: str, max_seconds: float, reason: str
) -> tuple[Layout, Blocks]:
    """Open by PyAV what libsndfile refused for a reason."""
    cure = "convert it to WAV: ffmpeg -i IN OUT.wav"
    try:
        import av
    except ImportError as error:
        raise AudioError(
            f"{name}: not a readable audio file ({reason}); pip install av, or {cure}"
        ) from error

    @contextmanager
    def opened() -> Iterator[tuple[Any, Any]]:
        file.seek(0)
        options = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "none"}
        with av.open(file, "r", options=options, metadata_errors="ignore") as container:
            if not container.streams.audio:
                raise AudioError(f"{name}: there is no sound in it")
            yield container, container.streams.audio[0]

    errors = (av.error.FFmpegError, ValueError, OverflowError, AttributeError)
    complaint = f"{name}: not a readable audio file ({reason}); {cure}"

    def blocks() -> Iterator[FloatArray]:
        try:
            with opened() as (container, stream):
                for frame in container.decode(stream):
                    yield _frame_samples(frame, layout)
        except errors as error:
            raise AudioError(complaint) from error

    try:
        with opened() as (container, stream):
            layout = _stream_layout(container, stream)
        _check(layout, name, max_seconds)
    except errors as error:
        raise AudioError(complaint) from error
    return layout, blocks


def _stream_layout(container: Any, stream: Any) -> Layout:
    """Return rate, channels and length of a stream of FFmpeg's."""
    if not stream.rate or not stream.channels:
        raise ValueError("no rate or channels")
    seconds = 0.0
    if stream.duration is not None and stream.time_base is not None:
        seconds = float(stream.duration * stream.time_base)
    elif container.duration is not None:
        seconds = container.duration / 1_000_000
    note = f"read by FFmpeg through PyAV ({stream.codec_context.name})"
    frames = round(seconds * stream.rate) if seconds > 0 else None
    return Layout(int(stream.rate), int(stream.channels), None, frames, note)


def _frame_samples(frame: Any, layout: Layout) -> FloatArray:
    """Return a decoded frame as float32 of shape ``(n, channels)``."""
    if frame.sample_rate != layout.rate or frame.layout.nb_channels != layout.channels:
        raise ValueError("rate or channels change within the file")
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, layout.channels).T
    if samples.dtype.kind == "u":
        samples = samples.astype(np.float32) / 128 - 1
    elif samples.dtype.kind == "i":
        samples = samples.astype(np.float32) / np.float32(2.0 ** (8 * samples.dtype.itemsize - 1))
    return np.ascontiguousarray(samples.T, dtype=np.float32)
