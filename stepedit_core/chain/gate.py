"""Measure candidates against the limits of `Accept`, cheap limits first.

The edit's own `Scorer` judges the target: it is asked the same question as in the benchmark, so
that edits of other packages have a gate without a line of their own. What it waives is not asked
for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from stepedit_core.chain.complaints import (
    Compared,
    Complaint,
    Judged,
    clipped,
    complain_of_length,
    complain_of_level,
    complain_of_quality,
    complain_of_words,
    hole,
)
from stepedit_core.chain.ears import Ears
from stepedit_core.errors import StepeditError
from stepedit_core.labels.profile import profiles_of
from stepedit_core.scoring import Case, Judge, Measures, Prepared, Score

if TYPE_CHECKING:
    from stepedit_core.chain.accept import Accept
    from stepedit_core.edit import Edit
    from stepedit_core.engine import SpeechEngine
    from stepedit_core.plan import Plan
    from stepedit_core.registry.registry import Registry
    from stepedit_core.utterance import Utterance

__all__ = ["Compared", "Complaint", "Gate", "Judged", "ordered"]


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
            complain_of_level(limits.level, made, plan, to, judged)
        if limits.length is not None and plan is not None and "duration" not in waived:
            complain_of_length(limits.length, made, plan, source, judged)
        more = clipped(made) - max(clipped(source), clipped(to.first))
        if limits.clipping is not None and "clipping" not in waived and more > limits.clipping:
            text = f"{100 * clipped(made):.2f} % of the samples are clipped"
            add(Complaint("clipping", text, more / max(limits.clipping, 1e-6)))
        longest = hole(made)
        if limits.hole is not None and longest > max(limits.hole, hole(source)):
            text = f"a silence of {longest:.1f} s is inside"
            add(Complaint("hole", text, longest / limits.hole - 1))
        return judged

    def listen(
        self, judged: Judged, limits: Accept, edit: Edit, made: Utterance, to: Compared
    ) -> Judged:
        """Add what takes time: pitch, voice, words, quality, and last the edit's own target.

        A candidate with another pitch, or which would miss its target even if all its words were
        heard, as most do that are refused, is not listened to for its voice, and none with another
        voice for its words.
        """
        if limits.pitch is not None:
            self._judge_pitch(limits.pitch, edit, made, to, judged)
        if limits.target and not judged.complaints and not edit.is_composite():
            self._foresee_target(edit, made, to, judged)
        if limits.voice is not None and not judged.complaints:
            self._hear_voice(limits.voice, judged, edit, made, to)
        if not judged.complaints:
            self._hear_words(judged, limits, edit, made, to)
            judged.complete = True
        for limit, why in judged.unjudged.items():
            self._unjudged[f"{limit} is not judged: {why}"] = None
        return judged

    def _hear_voice(
        self, limit: float, judged: Judged, edit: Edit, made: Utterance, to: Compared
    ) -> None:
        """Complain of another voice, unless that is what the edit asks for."""
        if "speaker" in self.waived(edit):
            return
        measures = self._measures
        likeness = judged.attempt("voice", lambda: measures.speaker_similarity(to.voice, made))
        if likeness is None:
            return
        judged.values["voice"] = round(likeness, 3)
        if likeness < limit:
            text = f"the voice is alike by {likeness:.2f} (limit {limit:g})"
            judged.complaints.append(Complaint("voice", text, limit - likeness))

    def _hear_words(
        self, judged: Judged, limits: Accept, edit: Edit, made: Utterance, to: Compared
    ) -> None:
        """Complain of lost words, or of lost quality, or of a target that is not reached."""
        waived, measures = self.waived(edit), self._measures
        if limits.words is not None and self.ears is not None and "words" not in waived:
            all_ears = limits.all_ears
            complain_of_words(limits.words, self.ears, made, to, judged, all_ears=all_ears)
        if limits.quality is not None and "quality" not in waived and not judged.complaints:
            complain_of_quality(limits.quality, measures, made, to, judged)
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

    def promises(self, tried: Sequence[tuple[Edit, Score]], other: Edit) -> bool:
        """Return whether an edit's scorer thinks that another setting may reach the target."""
        try:
            return self._registry.scorer(type(other)).promises(tried, other)
        except Exception:  # Who has no scorer, or a faulty one, is tried.
            return True

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
        judged.score = score
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
            judged.score = score
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
        return self._ears.text(utterance)

    def word_error(self, expected: str, utterance: Utterance) -> float:
        if self._ears is None:
            return self._asked("words").word_error(expected, utterance)
        return self._ears.least_error(utterance, expected)

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


def ordered(judged: Sequence[Judged], reading: Sequence[float]) -> list[int]:
    """Return the order in which candidates are listened to: the most promising first."""
    return sorted(range(len(judged)), key=lambda at: (*judged[at].badness, -reading[at], at))
