"""Limits that a step of a chain must keep, and what is done where it does not.

A step is compared with what it received: the words heard, the active level, the length, clipping,
holes, and whether anything changed at all. Where a step by the llm route fails, it is drawn again
with other seeds; where none passes, the best is refused or the source is kept, as the user chose.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from stepedit_core.dsp.offset import without_offset
from stepedit_core.dsp.words import normalised, split_words
from stepedit_core.errors import StepeditError
from stepedit_core.plan import Plan
from stepedit_core.utterance import Utterance

__all__ = ["LEVELS", "Accept", "AcceptLevel", "word_error"]

AcceptLevel = Literal["strict", "normal", "off"]
LEVELS: tuple[AcceptLevel, ...] = ("strict", "normal", "off")
_FRAME, _BELOW_PEAK_DB = 0.02, 40.0


class Accept(BaseModel):
    """What a step must keep; None of a limit turns it off."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    words: float | None = Field(default=0.15, ge=0.0)
    """Most word error (character error for Chinese, Japanese, Korean) that a step may add, by the
    recogniser that is installed; where there is none, words are not judged, which is said."""
    level: float | None = Field(default=6.0, gt=0.0)
    """Most change of the active level, in dB."""
    length: float | None = Field(default=0.25, gt=0.0)
    """Most relative deviation from the length that the edit announces, where it is definite;
    guessed lengths may be off by four times as much."""
    clipping: float | None = Field(default=0.001, ge=0.0)
    """Most share of samples at full scale that a step may add."""
    hole: float | None = Field(default=1.5, gt=0.0)
    """Longest digital silence inside, in seconds, that was not in the source."""
    changed: bool = True
    """Whether a step that changes nothing fails."""
    tries: int = Field(default=3, ge=1, le=64)
    """How often a step by the llm route is drawn."""
    otherwise: Literal["fail", "keep"] = "fail"
    """Where no try passes: ``fail`` ends the chain, ``keep`` goes on with the step's source."""

    @classmethod
    def of(cls, level: AcceptLevel, **changes: Any) -> Accept | None:
        """Return the limits of a level, or None for ``off``."""
        if level == "off":
            return None
        strict = {"words": 0.05, "level": 3.0, "length": 0.1, "tries": 6}
        return cls(**({**strict, **changes} if level == "strict" else changes))

    def complaints(
        self, source: Utterance, made: Utterance, plan: Plan | None, ears: Ears | None
    ) -> list[str]:
        """Return why a step is not accepted; empty where it is.

        Args:
            source: what the step received.
            made: what came out.
            plan: of the step, where one was made.
            ears: hears words; None judges none.
        """
        found: list[str] = []
        same = source.sample_rate == made.sample_rate and np.array_equal(
            source.samples, made.samples
        )
        if self.changed and same:
            found.append("nothing changed")
        if self.level is not None:
            step = active_level(made) - active_level(source)
            if abs(step) > self.level:
                found.append(f"the level moved by {step:+.1f} dB (limit {self.level:g})")
        if self.length is not None and plan is not None:
            ratio = made.seconds / max(1e-9, source.seconds * plan.length_ratio)
            allowed = self.length * (1 if plan.has_known_length else 4)
            if abs(ratio - 1) > allowed:
                found.append(f"it lasts {ratio:.2f} times as long as announced")
        if self.clipping is not None and _clipped(made) - _clipped(source) > self.clipping:
            found.append(f"{100 * _clipped(made):.2f} % of the samples are clipped")
        if self.hole is not None and _hole(made) > max(self.hole, _hole(source)):
            found.append(f"a silence of {_hole(made):.1f} s is inside")
        if not found and self.words is not None and ears is not None:
            found += ears.complaints(source, made, self.words)
        return found


class Ears:
    """Hears sources and outputs once each; a recogniser of the installed plugins."""

    def __init__(self, language: str | None) -> None:
        """Load the recogniser.

        Raises:
            StepeditError: if none is installed for the language.
        """
        from stepedit_core.recording.hearing import load_recogniser

        self._recogniser = load_recogniser("auto", language)
        self._heard: dict[str, str] = {}

    @classmethod
    def of(cls, utterance: Utterance) -> tuple[Ears | None, str | None]:
        """Return ears for an utterance's language, or None and why there are none."""
        try:
            return cls(utterance.language), None
        except StepeditError as error:
            return None, f"words are not judged: {error}"

    def hear(self, utterance: Utterance) -> str:
        """Return the words heard."""
        key = utterance.digest
        if key not in self._heard:
            self._heard[key] = self._recogniser.transcribe(utterance).text
        return self._heard[key]

    def complaints(self, source: Utterance, made: Utterance, limit: float) -> list[str]:
        """Return that words were lost, where more were than allowed."""
        if not (made.transcript or "").strip():
            return []
        before = 0.0
        if (source.transcript or "").strip():
            before = word_error(str(source.transcript), self.hear(source))
        heard = self.hear(made)
        after = word_error(str(made.transcript), heard)
        if after - min(before, 1.0) <= limit:
            return []
        return [f"word error {after:.2f} against {before:.2f} before, heard: {heard[:80]!r}"]


def word_error(expected: str, heard: str) -> float:
    """Return insertions, deletions and substitutions over the number of expected words.

    Words are those of `split_words`: characters in Chinese, Japanese and Korean.
    """
    a = [normalised(word.text) for word in split_words(expected)]
    b = [normalised(word.text) for word in split_words(heard)]
    row = np.arange(len(b) + 1)
    for i, word in enumerate(a, start=1):
        differs = np.array([word != other for other in b], dtype=np.int64)
        best = np.minimum(row[1:] + 1, row[:-1] + differs)
        new = np.empty_like(row)
        new[0] = i
        for j, value in enumerate(best, start=1):
            new[j] = min(value, new[j - 1] + 1)
        row = new
    return float(row[-1]) / max(1, len(a))


def active_level(utterance: Utterance) -> float:
    """Return the mean level of frames within 40 dB of the loudest one, in dBFS."""
    power = _frame_power(utterance)
    if not power.any():
        return -120.0
    active = power[power >= power.max() * 10 ** (-_BELOW_PEAK_DB / 10)]
    return float(10 * np.log10(active.mean()))


def _frame_power(utterance: Utterance) -> npt.NDArray[np.float64]:
    """Return the mean power of each frame of 20 ms, without a constant offset."""
    size = max(1, round(_FRAME * utterance.sample_rate))
    x = without_offset(utterance).samples.astype(np.float64)
    count = len(x) // size
    if count == 0:
        return np.array([np.mean(x**2)])
    return np.asarray((x[: count * size].reshape(count, size) ** 2).mean(axis=1))


def _clipped(utterance: Utterance) -> float:
    """Return the share of samples at full scale."""
    return float(np.mean(np.abs(utterance.samples) >= 0.999))


def _hole(utterance: Utterance) -> float:
    """Return the longest digital silence between sounds, in seconds."""
    sounding = np.flatnonzero(np.abs(utterance.samples) > 1e-5)
    if len(sounding) < 2:
        return 0.0
    return float(np.diff(sounding).max()) / utterance.sample_rate
