"""Accuracy on the public benchmark, counted by our rule and by the public one.

The public scripts (stepfun-ai/Step-Audio-Edit-Benchmark, ``get_gemini_emotion_style_acc.py``
and ``get_gemini_paralingustic_score.py``) take accuracy per iteration, speaker and class, then
the mean over classes for each speaker, then leave the rest to the reader. They

1. drop answers that are neither a class nor the text ``None``, such as ``normal``, ``serious`` or
   JSON's null, instead of counting them wrong, so that denominators shrink (``gemini_infer.py``
   keeps ``None``, which its prompt prefers when in doubt: it counts as wrong);
2. do so before the two aliases of labels are resolved, which therefore never are;
3. drop answers that are no number from paralinguistic scores;
4. cannot go on when an iteration, speaker or class is missing.

``public`` repeats this for comparison with published figures. Ours counts an answer outside
the classes as wrong, resolves aliases, and leaves out only cases that no judge has answered,
stating how many.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from stepedit_core.errors import StepeditError

__all__ = ["ALIASES", "Cell", "Counting", "count", "verdict_on"]

Counting = Literal["ours", "public"]
Row = Mapping[str, Any]
ALIASES: Mapping[str, str] = {"act_cute": "act_coy", "whisper (ASMR)": "whisper"}
"""Labels that the public judge prompt uses, and the class that each means."""
EMOTION_LABELS = ("happy", "angry", "sad", "fear", "surprised", "neutral")


@dataclass(frozen=True)
class Cell:
    """One figure of a table.

    Attributes:
        language: rows of one language, or ``avg`` for the mean over languages.
        iteration: 0 for the clone that edits start from.
        value: accuracy in percent, or a mean rating 1..3.
        counted: rows in the denominator.
        dropped: rows left out.
    """

    language: str
    iteration: int
    value: float
    counted: int
    dropped: int


NONE = "None"
"""The text by which the public judge says that no class fits; public scripts count it as wrong."""


def verdict_on(row: Row) -> Mapping[str, Any] | None:
    """Return the judge's last verdict on a row's own recording, or None.

    A scorer may ask about other recordings, too, such as the one before the edit. Rows of older
    runs do not say which recording was judged; there the first verdict is the one.
    """
    verdicts = row.get("verdicts") or []
    own = [item for item in verdicts if item.get("task") == row["edit"]]
    audio = row.get("audio_sha256")
    named = [item for item in own if audio and item.get("audio_sha256") == audio]
    return named[-1] if named else own[0] if own else None


def _mark(row: Row, counting: Counting, classes: Sequence[str]) -> float | None:
    """Return a row's value in its mean, or None where it is left out."""
    if row.get("status", "ok") != "ok":
        return None if counting == "public" else _worst(row)
    verdict = verdict_on(row)
    if verdict is None or verdict.get("refused"):
        return None
    if row["edit"] == "paralinguistic":
        score = verdict.get("score")
        return None if score is None else float(score)
    label = verdict.get("label")
    if counting == "public":
        known = EMOTION_LABELS if row["edit"] == "emotion" else tuple(classes)
        said = verdict.get("said") or label
        # As it was written: an alias is a stranger there, whatever we read it as.
        return float(said == row["class"]) if said == NONE or said in known else None
    return float(ALIASES.get(str(label), label) == row["class"])


def _worst(row: Row) -> float:
    """Return the mark of a recording that could not be made."""
    return 1.0 if row["edit"] == "paralinguistic" else 0.0


def count(rows: Iterable[Row], counting: Counting = "ours") -> list[Cell]:
    """Return one figure per language and iteration, and their mean over languages.

    Args:
        rows: of one edit; rows of the identity edit are not counted.
        counting: ``ours`` or ``public``.

    Raises:
        StepeditError: in the public way of counting, if a speaker lacks a class or an
            iteration: it has no figure for incomplete sets.
    """
    kept = [row for row in rows if row["condition"] in {"source", "edit"}]
    rated = bool(kept) and kept[0]["edit"] == "paralinguistic"
    # Ratings are averaged over a speaker's rows, accuracies over his classes first.
    classes = [""] if rated else sorted({row["class"] for row in kept})
    groups: dict[tuple[str, int, str, str], list[float]] = {}
    dropped: dict[tuple[str, int], int] = {}
    for row in kept:
        label = "" if rated else row["class"]
        key = (row["language"], row["iteration"], row["speaker"], label)
        groups.setdefault(key, [])
        mark = _mark(row, counting, classes)
        if mark is None:
            dropped[key[:2]] = dropped.get(key[:2], 0) + 1
        else:
            groups[key].append(mark)
    if counting == "public":
        _need_complete(groups, classes)
    return _cells(groups, dropped, percent=not rated)


def _need_complete(
    groups: Mapping[tuple[str, int, str, str], list[float]], classes: list[str]
) -> None:
    """Refuse sets that the public scripts end with a KeyError on."""
    iterations = sorted({key[1] for key in groups})
    speakers = sorted({(key[0], key[2]) for key in groups})
    for language, speaker in speakers:
        for iteration in iterations:
            for label in classes:
                if not groups.get((language, iteration, speaker, label)):
                    raise StepeditError(
                        "the public way of counting needs complete sets: "
                        f"speaker {speaker}, iteration {iteration}, class {label} has no figure"
                    )


def _cells(
    groups: Mapping[tuple[str, int, str, str], list[float]],
    dropped: Mapping[tuple[str, int], int],
    *,
    percent: bool,
) -> list[Cell]:
    """Average over classes for each speaker, then speakers, then languages."""
    scale = 100.0 if percent else 1.0
    cells: list[Cell] = []
    iterations = sorted({key[1] for key in groups})
    languages = sorted({key[0] for key in groups})
    for iteration in iterations:
        own: list[Cell] = []
        for language in languages:
            here = {key: marks for key, marks in groups.items() if key[:2] == (language, iteration)}
            speakers: dict[str, list[float]] = {}
            for key, marks in here.items():
                if marks:
                    speakers.setdefault(key[2], []).append(float(np.mean(marks)))
            if speakers:
                value = scale * float(np.mean([np.mean(means) for means in speakers.values()]))
                counted = sum(len(marks) for marks in here.values())
                left = dropped.get((language, iteration), 0)
                own.append(Cell(language, iteration, value, counted, left))
        cells += own
        if own:
            mean = float(np.mean([cell.value for cell in own]))
            totals = sum(cell.counted for cell in own), sum(cell.dropped for cell in own)
            cells.append(Cell("avg", iteration, mean, *totals))
    return cells
