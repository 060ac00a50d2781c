"""Measure candidates against the limits of `Accept`, cheap limits first.

The edit's own `Scorer` judges the target: it is asked the same question as in the benchmark, so
that edits of other packages have a gate without a line of their own. What it waives is not asked
for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from stepedit_core.chain.ears import Ears
from stepedit_core.dsp.loudness import active_level
from stepedit_core.dsp.words import split_words
from stepedit_core.errors import StepeditError
from stepedit_core.labels.profile import profiles_of
from stepedit_core.scoring import LOST_LEAST, Case, Judge, Measures, Prepared, Score

if TYPE_CHECKING:
    from stepedit_core.chain.accept import Accept
    from stepedit_core.edit import Edit
    from stepedit_core.engine import SpeechEngine
    from stepedit_core.plan import Plan
    from stepedit_core.registry.registry import Registry
    from stepedit_core.utterance import Utterance

__all__ = ["Compared", "Complaint", "Gate", "Judged", "ordered"]

T = TypeVar("T")
_FULL_SCALE = 0.999


@dataclass(frozen=True)
class Compared:
    """What a step is compared with.

    Attributes:
        received: what the step received.
        first: the recording that the chain began with.
        voice: whose voice is to be kept: the first recording's, until an edit changes the voice.
        anchor: what the present run of edits of one kind began with.
    """

    received: Utterance
    first: Utterance
    voice: Utterance
    anchor: Utterance


@dataclass(frozen=True)
class Complaint:
    """A limit that is not kept.

    Attributes:
        limit: its name.
        text: what is wrong, with the figure and the limit.
        excess: how far it is exceeded, as a share of the limit.
    """

    limit: str
    text: str
    excess: float = 1.0


@dataclass
class Judged:
    """What was found of one candidate.

    Attributes:
        complaints: limits that it does not keep.
        values: what was measured; JSON data.
        unjudged: limit to why it could not be measured.
        complete: whether the slow limits were measured, too.
    """

    complaints: list[Complaint] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)
    unjudged: dict[str, str] = field(default_factory=dict)
    complete: bool = False

    @property
    def why(self) -> list[str]:
        """The complaints in words."""
        return [complaint.text for complaint in self.complaints]

    @property
    def badness(self) -> tuple[bool, int, float]:
        """Order among candidates: those heard to the end, fewer complaints, smaller ones first."""
        return not self.complete, len(self.complaints), sum(one.excess for one in self.complaints)

    def attempt(self, limit: str, make: Callable[[], T]) -> T | None:
        """Return what ``make`` gives, or note why it could not be measured."""
        try:
            return make()
        except StepeditError as error:
            self.unjudged[limit] = str(error)
        except Exception as error:
            self.unjudged[limit] = f"{type(error).__name__}: {error}"
        return None


class Gate:
    """Measures and judges the candidates of a chain's steps; every recording once."""

    def __init__(
        self, registry: Registry, first: Utterance, engine: SpeechEngine | None, ears: int = 1
    ) -> None:
        """Find what can be measured; backends load on first use.

        Args:
            registry: whose scorers, measurements and recognisers are asked.
            first: the chain's recording; its language is listened for.
            engine: asked for the speakers' likeness where no measurements are installed.
            ears: recognisers that listen for words; 0 for none.
        """
        self._registry, self._engine = registry, engine
        self.ears, deaf = Ears.of(first, ears) if ears else (None, None)
        self._measures = _GateMeasures(registry.hook.stepedit_measures(), self.ears, engine)
        self._unjudged: dict[str, None] = dict.fromkeys([deaf] if deaf else [])
        self._pitch: dict[str, float | None] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know: limits that could not be judged."""
        return tuple(self._unjudged)

    def quick(
        self, limits: Accept, edit: Edit, made: Utterance, plan: Plan | None, to: Compared
    ) -> Judged:
        """Judge a candidate by what costs nothing: change, level, length, clipping, silence."""
        judged, waived = Judged(), self.waived(edit)
        source, add = to.received, judged.complaints.append
        same = source.sample_rate == made.sample_rate
        if limits.changed and same and np.array_equal(source.samples, made.samples):
            add(Complaint("changed", "nothing changed"))
        if limits.level is not None and "loudness" not in waived:
            _level(limits.level, made, plan, to, judged)
        if limits.length is not None and plan is not None and "duration" not in waived:
            _length(limits.length, made, plan, source, judged)
        more = _clipped(made) - max(_clipped(source), _clipped(to.first))
        if limits.clipping is not None and "clipping" not in waived and more > limits.clipping:
            text = f"{100 * _clipped(made):.2f} % of the samples are clipped"
            add(Complaint("clipping", text, more / max(limits.clipping, 1e-6)))
        hole = _hole(made)
        if limits.hole is not None and hole > max(limits.hole, _hole(source)):
            text = f"a silence of {hole:.1f} s is inside"
            add(Complaint("hole", text, hole / limits.hole - 1))
        return judged

    def listen(
        self, judged: Judged, limits: Accept, edit: Edit, made: Utterance, to: Compared
    ) -> Judged:
        """Add what takes time: voice, pitch, words, quality, and last the edit's own target.

        A candidate with another voice or pitch, or which would miss its target even if all its
        words were heard, is not listened to for its words.
        """
        self._hear_voice(judged, limits, edit, made, to)
        if limits.target and not judged.complaints and not edit.is_composite():
            self._foresee_target(edit, made, to, judged)
        if not judged.complaints:
            self._hear_words(judged, limits, edit, made, to)
            judged.complete = True
        for limit, why in judged.unjudged.items():
            self._unjudged[f"{limit} is not judged: {why}"] = None
        return judged

    def _hear_voice(
        self, judged: Judged, limits: Accept, edit: Edit, made: Utterance, to: Compared
    ) -> None:
        """Complain of another voice, or of a pitch that the edit does not ask for."""
        waived = self.waived(edit)
        measures = self._measures
        if limits.voice is not None and "speaker" not in waived:
            likeness = judged.attempt("voice", lambda: measures.speaker_similarity(to.voice, made))
            if likeness is not None:
                judged.values["voice"] = round(likeness, 3)
                if likeness < limits.voice:
                    text = f"the voice is alike by {likeness:.2f} (limit {limits.voice:g})"
                    judged.complaints.append(Complaint("voice", text, limits.voice - likeness))
        if limits.pitch is not None:
            self._judge_pitch(limits.pitch, edit, made, to, judged)

    def _hear_words(
        self, judged: Judged, limits: Accept, edit: Edit, made: Utterance, to: Compared
    ) -> None:
        """Complain of lost words, or of lost quality, or of a target that is not reached."""
        waived, measures = self.waived(edit), self._measures
        if limits.words is not None and self.ears is not None and "words" not in waived:
            _words(limits.words, self.ears, made, to, judged)
        if limits.quality is not None and "quality" not in waived and not judged.complaints:
            _quality(limits.quality, measures, made, to, judged)
        if limits.target and not edit.is_composite() and not judged.complaints:
            self._judge_target(edit, made, to, judged)

    def waived(self, edit: Edit) -> frozenset[str]:
        """Return the checks of preservation that an edit's scorer does not ask for."""
        try:
            scorer = self._registry.scorer(type(edit))
            named = scorer.waives(_case(edit))
        except Exception:  # An edit without a scorer waives nothing; `_judge_target` says why.
            return frozenset()
        return named if scorer.expects_same_speaker else named | {"speaker"}

    def score(
        self, edit: Edit, source: Utterance, made: Utterance, measures: Measures | None = None
    ) -> Score:
        """Ask the edit's own scorer about an output; raises StepeditError where there is none."""
        scorer = self._registry.scorer(type(edit))
        asked = measures or self._measures
        return scorer.score(_case(edit, source), Prepared(source), made, asked)

    def strength(self, edit: Edit, source: Utterance, made: Utterance) -> float | None:
        """Return how far an output goes towards an edit's target, or None where nobody says."""
        score = Judged().attempt("target", lambda: self.score(edit, source, made))
        if score is None or score.reached is None:
            return None
        intensity = score.values.get("intensity")
        return float(score.reached) + (0.0 if intensity is None else float(intensity))

    def _judge_target(self, edit: Edit, made: Utterance, to: Compared, judged: Judged) -> None:
        """Ask the edit's own scorer whether its target is reached."""
        score = judged.attempt("target", lambda: self.score(edit, to.anchor, made))
        if score is None:
            return
        if score.unscored is not None:
            judged.values["target"] = _known(score)
            judged.unjudged["target"] = score.unscored
        elif not score.reached:
            judged.complaints.append(_missed(edit, score, judged))
        else:
            judged.values["target"] = _known(score)

    def _foresee_target(self, edit: Edit, made: Utterance, to: Compared, judged: Judged) -> None:
        """Complain of a target that is missed whatever is heard; of edits that keep the words."""
        if not made.transcript or made.transcript != to.anchor.transcript:
            return
        measures = _AllHeard(self._measures)
        score = Judged().attempt("target", lambda: self.score(edit, to.anchor, made, measures))
        if score is not None and score.unscored is None and score.reached is False:
            judged.complaints.append(_missed(edit, score, judged))

    def _judge_pitch(
        self, limit: float, edit: Edit, made: Utterance, to: Compared, judged: Judged
    ) -> None:
        """Complain of a pitch outside what the edit's label usually does."""
        label = getattr(edit, "to", None)
        profile = judged.attempt("pitch", lambda: profiles_of(self._registry, edit.name))
        known = (profile or {}).get(label) if isinstance(label, str) else None
        if known is None:
            return
        before, after = (judged.attempt("pitch", partial(self._f0, u)) for u in (to.anchor, made))
        if not before or not after:
            return
        usual = known.cues["f0"].size if "f0" in known.cues else 0.0
        shift = 12 * float(np.log2(after / before))
        judged.values["pitch"] = round(shift, 2)
        beyond = max(shift - max(0.0, usual), min(0.0, usual) - shift)
        if beyond > limit:
            text = f"the pitch moved by {shift:+.1f} semitones, {label} does by {usual:+g}"
            judged.complaints.append(Complaint("pitch", text, beyond / limit - 1))

    def _f0(self, utterance: Utterance) -> float | None:
        from stepedit_core.dsp.acoustics import measure

        if utterance.digest not in self._pitch:
            self._pitch[utterance.digest] = measure(utterance).f0
        return self._pitch[utterance.digest]


class _GateMeasures(Measures):
    """The installed measurements, with the words of the recogniser that the gate hears by."""

    def __init__(
        self, measures: Measures | None, ears: Ears | None, engine: SpeechEngine | None
    ) -> None:
        self._measures, self._ears, self._engine = measures, ears, engine

    def _asked(self, what: str) -> Measures:
        if self._measures is None:
            raise StepeditError(f"no plugin measures {what}; install stepedit[bench]")
        return self._measures

    def transcribe(self, utterance: Utterance) -> str:
        if self._ears is None:
            return self._asked("words").transcribe(utterance)
        return self._ears.hear(utterance)

    def word_error(self, expected: str, utterance: Utterance) -> float:
        if self._ears is None:
            return self._asked("words").word_error(expected, utterance)
        return self._ears.word_error(utterance, expected) or 0.0

    def speaker_similarity(self, first: Utterance, second: Utterance) -> float:
        own = getattr(self._engine, "speaker_similarity", None)
        try:
            return self._asked("voices").speaker_similarity(first, second)
        except StepeditError:
            if own is None:
                raise
            return float(own(first, second))

    def dnsmos(self, utterance: Utterance) -> Mapping[str, float]:
        return self._asked("quality").dnsmos(utterance)

    def speech_spans(self, utterance: Utterance) -> list[tuple[float, float]]:
        return self._asked("speech").speech_spans(utterance)

    def median_f0(self, utterance: Utterance) -> float | None:
        return self._asked("pitch").median_f0(utterance)

    def judge(self, task: str) -> Judge:
        return self._asked(f"judges {task}").judge(task)

    def __getattr__(self, name: str) -> Any:
        """Return whatever else the installed measurements have."""
        return getattr(self._asked(name), name)


class _AllHeard(_GateMeasures):
    """The same measurements, as if every word of every recording were heard."""

    def __init__(self, measures: _GateMeasures) -> None:
        super().__init__(measures._measures, measures._ears, measures._engine)

    def transcribe(self, utterance: Utterance) -> str:
        return utterance.transcript or ""

    def word_error(self, expected: str, utterance: Utterance) -> float:
        return 0.0


def _known(score: Score) -> dict[str, Any]:
    """Return the values of a score that were measured."""
    return {name: value for name, value in score.values.items() if value is not None}


def _missed(edit: Edit, score: Score, judged: Judged) -> Complaint:
    """Return the complaint of a target that is not reached, and note what was measured for it."""
    judged.values["target"] = _known(score)
    shown = ", ".join(f"{name} {value:.2f}" for name, value in judged.values["target"].items())
    text = f"the scorer of {edit.name} says that its target is not reached"
    return Complaint("target", text + (f" ({shown})" if shown else ""))


def _case(edit: Edit, source: Utterance | None = None) -> Case:
    """Return the question to a scorer: the edit, and what it was asked of."""
    words = None if source is None else source.transcript
    language = None if source is None else source.language
    return Case(id="accept", edit=edit, audio="", transcript=words, language=language)


def _level(limit: float, made: Utterance, plan: Plan | None, to: Compared, judged: Judged) -> None:
    """Complain of a level further away than the edit announces."""
    allowed = (0.0, 0.0) if plan is None else plan.level
    before, after = active_level(to.received), active_level(made)
    if allowed is None or before is None:
        return
    shift = (-120.0 if after is None else after) - before
    judged.values["level"] = round(shift, 2)
    beyond = max(shift - allowed[1], allowed[0] - shift)
    if beyond > limit:
        text = f"the level moved by {shift:+.1f} dB (limit {limit:g})"
        judged.complaints.append(Complaint("level", text, beyond / limit - 1))


def _length(limit: float, made: Utterance, plan: Plan, source: Utterance, judged: Judged) -> None:
    """Complain of a length that is not the announced one."""
    ratio = made.seconds / max(1e-9, source.seconds * plan.length_ratio)
    judged.values["length"] = round(ratio, 3)
    allowed = limit * (1 if plan.has_known_length else 4)
    if abs(ratio - 1) > allowed:
        text = f"it lasts {ratio:.2f} times as long as announced"
        judged.complaints.append(Complaint("length", text, abs(ratio - 1) / allowed - 1))


def _words(limit: float, ears: Ears, made: Utterance, to: Compared, judged: Judged) -> None:
    """Complain of words that were lost, replaced or invented, as one of the recognisers hears.

    The preferred recogniser, which takes longest, comes last; the source is heard where it matters.
    """
    known = to.first if (to.first.transcript or "").strip() else to.received
    words = len(split_words(made.transcript or ""))
    allowed = max(limit, LOST_LEAST / max(words, 1)) if limit else 0.0
    for which in reversed(range(ears.count)):
        after = _or_none(judged, lambda at=which: ears.word_error(made, which=at))  # type: ignore[misc]
        if after is None:
            return
        judged.values["word_error"] = max(judged.values.get("word_error", 0.0), round(after, 3))
        if after <= allowed + 1e-9:
            continue
        own = _or_none(judged, lambda at=which: ears.word_error(known, which=at))  # type: ignore[misc]
        before = min(1.0, own or 0.0)
        if after - before > allowed + 1e-9:
            heard = ears.hear(made, which)[:80]
            text = f"word error {after:.2f} against {before:.2f} before, heard: {heard!r}"
            excess = (after - before - allowed) / max(allowed, 0.01)
            judged.complaints.append(Complaint("words", text, excess))
            return


def _or_none(judged: Judged, make: Callable[[], float | None]) -> float | None:
    """Return a word error, or None where there are no words or nobody hears them."""
    return judged.attempt("words", make)


def _quality(
    limit: float, measures: Measures, made: Utterance, to: Compared, judged: Judged
) -> None:
    """Complain of a rating by DNSMOS that fell too far."""
    ratings = [judged.attempt("quality", partial(measures.dnsmos, u)) for u in (to.first, made)]
    if ratings[0] is None or ratings[1] is None:
        return
    before, after = (float(rating["ovrl"]) for rating in ratings if rating is not None)
    judged.values["quality"] = round(after, 2)
    if before - after > limit:
        text = f"DNSMOS fell from {before:.2f} to {after:.2f} (limit {limit:g})"
        judged.complaints.append(Complaint("quality", text, (before - after) / limit - 1))


def _clipped(utterance: Utterance) -> float:
    """Return the share of samples at full scale, in runs of two or more."""
    full: npt.NDArray[np.bool_] = np.abs(utterance.samples) >= _FULL_SCALE
    return float(np.mean(full[1:] & full[:-1])) if len(full) > 1 else 0.0


def _hole(utterance: Utterance) -> float:
    """Return the longest digital silence between sounds, in seconds."""
    sounding = np.flatnonzero(np.abs(utterance.samples) > 1e-5)
    if len(sounding) < 2:
        return 0.0
    return float(np.diff(sounding).max()) / utterance.sample_rate


def ordered(judged: Sequence[Judged], reading: Sequence[float]) -> list[int]:
    """Return the order in which candidates are listened to: the most promising first."""
    return sorted(range(len(judged)), key=lambda at: (*judged[at].badness, -reading[at], at))
