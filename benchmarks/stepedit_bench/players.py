"""Which cases to listen to, and their recordings as data that a page can carry."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf

from stepedit_core.errors import StepeditError
from stepedit_core.utterance import Utterance

__all__ = ["Clip", "Listening", "choose", "embed"]

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Clip:
    """One recording in the page."""

    title: str
    data: str


@dataclass(frozen=True)
class Listening:
    """One case to listen to: why it was chosen, what was measured, its recordings."""

    why: str
    case: str
    request: str
    notes: str
    clips: tuple[Clip, ...]


def embed(path: Path) -> str:
    """Return a recording as a ``data:`` address: MP3, mono, at most 24 kHz."""
    speech = Utterance.read(path)
    speech = speech.resample(min(speech.sample_rate, 24_000))
    rate = min(
        (8_000, 11_025, 12_000, 16_000, 22_050, 24_000), key=lambda r: abs(r - speech.sample_rate)
    )
    buffer = io.BytesIO()
    samples = np.clip(speech.resample(rate).samples, -1, 1)
    sf.write(buffer, samples, rate, format="MP3", subtype="MPEG_LAYER_III")
    return "data:audio/mpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _merit(row: Row) -> tuple[float, ...]:
    """Return a key that is higher for a better row: verdicts first, then words and voice."""
    kept = row.get("kept") or {}
    text = kept.get("text") or {}
    verdicts = [float(bool(row.get(name))) for name in ("joint", "reached", "preserved")]
    words, voice = text.get("rate"), kept.get("speaker_similarity")
    return (
        *verdicts,
        -(1.0 if words is None else float(words)),
        0.0 if voice is None else float(voice),
    )


def choose(rows: Sequence[Row], seed: int, *, each: int = 2) -> list[tuple[str, Row]]:
    """Return the best, the worst and random rows that were made, each with why.

    Args:
        rows: of one edit at its last iteration.
        seed: of the random choice.
        each: how many of each kind.
    """
    made = sorted((row for row in rows if row["status"] == "ok"), key=_merit, reverse=True)
    best, rest = made[:each], made[each:]
    worst = rest[-each:][::-1]
    middle = rest[: len(rest) - len(worst)]
    rng = np.random.default_rng(seed)
    picked = [int(place) for place in rng.permutation(len(middle))[:each]]
    return [
        *(("best", row) for row in best),
        *(("worst", row) for row in worst),
        *(("random", middle[place]) for place in picked),
    ]


def _notes(row: Row) -> str:
    """Return verdicts and failed checks in words."""
    words = {True: "yes", False: "no", None: "not measured"}
    failed = [name for name, passed in (row.get("checks") or {}).items() if passed is False]
    parts = [f"reached: {words[row['reached']]}", f"preserved: {words[row.get('preserved')]}"]
    if failed:
        parts.append("failed: " + ", ".join(failed))
    if row.get("unscored"):
        parts.append(str(row["unscored"]))
    return "; ".join(parts)


def listen(rows: Sequence[Row], folder: Path, seed: int) -> list[Listening]:
    """Return what to listen to for one edit.

    Args:
        rows: all rows of the edit.
        folder: the run's folder, which holds the recordings.
        seed: of the random choice.

    Raises:
        StepeditError: if the results name a recording outside the folder.
    """
    by_case: dict[str, list[Row]] = {}
    for row in rows:
        if row.get("audio"):
            by_case.setdefault(row["case"], []).append(row)
    last = max((row["iteration"] for row in rows), default=0)
    finals = [row for row in rows if row["condition"] == "edit" and row["iteration"] == last]
    chosen: list[Listening] = []
    for why, row in choose(finals, seed):
        clips = tuple(
            Clip(_title(item), embed(path))
            for item in by_case.get(row["case"], ())
            if (path := _inside(folder, item["audio"])).is_file()
        )
        request = ", ".join(f"{k}={v}" for k, v in row["request"].items() if k != "edit")
        chosen.append(Listening(why, row["case"], request, _notes(row), clips))
    return chosen


def _inside(folder: Path, name: str) -> Path:
    """Return a recording of a run; a page that is passed on holds nothing from elsewhere.

    Raises:
        StepeditError: if it lies outside the run's folder, by its name or by a link.
    """
    path = folder / name
    if "\0" in name or not path.resolve().is_relative_to(folder.resolve()):
        raise StepeditError(
            f"{folder}: its results name a recording outside the folder ({name[:120]}); "
            "restore results.jsonl, or write the report with --no-players"
        )
    return path


def _title(row: Row) -> str:
    return f"iteration {row['iteration']}" if row["condition"] == "edit" else str(row["condition"])
