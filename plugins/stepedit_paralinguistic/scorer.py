"""Score events: a judge on the public scale of 1 to 3, and what was inserted where."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from stepedit_core import (
    Case,
    Measures,
    Prepared,
    Score,
    Scorer,
    StepeditError,
    Utterance,
    Verdict,
    words_kept,
)
from stepedit_core.dsp.loudness import active_level
from stepedit_core.dsp.words import split_words
from stepedit_paralinguistic.edit import Paralinguistic
from stepedit_paralinguistic.insertion import places
from stepedit_paralinguistic.tags import with_spelling

__all__ = ["Insertion", "ParalinguisticScorer", "insertions"]

RATE, HOP = 16_000, 320
MIN_INSERTED = 0.15
"""Shortest insertion that counts as one, in seconds."""
NEAR = 0.4
"""An insertion belongs to a tag when it is this near to its place, in seconds."""
MIN_SOUND = 0.1
"""Seconds of an insertion that are heard, at least: a pause is no sound."""
AUDIBLE_DB, OVER_FLOOR_DB = 40.0, 3.0
"""A frame is heard from so far below the source's active level, and over its quietest tenth."""
MIN_SCORE = 3.0
"""Rating from which the sound asked for is there; 2 is an unclear sound, or another one."""


class ParalinguisticScorer(Scorer):
    """Reached where the judge rates 3, an insertion is at the tag's place, and the words are kept.

    The judge is asked as the public benchmark asks: 1 missing or at a wrong place, 2 with a
    flaw, 3 perfect. Any sound at the place may get 2, so that 2 is not enough. The acoustic values
    hold a lenient judge in check.
    """

    version: ClassVar[int] = 3

    expects_same_duration: ClassVar[bool] = False
    judge: ClassVar[str | None] = "events"
    points: ClassVar[tuple[float, float]] = (1.0, 3.0)

    def score(self, case: Case, prepared: Prepared, output: Utterance, measures: Measures) -> Score:
        """Ask the judge, and find the insertions."""
        edit, source = case.edit, prepared.source
        if not isinstance(edit, Paralinguistic):
            return Score.failed(f"the case asks for {edit.name}, not for paralinguistic")
        values = acoustic_values(edit, source, output)
        try:
            verdict = measures.judge("paralinguistic").judge(
                "paralinguistic",
                output,
                reference=source,
                labels=[tag.tag for tag in edit.added(source)],
                question=question(edit, source),
            )
        except StepeditError as error:
            return Score.failed(str(error), judge_score=None, **values)
        rating = _rating(verdict, edit, source)
        if rating is None:
            return Score.failed(
                verdict.refused or "the judge gave no rating", judge_score=None, **values
            )
        said, values["word_error"] = words_kept(measures, source, output)
        grew = (output.seconds - source.seconds) >= MIN_INSERTED
        found = values["found_in_place"]
        placed = grew if found is None else found == 1.0
        reached = rating >= MIN_SCORE and placed and said is not False
        return Score(reached, {"judge_score": rating, **values})


def question(edit: Paralinguistic, source: Utterance) -> dict[str, Any]:
    """Return the context of a judge's question: the text, and each event's place in it.

    An event has its tag, the words around it, and ``at``: its place in the source, in seconds.
    """
    words = split_words(edit.text)
    added = edit.added(source)
    at: list[float | None] = [*places(edit, source)] or [None] * len(added)
    return {
        "text": with_spelling(edit.text, "2026"),
        "source_text": source.transcript,
        "events": [
            {
                "tag": tag.tag,
                "after_words": [word.text for word in words[max(0, tag.word - 5) : tag.word]],
                "before_words": [word.text for word in words[tag.word : tag.word + 5]],
                **({} if place is None else {"at": round(place, 3)}),
            }
            for tag, place in zip(added, at, strict=True)
        ],
        "scale": {"1": "missing or at a wrong place", "2": "present with a flaw", "3": "perfect"},
    }


def acoustic_values(
    edit: Paralinguistic, source: Utterance, output: Utterance
) -> dict[str, float | None]:
    """Return the measurements of insertions, and their distances from the tags' places.

    Returns:
        ``inserted_seconds`` (growth), ``found_in_place`` (share of tags with an insertion within
        0.4 s of their place) and ``place_error_seconds`` (mean over those found, or None).
    """
    growth = output.seconds - source.seconds
    values: dict[str, float | None] = {
        "inserted_seconds": growth,
        "found_in_place": None,
        "place_error_seconds": None,
    }
    if output.problem() or source.problem():
        return values
    wanted = places(edit, source)
    found = [one for one in insertions(source, output) if _sounds(one, source, output)]
    errors = [min((abs(one.at - place) for one in found), default=float("inf")) for place in wanted]
    near = [error for error in errors if error <= NEAR]
    if wanted:
        values["found_in_place"] = len(near) / len(wanted)
    if near:
        values["place_error_seconds"] = float(np.mean(near))
    return values


class Insertion(NamedTuple):
    """What an output has that its source lacks.

    Attributes:
        at: place in the source, seconds.
        seconds: how much longer the output is there.
        start: where it begins in the output, seconds.
        end: where it ends there.
    """

    at: float
    seconds: float
    start: float
    end: float


def insertions(source: Utterance, output: Utterance) -> list[Insertion]:
    """Return an output's insertions.

    Both are aligned by dynamic time warping of mel cepstra; an insertion is a stretch of the
    output that the path holds against 80 ms of the source or less.
    """
    import librosa

    first, second = _cepstra(source), _cepstra(output)
    # An output frame that finds no partner costs as much as a poor match, whatever it sounds
    # like, so that events do not smear over their surroundings.
    cost = np.minimum(_distances(first, second), 6.0)
    _, path = librosa.sequence.dtw(C=cost)
    here, there = path[::-1, 0], path[::-1, 1]
    at_output = np.zeros(second.shape[1])
    at_output[there] = here
    slack, shortest = 4, round(MIN_INSERTED * RATE / HOP)
    found: list[Insertion] = []
    start = 0
    while start < len(at_output):
        stop = start
        while stop + 1 < len(at_output) and at_output[stop + 1] - at_output[start] <= slack:
            stop += 1
        extra = stop - start - (at_output[stop] - at_output[start])
        if extra >= shortest:
            middle = (at_output[start] + at_output[stop]) / 2
            times = (middle, extra, start, stop)
            found.append(Insertion(*(float(one * HOP / RATE) for one in times)))
            start = stop
        start += 1
    return found


def _sounds(found: Insertion, source: Utterance, output: Utterance) -> bool:
    """Return whether an insertion is heard: digital silence and room tone are not."""
    before = _levels(source, 0.0, source.seconds)
    inside = _levels(output, found.start, found.end)
    level = active_level(source)
    if level is None or not len(before):
        return False
    least = max(level - AUDIBLE_DB, float(np.quantile(before, 0.1)) + OVER_FLOOR_DB)
    return bool((inside >= least).sum() * HOP / RATE >= MIN_SOUND)


def _levels(utterance: Utterance, start: float, end: float) -> npt.NDArray[np.float64]:
    """Return the level of each 20 ms within a span, dB of full scale."""
    samples = utterance.resample(RATE).samples[round(start * RATE) : round(end * RATE)]
    frames = samples[: len(samples) // HOP * HOP].astype(np.float64).reshape(-1, HOP)
    return np.asarray(10 * np.log10(np.maximum(np.square(frames).mean(axis=1), 1e-12)))


def _cepstra(utterance: Utterance) -> npt.NDArray[np.float64]:
    """Return level-free normalised mel cepstra, shape ``(13, frames)``."""
    import librosa

    samples = utterance.resample(RATE).samples
    cepstra = librosa.feature.mfcc(
        y=samples, sr=RATE, n_mfcc=13, hop_length=HOP, n_fft=512, n_mels=40
    )
    spread = np.maximum(cepstra.std(axis=1, keepdims=True), 1e-6)
    return np.asarray((cepstra - cepstra.mean(axis=1, keepdims=True)) / spread, dtype=np.float64)


def _distances(
    first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return Euclidean distances between the columns of two matrices."""
    squares = (first**2).sum(0)[:, None] + (second**2).sum(0)[None] - 2 * first.T @ second
    return np.asarray(np.sqrt(np.maximum(squares, 0.0)))


def _rating(verdict: Verdict, edit: Paralinguistic, source: Utterance) -> float | None:
    """Return a rating of 1..3; a judge that only names the event gives 3 or 1."""
    if verdict.refused is not None:
        return None
    if verdict.score is not None:
        return float(verdict.score)
    if verdict.label is None:
        return None
    return 3.0 if verdict.label in {tag.tag for tag in edit.added(source)} else 1.0
