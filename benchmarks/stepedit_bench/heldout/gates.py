"""Definitions of the figures: statistic, gate and goal of each.

An engine that misses a gate is experimental; a goal is what good engines reach. Failed edits
count: as missed targets, lost words, early stops. What a scorer could not judge is left out and
counted in the report. ``identity`` is the identity edit (tokenize, decode).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stepedit_bench.conditions import BY_ENGINE

__all__ = ["BESIDE", "GATES", "SHORT", "Gate", "Numbers", "Rows"]

BESIDE = ("source", "dsp", "world", "identity", "target")
"""Conditions that can stand beside the one that is judged."""
SHORT = 0.75
"""An output below this share of the speech time asked for has stopped early."""

Rows = Mapping[str, Sequence[Mapping[str, Any]]]
"""The rows of one unit: condition to one row for each edit."""
FloatArray = npt.NDArray[np.float64]
Numbers = tuple[float, ...] | None
"""What one item adds to a figure; None where it could not be measured."""
Measure = Callable[[Rows, str], Numbers]
Statistic = Callable[..., float]


@dataclass(frozen=True)
class Gate:
    """One figure.

    Attributes:
        name: ``row.figure``.
        unit: of value, gate and goal.
        gate: the engine is experimental on the wrong side of it.
        goal: what is aimed at.
        measure: what one item adds, in a condition.
        statistic: columns of what items add to the figure.
        beside: conditions to show beside.
        higher: whether more is better.
        share: whether it is a share of cases, which has Wilson's interval where all agree.
    """

    name: str
    unit: str
    gate: float
    goal: float
    measure: Measure
    statistic: Statistic
    beside: Sequence[str] = BESIDE
    higher: bool = False
    share: bool = False

    @property
    def row(self) -> str:
        """The row of items that it is taken from."""
        return self.name.partition(".")[0]

    @property
    def condition(self) -> str:
        """The condition that is judged."""
        return "identity" if self.row == "identity" else "edit"

    def meets(self, value: float, limit: float) -> bool:
        """Return whether a value is on the right side of a limit."""
        return value >= limit if self.higher else value <= limit


def pooled(part: FloatArray, whole: FloatArray) -> float:
    """Return a ratio of sums, in percent: long utterances weigh more."""
    return 100 * float(part.sum() / whole.sum())


def mean(values: FloatArray) -> float:
    """Return the mean."""
    return float(values.mean())


def median(values: FloatArray) -> float:
    """Return the median."""
    return float(np.median(values))


def percent(values: FloatArray) -> float:
    """Return a share in percent."""
    return 100 * float(values.mean())


def _failed(rows: Rows, condition: str) -> bool:
    """Return whether an edit of a condition failed."""
    return any(row["status"] != "ok" for row in rows.get(condition, ()))


def _counts(
    rows: Rows, condition: str, recogniser: str, what: str, place: int = -1
) -> tuple[int, int] | None:
    """Return a recogniser's count and the number of words expected."""
    own = rows.get(condition)
    if not own or _failed(rows, condition):
        return None
    counts = own[place].get("words", {}).get(recogniser)
    return None if counts is None else (counts[what], counts["length"])


def _yardstick(base: str, condition: str) -> str:
    """Return what a condition is compared with: what no engine made, with the source."""
    return base if condition in BY_ENGINE and base != condition else "source"


def _added(recogniser: str, base: str, what: str = "errors") -> Measure:
    """Count errors beyond those of another condition; of dsp and the like, beyond the source."""

    def measure(rows: Rows, condition: str) -> Numbers:
        before = _counts(rows, _yardstick(base, condition), recogniser, what)
        if before is None or condition not in rows:
            return None
        if _failed(rows, condition):
            return float(before[1] - before[0]), float(before[1])
        after = _counts(rows, condition, recogniser, what)
        return None if after is None else (float(after[0] - before[0]), float(before[1]))

    return measure


def _plain_error(recogniser: str) -> Measure:
    """Count errors against the words that ought to be heard."""

    def measure(rows: Rows, condition: str) -> Numbers:
        if _failed(rows, condition):
            return 1.0, 1.0
        found = _counts(rows, condition, recogniser, "errors")
        return None if found is None else (float(found[0]), float(found[1]))

    return measure


def _growth(recogniser: str) -> Measure:
    """Count errors that each edit after the first one adds along a chain."""

    def measure(rows: Rows, condition: str) -> Numbers:
        edits = max(map(len, rows.values()))
        before = _counts(rows, "source", recogniser, "errors")
        if before is not None and _failed(rows, condition):
            return float(before[1]), float(before[1] * (edits - 1))
        first = _counts(rows, condition, recogniser, "errors", 0)
        last = _counts(rows, condition, recogniser, "errors", -1)
        if first is None or last is None:
            return None
        return float(last[0] - first[0]), float(first[1] * (edits - 1))

    return measure


def _kept(name: str, base: str | None = None, sign: float = 1.0) -> Measure:
    """Take a measurement of the recording, or its difference to another condition."""

    def measure(rows: Rows, condition: str) -> Numbers:
        names = [condition, *([_yardstick(base, condition)] if base else [])]
        values = [rows[each][-1]["kept"].get(name) if rows.get(each) else None for each in names]
        if any(value is None for value in values):
            return None
        return (sign * float(values[0] - (values[1] if base else 0.0)),)  # type: ignore[operator]

    return measure


def _scored(name: str, failed: float, change: Callable[[float], float] = float) -> Measure:
    """Take a value of the plugin's scorer; ``failed`` stands for an edit that gave nothing."""

    def measure(rows: Rows, condition: str) -> Numbers:
        if not rows.get(condition):
            return None
        if _failed(rows, condition):
            return (failed,)
        value = rows[condition][-1]["values"].get(name)
        return None if value is None else (change(float(value)),)

    return measure


def _tempo(rows: Rows, condition: str) -> Numbers:
    """Return the speech time of an output over the speech time asked for.

    Speech time, not duration: tokenizers of this family cut the silence at both ends, which a
    duration would count as tempo. Where no speech was found it is the duration after all.
    """
    speech = _scored("factor_speech", float("inf"))(rows, condition)
    if speech is None:
        speech = _scored("factor_total", float("inf"))(rows, condition)
    asked = _scored("factor_asked", 1.0)(rows, condition)
    return None if speech is None or asked is None else (float(asked[0] / speech[0]),)


def _off_tempo(rows: Rows, condition: str) -> Numbers:
    """Return by how many percent the tempo is off; an edit that gave nothing is off by all."""
    share = _tempo(rows, condition)
    if share is None:
        return None
    return (100 * abs(1 / share[0] - 1) if share[0] else 100.0,)


def _early(rows: Rows, condition: str) -> Numbers:
    """Return whether an output is much shorter than asked for."""
    share = _tempo(rows, condition)
    return None if share is None else (float(share[0] < SHORT),)


def _verdict(name: str) -> Measure:
    """Take a verdict: whether the target was ``reached``, or that and all else kept (``joint``)."""

    def measure(rows: Rows, condition: str) -> Numbers:
        if not rows.get(condition):
            return None
        value = rows[condition][-1].get(name)
        return None if value is None else (float(value),)

    return measure


def _outside(rows: Rows, condition: str) -> Numbers:
    """Return whether all samples outside the spans are the source's; what cannot tell is not."""
    if not rows.get(condition):
        return None
    return (float(rows[condition][-1]["values"].get("outside_max_difference") == 0.0),)


def _by_two_recognisers(
    name: str, gate: float, goal: float, make: Callable[[str], Measure]
) -> list[Gate]:
    """Return a word error row for each recogniser: neither passes for the other."""
    return [
        Gate(f"{name}{suffix}", "points", gate, goal, make(recogniser), pooled)
        for recogniser, suffix in (("whisper", ""), ("pocketsphinx", "_pocketsphinx"))
    ]


# An ideal output is coded without the silence at its ends, which tokenizers cut: rows that look at
# durations or pauses do not show it.
GATES: Sequence[Gate] = (
    *_by_two_recognisers("identity.added_wer", 20, 8, lambda by: _added(by, "source")),
    Gate("identity.speaker_similarity", "cosine", 0.75, 0.83, _kept("speaker_similarity"), mean,
         higher=True),
    Gate("identity.ovrl_drop", "DNSMOS", 0.35, 0.15, _kept("dnsmos_ovrl", "source", -1.0), mean),
    Gate("speed.ratio_error", "%", 7, 3, _off_tempo, median),
    Gate("speed.early_stops", "%", 3, 0, _early, percent, share=True),
    *_by_two_recognisers("speed.added_wer", 10, 3, lambda by: _added(by, "identity")),
    Gate("denoise.bak_gain", "DNSMOS", 0.8, 1.2, _kept("dnsmos_bak", "source"), mean,
         ("dsp", "identity", "target"), higher=True),
    Gate("denoise.joint", "%", 50, 75, _verdict("joint"), percent, ("dsp", "identity"), higher=True,
         share=True),
    Gate("trim_silence.pauses_gone", "%", 80, 92,
         _scored("silence_removed", 0.0, lambda x: 100 * min(max(x, 0.0), 1.0)), mean,
         ("dsp",), higher=True),
    Gate("trim_silence.words_lost", "%", 5, 1, _added("whisper", "identity", "deletions"), pooled),
    # Words that are spoilt are not missing: substitutions and insertions count here.
    Gate("trim_silence.added_wer", "points", 12, 3, _added("whisper", "identity"), pooled),
    Gate("masked.outside_identical", "%", 100, 100, _outside, percent, ("dsp",), higher=True,
         share=True),
    Gate("masked_label.reached", "%", 40, 65, _verdict("reached"), percent, ("dsp",), higher=True,
         share=True),
    Gate("emotion_style.reached", "%", 50, 75, _verdict("reached"), percent,
         ("dsp", "world", "identity", "target"), higher=True, share=True),
    Gate("paralinguistic.in_place", "%", 50, 75, _verdict("reached"), percent,
         ("dsp", "identity", "target"), higher=True, share=True),
    *_by_two_recognisers("clone.wer", 35, 15, _plain_error),
    *_by_two_recognisers("chain.wer_growth", 5, 2, _growth),
)  # fmt: skip
