"""Read by FFmpeg, through PyAV, what libsndfile does not know: what phones and browsers record."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import numpy as np

from stepedit_core.errors import AudioError
from stepedit_core.storage.layout import Blocks, FloatArray, Layout

__all__ = ["by_ffmpeg"]

# What FFmpeg may open: containers of recordings. Playlists and image sequences name other files.
_CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,asf,aac,amr,avi,flv,mpegts,mpeg,ac3,eac3,caf,wv,tta,"
    "ape,mp3,ogg,flac,wav,w64,aiff,au,dsf,loas,latm"
)
_GAP = 0.1
"""Seconds without packets from which on nothing was recorded; time stamps are rounded."""
_PIECE = 1 << 18  # samples of all channels in one block of silence


def by_ffmpeg(file: IO[bytes], name: str, reason: str) -> tuple[Layout, Blocks]:
    """Return the layout of a file that libsndfile refused for a reason, and its samples.

    Of several sound tracks FFmpeg's best is read. Where nothing was recorded for a while, as by
    a browser whose microphone was muted, there is silence, so that times stay what they were.

    Raises:
        AudioError: if it is no recording, or PyAV is not installed.
    """
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
            yield container, container.streams.best("audio") or container.streams.audio[0]

    errors = (av.error.FFmpegError, ValueError, OverflowError, AttributeError)
    complaint = f"{name}: not a readable audio file ({reason}); {_written(file) or cure}"

    def blocks() -> Iterator[FloatArray]:
        try:
            with opened() as (container, stream):
                yield from _in_time(container, stream, layout)
        except errors as error:
            raise AudioError(complaint) from error

    try:
        with opened() as (container, stream):
            layout = _layout(container, stream)
    except errors as error:
        raise AudioError(complaint) from error
    return layout, blocks


def _written(file: IO[bytes]) -> str | None:
    """Say what a text is that bears the name of a recording, and what to do; None if it is none."""
    file.seek(0)
    start = file.read(512)
    head = start.lstrip().lower()
    if head.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS: git lfs pull fetches the recording"
    if head.startswith((b"<!doctype html", b"<html")):
        return "it is a web page: fetch the recording itself"
    if start.startswith(b"ID3") and _is_tag_alone(file, start):
        return "it holds a tag (ID3) and no sound behind it: fetch it again"
    return None


def _is_tag_alone(file: IO[bytes], head: bytes) -> bool:
    """Return whether nothing but zero bytes follow the ID3 tag that a file begins with."""
    size = 0
    for byte in head[6:10]:  # seven bits in each
        size = size << 7 | byte & 0x7F
    file.seek(10 + size)
    return not file.read(1 << 16).strip(b"\0")


def _layout(container: Any, stream: Any) -> Layout:
    """Return rate, channels and length of a stream, and what is to be said about it."""
    if not stream.rate or not stream.channels:
        raise ValueError("no rate or channels")
    notes = [f"read by FFmpeg through PyAV ({stream.codec_context.name})"]
    tracks = container.streams.audio
    if len(tracks) > 1:
        place = 1 + [track.index for track in tracks].index(stream.index)
        notes.append(
            f"sound track {place} of {len(tracks)} is read; for another one: "
            "ffmpeg -i IN -map 0:a:1 OUT.wav"
        )
    seconds = begin = 0.0
    if stream.duration is not None and stream.time_base is not None:
        seconds = float(stream.duration * stream.time_base)
    elif container.duration is not None:
        seconds = container.duration / 1_000_000
        # A container lasts from the time 0 to its end.
        if stream.start_time is not None and stream.time_base is not None:
            begin = max(0.0, float(stream.start_time * stream.time_base))
            seconds -= begin
    if begin > _GAP:
        notes.append(f"its sound begins {begin:.2f} s into the file, where times count from 0")
    gaps = _gaps(container, stream)
    if gaps:
        notes.append(f"{gaps:.2f} s in which nothing was recorded are silence")
    frames = round(seconds * stream.rate) if seconds > 0 else None
    return Layout(int(stream.rate), int(stream.channels), None, frames, "; ".join(notes))


def _gaps(container: Any, stream: Any) -> float:
    """Return the seconds within a stream that no packet covers; nothing is decoded."""
    total, end = 0.0, None
    for packet in container.demux(stream):
        if packet.pts is None or not packet.duration:
            continue
        begin = float(packet.pts * packet.time_base)
        if end is not None and begin - end > _GAP:
            total += begin - end
        end = begin + float(packet.duration * packet.time_base)
    return total


def _in_time(container: Any, stream: Any, layout: Layout) -> Iterator[FloatArray]:
    """Yield a stream's samples, and silence where its time stamps leave a gap."""
    first: float | None = None
    done = 0
    for frame in container.decode(stream):
        samples = _frame_samples(frame, layout)
        if frame.time is not None:
            first = frame.time if first is None else first
            missing = round((frame.time - first) * layout.rate) - done
            if missing > _GAP * layout.rate:
                done += missing
                yield from _silence(missing, layout.channels)
        done += len(samples)
        yield samples


def _silence(frames: int, channels: int) -> Iterator[FloatArray]:
    size = max(1, _PIECE // channels)
    while frames > 0:
        yield np.zeros((min(size, frames), channels), np.float32)
        frames -= size


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
