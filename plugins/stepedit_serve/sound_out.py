"""Audio as it is sent: files of several formats, and PCM in chunks."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile as sf

from stepedit_core import SoundWriter, StepeditError, Utterance, codec_rate

__all__ = [
    "MEDIA_TYPES",
    "encode",
    "pcm16",
    "rewrite",
    "streamed_wav_header",
    "wav_chunks",
]

FloatArray = npt.NDArray[np.float32]
MEDIA_TYPES = {
    "wav": "audio/wav",
    "flac": "audio/flac",
    "mp3": "audio/mpeg",
    "ogg": "audio/ogg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "pcm": "audio/pcm",
}
_KINDS = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
}
_FINER = ("PCM_24", "PCM_32", "FLOAT", "DOUBLE")
_UNKNOWN = 0xFFFFFFFF
_BLOCK = 1 << 18


def _subtype(kind: str, read_as: str | None) -> tuple[str, str]:
    """Return soundfile's format and subtype; formats without loss keep the source's fineness."""
    container, subtype = _KINDS[kind]
    if read_as in _FINER and kind in ("wav", "flac"):
        subtype = str(read_as) if kind == "wav" else "PCM_24"
    return container, subtype


def encode(utterance: Utterance, kind: str) -> bytes:
    """Return an utterance as a file of one of `MEDIA_TYPES`.

    Raises:
        StepeditError: if it cannot be written.
    """
    if kind == "pcm":
        return pcm16(utterance.samples)
    fitting = utterance.resample(codec_rate(kind, utterance.sample_rate))
    if kind == "aac":
        return _aac(fitting)
    container, subtype = _subtype(kind, utterance.subtype)
    out = io.BytesIO()
    try:
        sf.write(out, fitting.samples, fitting.sample_rate, subtype=subtype, format=container)
    except sf.LibsndfileError as error:
        raise StepeditError(f"the audio cannot be written as {kind}: {error}") from error
    return out.getvalue()


def rewrite(source: Path, target: Path, kind: str, read_as: str | None) -> None:
    """Write a WAV file of any length as another format, block by block.

    Raises:
        StepeditError: if it cannot be written.
        OSError: if the disk is full.
    """
    container, subtype = _subtype(kind, read_as)
    try:
        with sf.SoundFile(source) as sound:
            rate = codec_rate(kind, sound.samplerate)
            expected = round(sound.frames * rate / sound.samplerate)
            with SoundWriter(target, rate, container, subtype, expected) as out:
                for block in _at_rate(sound, rate):
                    out.write(block)
    except sf.LibsndfileError as error:
        raise StepeditError(f"the audio cannot be written as {kind}: {error}") from error


def _at_rate(sound: sf.SoundFile, rate: int) -> Iterator[FloatArray]:
    """Yield the samples of an open file at a rate in Hz."""
    import soxr

    stream = None
    if rate != sound.samplerate:
        stream = soxr.ResampleStream(sound.samplerate, rate, 1, dtype="float32", quality="VHQ")
    while True:
        block = sound.read(_BLOCK, dtype="float32")
        is_last = len(block) < _BLOCK
        yield block if stream is None else stream.resample_chunk(block, last=is_last)
        if is_last:
            return


def _aac(utterance: Utterance) -> bytes:
    """Return an utterance as AAC in ADTS frames, by FFmpeg."""
    import av

    out = io.BytesIO()
    with av.open(out, "w", format="adts") as container:
        stream = container.add_stream("aac", rate=utterance.sample_rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(utterance.samples[None]), format="fltp", layout="mono"
        )
        frame.sample_rate = utterance.sample_rate
        for part in (frame, None):
            for packet in stream.encode(part):
                container.mux(packet)
    return out.getvalue()


def pcm16(samples: FloatArray) -> bytes:
    """Return samples as 16 bit integers, little endian."""
    whole = np.clip(np.round(samples.astype(np.float64) * 32768), -32768, 32767)
    return whole.astype("<i2").tobytes()


def streamed_wav_header(rate: int) -> bytes:
    """Return the header of a WAV file of 16 bit whose length nobody knows yet."""
    return (
        struct.pack("<4sI4s", b"RIFF", _UNKNOWN, b"WAVE")
        + struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16)
        + struct.pack("<4sI", b"data", _UNKNOWN)
    )


def wav_chunks(chunks: Iterable[FloatArray], rate: int) -> Iterator[bytes]:
    """Yield a streamed WAV file: one header, then samples as they come."""
    yield streamed_wav_header(rate)
    for chunk in chunks:
        yield pcm16(chunk)
