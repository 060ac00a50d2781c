"""Choose the cases to listen to, and embed their recordings into the report."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf

from stepedit_bench.columns import Column, column_of, stratum_of, tags_of
from stepedit_core.errors import StepeditError
from stepedit_core.utterance import Utterance

__all__ = ["Cell", "Listening", "choose", "embed", "listen", "of_strata"]

Row = Mapping[str, Any]
_CASES = 6
"""Cases of an edit to listen to."""


@dataclass(frozen=True)
class Cell:
    """One recording of a case: its player, and what was measured.

    Attributes:
        data: the recording as a ``data:`` address, or None where none was made.
        verdict: ``yes``, ``no`` or ``open`` for joint success; empty where nobody judged.
        notes: numbers and failed checks.
    """

    data: str | None
    verdict: str
    notes: str


@dataclass(frozen=True)
class Listening:
    """One case to listen to: why it was chosen, what is asked, its recordings by column."""

    why: str
    case: str
    request: str
    tags: Mapping[str, str]
    cells: Mapping[Column, Cell]


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
    """Return the measurements of a recording, in few words."""
    if row.get("problem"):
        return str(row["problem"])
    kept = row.get("kept") or {}
    text = kept.get("text") or {}
    failed = [name for name, passed in (row.get("checks") or {}).items() if passed is False]
    parts = [
        "" if text.get("rate") is None else f"{text['unit']} error {100 * text['rate']:.0f} %",
        "" if kept.get("speaker_similarity") is None else f"voice {kept['speaker_similarity']:.2f}",
        "" if kept.get("dnsmos_ovrl") is None else f"DNSMOS {kept['dnsmos_ovrl']:.2f}",
        "target missed" if row.get("reached") is False else "",
        f"damaged: {', '.join(failed)}" if failed else "",
        str(row.get("unscored") or ""),
    ]
    return "; ".join(part for part in parts if part)


def _verdict(row: Row) -> str:
    if "joint" not in row:
        return ""
    return {True: "yes", False: "no", None: "open"}[row["joint"]]


def listen(
    rows: Sequence[Row], folders: Sequence[Path], seed: int, around: Path | None = None
) -> list[Listening]:
    """Return the recordings to listen to for one edit.

    Args:
        rows: all rows of the edit, of one run or of several.
        folders: of the runs, which hold the recordings.
        seed: of the random choice.
        around: folder that holds recordings which several runs share; None: there is none.

    Raises:
        StepeditError: if the results name a recording outside the folder.
    """
    by_case: dict[str, list[Row]] = {}
    for row in rows:
        by_case.setdefault(row["case"], []).append(row)
    edited = [row for row in rows if row["condition"] == "edit" and not row.get("run")]
    last = max((row["iteration"] for row in edited), default=0)
    finals = [row for row in edited if row["iteration"] == last]
    if not finals:
        finals = [row for row in rows if row["condition"] == "identity"]
    return [
        _listening(why, row, by_case[row["case"]], folders, around)
        for why, row in of_strata(finals, seed)
    ]


def of_strata(rows: Sequence[Row], seed: int) -> list[tuple[str, Row]]:
    """Return the rows to listen to, as many of each stratum, so that each filter leaves some."""
    strata = sorted({stratum_of(row) for row in rows})
    if len(strata) < 2:
        return choose(rows, seed)
    each, found = max(1, _CASES // len(strata)), []
    for number, stratum in enumerate(strata):
        picked = choose([row for row in rows if stratum_of(row) == stratum], seed, each=each)
        whys = dict.fromkeys(why for why, _ in picked)
        turns = [[one for one in picked if one[0] == why] for why in whys]
        mixed = [one for turn in zip_longest(*turns) for one in turn if one is not None]
        first = number % max(1, len(turns))
        found += [*mixed[first:], *mixed[:first]][:each]
    return found


def _listening(
    why: str, row: Row, rows: Sequence[Row], folders: Sequence[Path], around: Path | None
) -> Listening:
    """Return a case with all its recordings."""
    asked = {**row["request"]}
    edits = asked.pop("edits", None)
    request = ", ".join(f"{k}={v}" for k, v in asked.items() if k != "edit" and v is not None)
    if edits is not None:
        request = ", ".join(str(edit["edit"]) for edit in edits) or "tokenize, decode"
    cells: dict[Column, Cell] = {}
    for item in rows:
        folder = folders[item.get("run", 0)]
        path = _inside(folder, item["audio"], around or folder) if item.get("audio") else None
        data = embed(path) if path is not None and path.is_file() else None
        cells[column_of(item)] = Cell(data, _verdict(item), _notes(item))
    tags = {**tags_of(row), "joint": _verdict(row) or "open"}
    return Listening(why, row["case"], request, tags, cells)


def _inside(folder: Path, name: str, around: Path) -> Path:
    """Return a recording of a run; a page that is passed on holds nothing from elsewhere.

    Raises:
        StepeditError: if it lies outside the run's folder, by its name or by a link.
    """
    path = folder / name
    if "\0" in name or not path.resolve().is_relative_to(around.resolve()):
        raise StepeditError(
            f"{folder}: its results name a recording outside the folder ({name[:120]}); "
            "restore results.jsonl, or write the report with --no-players"
        )
    return path
