"""Longer utterances of a corpus of pieces: neighbouring ones of a speaker, joined by pauses.

Corpora of short recordings hold nothing of the lengths that people bring. The pauses between
sentences last as long as those of read speech (0.2 to 0.9 s), and are filled with the recording's
own room tone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf

from stepedit_core.dsp.room_tone import extend, quietest_stretch
from stepedit_core.dsp.silences import find_speech
from stepedit_core.errors import StepeditError
from stepedit_core.utterance import Span, Utterance
from stepedit_train.data.cache import Array

__all__ = ["joined", "runs_to_join"]

Row = Mapping[str, Any]

PAUSES = (0.2, 0.9)
"""Seconds between the speech of two pieces, drawn evenly."""
EDGE_SECONDS = 0.1
"""Quiet that a piece keeps before and after its speech inside of a joined one."""
MOST_GAIN_DB = 12.0
"""A neighbour whose level lies further off is no neighbour."""


def runs_to_join(
    rows: Iterable[Row], seconds: tuple[float, float], rng: np.random.Generator
) -> Iterator[list[Row]]:
    """Yield runs of two or more neighbouring rows of one speaker, each row in one run at most.

    Args:
        rows: of a manifest of pieces, in order.
        seconds: least and greatest duration of a run; what each aims at is drawn evenly.
        rng: draws.
    """

    def voice(row: Row) -> tuple[Any, ...]:
        names = ("corpus", "speaker", "split", "language", "licence", "source_rate")
        return tuple(str(row.get(name)) for name in names)

    told = [row for row in rows if row.get("text") and row.get("speaker")]
    for _, group in groupby(sorted(told, key=lambda row: (voice(row), row["id"])), key=voice):
        run: list[Row] = []
        length, aim = 0.0, float(rng.uniform(*seconds))
        for row in group:
            longer = length + row["seconds"] + (PAUSES[1] if run else 0.0)
            if run and longer > max(aim, seconds[0]):
                if len(run) > 1 and length >= seconds[0]:
                    yield run
                run, length, aim = [], 0.0, float(rng.uniform(*seconds))
                longer = row["seconds"]
            if longer <= seconds[1]:
                run, length = [*run, row], longer
        if len(run) > 1 and length >= seconds[0]:
            yield run


def joined(folder: Path, run: Sequence[Row], rng: np.random.Generator) -> tuple[Array, Row] | None:
    """Return the samples and the row of several pieces said one after another.

    Later pieces get the level of the first.

    Args:
        folder: of the corpus.
        run: rows of one speaker.
        rng: draws the pauses and their tone.

    Returns:
        None where a piece has no speech or no pause to take room tone from, or where the levels
        lie 12 dB apart.
    """
    parts: list[Array] = []
    rate, level = 0, 0.0
    for row in run:
        samples, rate = sf.read(folder / row["path"], dtype="float32")
        piece = Utterance(samples, rate)
        spoken = find_speech(piece)
        if not spoken:
            return None
        whole = Span(
            max(0.0, spoken[0].start - EDGE_SECONDS),
            min(piece.seconds, spoken[-1].end + EDGE_SECONDS),
        )
        try:
            tone = quietest_stretch(piece)
        except StepeditError:
            return None
        inside = piece.slice(whole).samples
        power = float(np.sqrt(np.mean(np.square(inside, dtype=np.float64))))
        level = level or power
        if abs(20 * np.log10(max(power, 1e-9) / level)) > MOST_GAIN_DB:
            return None
        if parts:
            pause = float(rng.uniform(*PAUSES)) - 2 * EDGE_SECONDS
            parts.append(extend(tone, max(0, round(pause * rate)), rate, rng) * (level / power))
        parts.append(inside * np.float32(level / power))
    samples = _faded(parts, round(0.01 * rate))
    peak = float(np.max(np.abs(samples)))
    row = {
        **run[0],
        "id": f"{run[0]['id']}+{len(run) - 1}",
        "text": " ".join(_sentence(row["text"]) for row in run),
        "seconds": round(len(samples) / rate, 4),
        "joined": len(run),
    }
    return samples / np.float32(max(1.0, peak / 0.99)), row


def _sentence(text: str) -> str:
    """Return a text with a full stop where it ends without a mark."""
    text = text.strip()
    return text if text[-1:] in ".,;:!?" else f"{text}."


def _faded(parts: Sequence[Array], fade: int) -> Array:
    """Return parts one after another, cross-faded at equal power where both are long enough."""
    whole = parts[0]
    for part in parts[1:]:
        n = min(fade, len(whole), len(part))
        rise = np.sin(0.5 * np.pi * (np.arange(n) + 0.5) / max(1, n)).astype(np.float32)
        meet = whole[len(whole) - n :] * rise[::-1] + part[:n] * rise
        whole = np.concatenate([whole[: len(whole) - n], meet, part[n:]])
    return whole
