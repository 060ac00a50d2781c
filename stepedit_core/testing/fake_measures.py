"""Measurements and a judge without models, for tests of scorers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from stepedit_core.dsp.words import normalised, split_words
from stepedit_core.errors import StepeditError
from stepedit_core.scoring import Judge, Verdict
from stepedit_core.utterance import Utterance

__all__ = ["FailingMeasures", "FakeJudge", "FakeMeasures"]

_FRAME_SECONDS = 0.02


class FakeJudge(Judge):
    """A judge that gives the answer it was told to give, or refuses; for tests."""

    name: ClassVar[str] = "fake"
    version: ClassVar[int] = 1
    validation: ClassVar[str] = "none: it is a fake for tests"

    def __init__(self, label: str | None = None, score: float | None = None) -> None:
        """Take the answer; without a label and a score the judge refuses."""
        self.label = label
        self.score = score
        self.questions: list[tuple[str, Mapping[str, Any]]] = []

    def tasks(self) -> Sequence[str]:
        """Return the attributes that it claims to know."""
        return ("emotion", "style", "paralinguistic")

    def judge(
        self,
        task: str,
        utterance: Utterance,
        *,
        reference: Utterance | None = None,
        labels: Sequence[str] = (),
        question: Mapping[str, Any] | None = None,
    ) -> Verdict:
        """Return the answer it was told to give."""
        self.questions.append((task, dict(question or {})))
        if self.label is None and self.score is None:
            return Verdict(refused="the fake judge was told to refuse")
        return Verdict(label=self.label, score=self.score)


class FakeMeasures:
    """Measurements that need no model: pitch and energy are measured, words are assumed.

    ``transcribe`` returns the utterance's own transcript, so an edit that damages words goes
    unnoticed here; speaker similarity compares long-term spectra.
    """

    def __init__(self, judge: Judge | None = None) -> None:
        """Take the judge to hand out; a refusing one by default."""
        self._judge = judge or FakeJudge()

    def transcribe(self, utterance: Utterance) -> str:
        """Return the utterance's own transcript."""
        if utterance.transcript is None:
            raise StepeditError("the fake recogniser only repeats transcripts, and there is none")
        return utterance.transcript

    def word_error(self, expected: str, utterance: Utterance) -> float:
        """Return 0 where the claimed words are the expected ones, otherwise 1.

        As in speech, case, punctuation and tags of sounds do not count.
        """
        return float(_spoken(self.transcribe(utterance)) != _spoken(expected))

    def speaker_similarity(self, first: Utterance, second: Utterance) -> float:
        """Return the cosine similarity of log-spectral envelopes, -1..1."""
        a, b = _envelope(first), _envelope(second)
        return float(a @ b / max(1e-9, float(np.linalg.norm(a) * np.linalg.norm(b))))

    def dnsmos(self, utterance: Utterance) -> Mapping[str, float]:
        """Return ratings 1..5 that fall with the level of the quietest tenth of frames."""
        levels = np.sort(_levels_db(utterance))
        spread = float(levels[-1] - levels[max(1, len(levels) // 10) - 1])
        rating = float(np.clip(1 + spread / 15, 1, 5))
        return {"sig": rating, "bak": rating, "ovrl": rating}

    def speech_spans(self, utterance: Utterance) -> list[tuple[float, float]]:
        """Return the spans whose level is within 35 dB of the loudest frame, in seconds."""
        levels = _levels_db(utterance)
        active = np.concatenate([[False], levels > levels.max() - 35, [False]])
        edges = np.flatnonzero(active[1:] != active[:-1]) * _FRAME_SECONDS
        return [(float(a), float(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]

    def median_f0(self, utterance: Utterance) -> float | None:
        """Return the median of autocorrelation pitch over loud frames in Hz, 60..500, or None."""
        rate = utterance.sample_rate
        size = round(0.04 * rate)
        count = len(utterance.samples) // size
        if count == 0:
            return None
        frames = utterance.samples[: count * size].astype(np.float64).reshape(count, size)
        power = np.mean(frames**2, axis=1)
        found = [_frame_f0(frame, rate) for frame in frames[power > 0.1 * power.max()]]
        voiced = [value for value in found if value is not None]
        return float(np.median(voiced)) if voiced else None

    def judge(self, task: str) -> Judge:
        """Return the judge that was given."""
        return self._judge


class FailingMeasures(FakeMeasures):
    """Measurements that all fail: a scorer must report unscored, never 0."""

    def _fail(self) -> StepeditError:
        return StepeditError("this measurement fails on purpose")

    def transcribe(self, utterance: Utterance) -> str:
        """Fail."""
        raise self._fail()

    def word_error(self, expected: str, utterance: Utterance) -> float:
        """Fail."""
        raise self._fail()

    def speaker_similarity(self, first: Utterance, second: Utterance) -> float:
        """Fail."""
        raise self._fail()

    def dnsmos(self, utterance: Utterance) -> Mapping[str, float]:
        """Fail."""
        raise self._fail()

    def speech_spans(self, utterance: Utterance) -> list[tuple[float, float]]:
        """Fail."""
        raise self._fail()

    def median_f0(self, utterance: Utterance) -> float | None:
        """Fail."""
        raise self._fail()

    def judge(self, task: str) -> Judge:
        """Fail."""
        raise self._fail()


def _spoken(text: str) -> list[str]:
    """Return the words of a text as a recogniser would hear them."""
    return [normalised(word.text) for word in split_words(text)]


def _levels_db(utterance: Utterance) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the level of each 20 ms frame in dB, shape ``(n,)``."""
    size = max(1, round(_FRAME_SECONDS * utterance.sample_rate))
    count = max(1, len(utterance.samples) // size)
    samples = np.resize(utterance.samples.astype(np.float64), count * size)
    power = np.mean(samples.reshape(count, size) ** 2, axis=1)
    return np.asarray(10 * np.log10(np.maximum(power, 1e-10)))


def _envelope(utterance: Utterance) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the centred log spectrum in 32 bands below 4 kHz, shape ``(32,)``."""
    spectrum = np.abs(np.fft.rfft(utterance.samples.astype(np.float64))) ** 2
    top = max(32, int(len(spectrum) * min(1.0, 8000 / utterance.sample_rate)))
    bands = [band.mean() if band.size else 0.0 for band in np.array_split(spectrum[:top], 32)]
    logs = np.log10(np.array(bands) + 1e-10)
    return np.asarray(logs - logs.mean())


def _frame_f0(frame: np.ndarray[tuple[int], np.dtype[np.float64]], rate: int) -> float | None:
    """Return the pitch of one frame in Hz, or None where it is not periodic."""
    centred = frame - frame.mean()
    correlation = np.correlate(centred, centred, "full")[len(frame) - 1 :]
    low, high = max(1, int(rate / 500)), min(len(frame) - 1, int(rate / 60))
    if high <= low or correlation[0] <= 0:
        return None
    lag = low + int(correlation[low:high].argmax())
    return rate / lag if correlation[lag] > 0.4 * correlation[0] else None
