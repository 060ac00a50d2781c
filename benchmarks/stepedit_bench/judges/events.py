"""The judge ``events``: detect a non-verbal sound at its expected place.

A small classifier hears windows of 0.6 s, every 0.1 s. It knows laughs, breaths (sighs, gasps,
in- and out-breaths), coughs and throats that are cleared, other voiced sounds (hums, groans,
interjections), speech, noise, and sounds that nobody asks for, such as sneezes, cries and beeps.
Where Whisper base is installed it listens through its encoder, otherwise by hand-made features
alone; the card beside the weights tells what it was trained on and how often it is wrong.

=====  ==================================================================================
score  meaning, on the scale of Step-Audio-Edit-Benchmark
=====  ==================================================================================
1      nothing like the sound is heard at its place
2      some sound is heard there, but its kind is unclear or another one, or a further
       sound is heard where none was asked for
3      the sound asked for is heard clearly at its place, and no other elsewhere
=====  ==================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from typing import Any, ClassVar, get_args

import numpy as np
import numpy.typing as npt

from stepedit_bench.judges.event_ear import (
    WINDOW,
    Ear,
    EarName,
    ear_title,
    find_ear,
    rows_of,
    starts_of,
)
from stepedit_bench.judges.features import FRAME_STEP, frame_features, levels, single_partials
from stepedit_bench.judges.model import Classifier
from stepedit_bench.judges.places import entries_of, place
from stepedit_core.errors import StepeditError
from stepedit_core.scoring import Judge, Verdict
from stepedit_core.utterance import Utterance

__all__ = ["EVENTS", "OTHER", "EventScores", "EventsJudge", "listen", "load_classifier", "sound_of"]

EVENTS = ("laugh", "breath", "voice", "cough")
"""Classes of the classifier that are sounds one may ask for."""
OTHER = "other"
"""Class of sounds that no tag asks for."""
KINDS = (*EVENTS, OTHER)
REACH = 0.25
"""A sound counts as at its place up to this many seconds outside it."""
NEW = 0.1
"""A sound is new where its probability is this much higher than in the speech before the edit."""
QUIET_DB = -32.0
TONED = 0.25
"""A window with more of its audible frames in one partial is a tone, which no tag asks for."""
FloatArray = npt.NDArray[np.float64]

_SOUNDS: Mapping[str, tuple[str, ...]] = {
    "laugh": ("laugh", "laughter", "chuckle", "giggle"),
    "breath": ("breath", "breathing", "inhale", "exhale", "sigh", "gasp"),
    "voice": ("uhm", "um", "hmm", "huh", "groan", "ugh", "confirmation", "question", "surprise",
              "dissatisfaction"),
    "cough": ("cough", "coughs", "coughing", "clears throat", "throat clearing"),
}  # fmt: skip
_CLASS = {word: name for name, words in _SOUNDS.items() for word in words}


def sound_of(tag: str) -> str | None:
    """Return the class that a tag such as ``[laugh]`` or ``Surprise-oh`` is heard as.

    Laughs, chuckles and giggles are one class, as are breaths of all kinds with sighs, and coughs
    with throats that are cleared. Snorts have no freely licensed training data and no class.
    """
    plain = tag.strip("[] ").casefold()
    return _CLASS.get(plain) or _CLASS.get(plain.partition("-")[0])


@dataclass(frozen=True)
class EventScores:
    """Output of the classifier along an utterance.

    Attributes:
        times: centre of each window in seconds, shape ``(n,)``.
        probabilities: of each event class and of ``other``, shape ``(n, len(EVENTS) + 1)``; 0 in
            pauses.
    """

    times: FloatArray
    probabilities: FloatArray

    def at(self, start: float, end: float) -> FloatArray:
        """Return the highest probability of each event within a span; zeros where none fits."""
        inside = (self.times >= start - REACH) & (self.times <= end + REACH)
        return self._best(inside)

    def outside(self, spans: Sequence[tuple[float, float]]) -> FloatArray:
        """Return the highest probability of each event away from some spans."""
        away = np.ones(len(self.times), dtype=bool)
        for start, end in spans:
            away &= (self.times < start - REACH - WINDOW / 2) | (
                self.times > end + REACH + WINDOW / 2
            )
        return self._best(away)

    def _best(self, which: npt.NDArray[np.bool_]) -> FloatArray:
        chosen = self.probabilities[which]
        return chosen.max(axis=0) if len(chosen) else np.zeros(self.probabilities.shape[1])


def listen(utterance: Utterance, model: Classifier, ear: Ear | None = None) -> EventScores:
    """Slide the classifier's window over an utterance.

    Neighbouring windows are averaged by threes, for a sound lasts longer than one hop.

    Args:
        utterance: any rate and length.
        model: trained with the same ear.
        ear: see ``event_ear``.
    """
    frames = frame_features(utterance)
    if len(frames) < round(WINDOW / FRAME_STEP):
        frames = np.pad(frames, ((0, round(WINDOW / FRAME_STEP) - len(frames)), (0, 0)), "edge")
    starts, size = starts_of(frames), round(WINDOW / FRAME_STEP)
    rows = rows_of(frames, starts, utterance, ear)
    heard = dict(zip(model.labels, model.probabilities(rows).T, strict=True))
    # Classifiers trained before there was the class ``other`` never hear it.
    found = np.stack([heard.get(name, np.zeros(len(rows))) for name in KINDS], axis=1)
    level = levels(frames)
    # A window with silence in its middle holds the ends of words, not a sound.
    third = size // 3
    loud = np.array([level[start + third : start + size - third].max() for start in starts])
    # The classifier has heard few tones: a glide passes for a sigh.
    toned = _toned(single_partials(utterance), level, starts, size)
    found[toned, -1], found[toned, :-1] = found[toned].max(axis=1), 0.0
    found[loud < QUIET_DB] = 0.0
    padded = np.pad(found, ((1, 1), (0, 0)), mode="edge")
    smooth = np.asarray((padded[:-2] + padded[1:-1] + padded[2:]) / 3, dtype=np.float64)
    centres = np.asarray(starts * FRAME_STEP + min(WINDOW, utterance.seconds) / 2, np.float64)
    return EventScores(centres, smooth)


def _toned(
    single: npt.NDArray[np.bool_], level: FloatArray, starts: npt.NDArray[np.int64], size: int
) -> npt.NDArray[np.bool_]:
    """Return which windows are, one partial alone in too many of their audible frames."""
    audible = level > QUIET_DB
    shares = [
        single[start : start + size][audible[start : start + size]].mean()
        if audible[start : start + size].any()
        else 0.0
        for start in starts
    ]
    return np.asarray(shares) > TONED


@cache
def load_classifier(with_whisper: bool = False) -> Classifier:
    """Load one of the classifiers that ship with the package: with Whisper's states or without."""
    name = "event_classifier_whisper" if with_whisper else "event_classifier"
    with as_file(files("stepedit_bench.judges").joinpath(name)) as folder:
        return Classifier.load(folder)


class _Installed:
    """Names the ear that is used by default, when asked."""

    def __get__(self, judge: object, owner: type | None = None) -> str:
        return ear_title() or "hand-made features alone"


@dataclass(frozen=True)
class _Wanted:
    """A sound that was asked for and where."""

    sound: str
    start: float
    end: float


class EventsJudge(Judge):
    """Finds laughs, breaths and voiced sounds at a place; rates 1 to 3."""

    name: ClassVar[str] = "events"
    version: ClassVar[int] = 3
    default_model: ClassVar[_Installed] = _Installed()
    validation: ClassVar[str] = (
        "on speakers never trained on, against weak labels. Through Whisper's encoder: 80.0 % "
        "balanced accuracy (6848 windows), a sound between words is heard as what it is in 76 "
        "% of 51, one in untouched speech in 1 % of 204; by hand-made features alone: 64.9 % "
        "balanced accuracy (6848 windows), a sound between words is heard as what it is in 49 "
        "% of 51, one in untouched speech in 0 % of 204"
    )

    def __init__(self, ear: EarName = "auto") -> None:
        """Choose what it hears with.

        Args:
            ear: ``whisper`` (encoder states of Whisper base), ``none`` (hand-made features alone),
                or ``auto``: Whisper where it is installed.

        Raises:
            StepeditError: if there is no such ear, or it is not installed.
        """
        if ear not in get_args(EarName):
            raise StepeditError(f"events: ear={ear}; there is {', '.join(get_args(EarName))}")
        self._ear = find_ear(ear)

    def tasks(self) -> Sequence[str]:
        """Return paralinguistic."""
        return ("paralinguistic",)

    def judge(
        self,
        task: str,
        utterance: Utterance,
        *,
        reference: Utterance | None = None,
        labels: Sequence[str] = (),
        question: Mapping[str, Any] | None = None,
    ) -> Verdict:
        """Rate one or several sounds; several get the worst of their ratings.

        Args:
            task: ``paralinguistic``.
            utterance: the edited speech.
            reference: speech before the edit: what is heard in it already is no new sound.
            labels: not used.
            question: ``{"events": [{"tag": "laugh", "start": 1.2, "end": 1.9}, ...]}``, or one
                such entry itself; ``places.place`` tells where a sound is looked for that has
                no times.

        Returns:
            ``score`` 1, 2 or 3, ``label`` the sound heard at the (worst) place or ``none``,
            ``scores`` the probabilities there; refused for sounds that it does not know.
        """
        entries = entries_of(question)
        if not entries:
            return Verdict(refused="no event was asked for")
        wanted = []
        for number, entry in enumerate(entries):
            sound = sound_of(str(entry["tag"]))
            if sound is None or sound not in load_classifier(self._ear is not None).labels:
                return Verdict(refused=f"the event classifier does not know [{entry['tag']}]")
            start, end = place(entry, number, question or {}, utterance, reference)
            wanted.append(_Wanted(sound, start, end))
        return self._rate(wanted, utterance, reference)

    def _rate(
        self, wanted: Sequence[_Wanted], utterance: Utterance, reference: Utterance | None
    ) -> Verdict:
        model = load_classifier(self._ear is not None)
        limits = model.card["thresholds"]
        heard = listen(utterance, model, self._ear)
        before = None if reference is None else listen(reference, model, self._ear)
        grown = 0.0 if reference is None else max(0.0, utterance.seconds - reference.seconds)
        extra = heard.outside([(each.start, each.end) for each in wanted]).max()
        loudest = 0.0 if before is None else float(before.probabilities.max())
        disturbed = bool(extra >= max(float(limits["clear"]), loudest + NEW))
        rated = []
        for each in wanted:
            there = heard.at(each.start, each.end)
            if before is not None:
                # What stood earlier may have moved here by silence alone.
                old = before.at(each.start - grown, max(each.start, each.end - grown))
                there = np.where(there - old < NEW, 0.0, there)
            score = grade(there, each.sound, limits)
            label = KINDS[int(there.argmax())] if score > 1 else "none"
            rated.append((2 if score == 3 and disturbed else score, label, there))
        score, label, there = min(rated, key=lambda item: item[0])
        scores = {name: round(float(p), 4) for name, p in zip(KINDS, there, strict=True)}
        return Verdict(label, float(score), scores)


def grade(there: FloatArray, sound: str, limits: Mapping[str, float]) -> int:
    """Return 1, 2 or 3 from the probabilities of the events at a place.

    Args:
        there: highest probability of each of ``EVENTS`` and of ``other``.
        sound: the one asked for.
        limits: ``present``, from which on any sound counts as heard, and ``clear``, from which
            on the sound asked for is clear; both from the classifier's card.
    """
    own = there[EVENTS.index(sound)]
    if own >= limits["clear"] and own == there.max():
        return 3
    return 2 if there.max() >= limits["present"] else 1
