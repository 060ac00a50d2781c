"""Detection of the watermark after MP3, Opus, other rates, noise and gain."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf

from stepedit_core import Span, StepeditError, Utterance, packaged_speech
from stepedit_marks.watermark import THRESHOLD, confidence, marked

__all__ = ["CONDITIONS", "detection_rows", "recordings"]

_PACKAGED = (
    *("books", "doctor", "doubt", "garden", "hardware", "office", "romance", "surpassed"),
    *("typography", "wind"),
)
_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3")
_LONGEST = 20.0


def _coded(utterance: Utterance, kind: str, subtype: str | None, level: float) -> Utterance:
    """Return an utterance after a lossy codec of libsndfile; level 0 is the best, 1 the worst."""
    buffer = io.BytesIO()
    extra: dict[str, Any] = {"compression_level": level}
    rate = utterance.sample_rate
    sf.write(buffer, utterance.samples, rate, subtype, format=kind, **extra)
    buffer.seek(0)
    return Utterance.from_bytes(buffer.getvalue())


def _mp3(utterance: Utterance, level: float) -> Utterance:
    return _coded(_at_a_codecs_rate(utterance), "MP3", "MPEG_LAYER_III", level)


def _opus(utterance: Utterance) -> Utterance:
    return _coded(_at_a_codecs_rate(utterance), "OGG", "OPUS", 0.9)


def _at_a_codecs_rate(utterance: Utterance) -> Utterance:
    rates = (8_000, 16_000, 24_000, 48_000)
    return utterance.resample(min(rates, key=lambda rate: abs(rate - utterance.sample_rate)))


def _via(rate: int) -> Callable[[Utterance], Utterance]:
    return lambda utterance: utterance.resample(rate).resample(utterance.sample_rate)


def _noisy(utterance: Utterance) -> Utterance:
    """Return an utterance with white noise at 20 dB."""
    level = float(np.sqrt(np.mean(np.square(utterance.samples)))) / 10
    noise = np.random.default_rng(0).standard_normal(len(utterance.samples)) * level
    samples = np.clip(utterance.samples + noise, -1, 1).astype(np.float32)
    return utterance.replace(samples=samples)


def _soft(utterance: Utterance) -> Utterance:
    return utterance.replace(samples=utterance.samples * np.float32(0.25))


def _sixteen_bits(utterance: Utterance) -> Utterance:
    samples = np.round(utterance.samples * 32767) / 32767
    return utterance.replace(samples=samples.astype(np.float32))


CONDITIONS: Mapping[str, Callable[[Utterance], Utterance]] = {
    "as written, 16 bits": _sixteen_bits,
    "MP3, high rate": lambda one: _mp3(one, 0.1),
    "MP3, low rate": lambda one: _mp3(one, 0.9),
    "Opus, low rate": _opus,
    "by 16 kHz": _via(16_000),
    "by 8 kHz": _via(8_000),
    "by 44.1 kHz": _via(44_100),
    "noise at 20 dB": _noisy,
    "12 dB softer": _soft,
}
"""What a file goes through before the mark is looked for."""


def recordings(folder: Path | None, count: int) -> list[Utterance]:
    """Return the packaged recordings, or those of a folder, of at most 20 s each.

    Raises:
        StepeditError: if the folder holds none.
    """
    if folder is None:
        return [packaged_speech(name) for name in _PACKAGED][:count]
    files = sorted(one for one in folder.rglob("*") if one.suffix.lower() in _SUFFIXES)
    if not files:
        raise StepeditError(f"{folder}: no recordings ({', '.join(_SUFFIXES)})")
    step = max(1, len(files) // count)
    read = (Utterance.read(file, max_seconds=3600) for file in files[::step][:count])
    return [one.slice((0.0, min(one.seconds, _LONGEST))) for one in read if one.seconds > 1.5]


def detection_rows(speech: Sequence[Utterance]) -> list[dict[str, Any]]:
    """Return one row for each recording, condition and kind of marking."""
    rows = []
    for number, plain in enumerate(speech):
        middle = (plain.seconds - 1) / 2
        made = {
            "plain": plain,
            "whole": marked(plain, [Span(0.0, plain.seconds)]),
            "second": marked(plain, [Span(middle, middle + 1)]),
        }
        added = made["whole"].samples - plain.samples
        power = float(np.mean(np.square(plain.samples)) / max(1e-12, np.mean(np.square(added))))
        for kind, one in made.items():
            for name, spoil in CONDITIONS.items():
                sure, _ = confidence(spoil(one))
                snr = 10 * float(np.log10(power)) if kind == "whole" else None
                row = {"recording": number, "kind": kind, "condition": name, "snr_db": snr}
                rows.append({**row, "confidence": sure, "found": sure >= THRESHOLD})
    return rows
