"""The scorer of emotion and style edits: what the judge says, and when it counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from stepedit_emotion import Emotion, stepedit_cases
from stepedit_emotion.profiles import PROFILES
from stepedit_emotion.scorer import EmotionScorer

from stepedit_core import Case, Utterance, Verdict
from stepedit_core.dsp.acoustics import agreement, difference
from stepedit_core.recordings import packaged_speech
from stepedit_core.scoring import Judge, Score
from stepedit_core.testing.fake_measures import FailingMeasures, FakeJudge, FakeMeasures


class ProfileJudge(Judge):
    """Names the profile that the shift from the reference agrees with most."""

    name = "profiles-of-tests"

    def tasks(self) -> Sequence[str]:
        return ("emotion",)

    def judge(
        self,
        task: str,
        utterance: Utterance,
        *,
        reference: Utterance | None = None,
        labels: Sequence[str] = (),
        question: Mapping[str, Any] | None = None,
    ) -> Verdict:
        shift = difference(reference, utterance)
        scores = {label: agreement(shift, PROFILES[label]) for label in labels if label in PROFILES}
        best = max(scores, key=scores.get)
        label = best if scores[best] > 0.4 else "neutral"
        return Verdict(label, scores=scores)


def case(to: str, **more: Any) -> Case:
    return Case(id="x", edit=Emotion(to=to), audio="speech:surpassed", **more)


LABELS = {"labels": ["happy", "sad", "fear"]}


def test_rendered_emotion_is_reached() -> None:
    scorer, measures = EmotionScorer(), FakeMeasures(ProfileJudge())
    row = case("happy", meta=LABELS)
    ready = scorer.prepare(row, packaged_speech("surpassed"), np.random.default_rng(0))
    happy = Emotion(to="happy").render(ready.source, np.random.default_rng(0)).utterance
    good = scorer.score(row, ready, happy, measures)
    assert good.reached is True
    assert good.values["label_correct"] == 1.0
    assert good.values["intensity"] == pytest.approx(1.0, abs=0.35)
    assert good.values["intensity_gain"] == pytest.approx(good.values["intensity"])
    idle = scorer.score(row, ready, ready.source, measures)
    assert idle.reached is False
    assert idle.values["intensity_gain"] == pytest.approx(0.0)
    wrong = scorer.score(case("sad", meta=LABELS), ready, happy, measures)
    assert wrong.reached is False and wrong.values["intensity"] < 0


@pytest.mark.parametrize(
    ("leads", "strength", "hopeful"),
    [
        ({1.0: -0.06}, 1.25, True),
        ({1.0: -0.2}, 1.25, False),
        ({1.0: -0.3, 1.25: -0.05}, 1.5, True),
        ({1.0: -0.1, 1.25: -0.02}, 1.5, False),
        ({}, 1.25, True),
    ],
)
def test_a_label_far_behind_another_is_not_tried_stronger(
    leads: Mapping[float, float], strength: float, hopeful: bool
) -> None:
    tried = [
        (Emotion(to="happy", strength=at), Score(False, {"lead": lead}))
        for at, lead in leads.items()
    ]
    other = Emotion(to="happy", strength=strength)
    assert EmotionScorer().promises(tried, other) is hopeful


def test_remove() -> None:
    scorer, measures = EmotionScorer(), FakeMeasures(ProfileJudge())
    row = case("remove", prepare={"from": "happy"}, meta=LABELS)
    clean = packaged_speech("surpassed")
    ready = scorer.prepare(row, clean, np.random.default_rng(0))
    assert ready.reference == clean and ready.source != clean
    assert scorer.score(row, ready, clean, measures).reached is True
    assert scorer.score(row, ready, ready.source, measures).reached is False


def test_untouched_input() -> None:
    speech = packaged_speech("surpassed")
    ready = EmotionScorer().prepare(case("happy"), speech, np.random.default_rng(0))
    score = EmotionScorer().score(case("happy"), ready, speech, FakeMeasures(FakeJudge("happy")))
    assert score.reached is False and score.values["label_correct"] == 1.0


def test_failing_judge() -> None:
    speech = packaged_speech("surpassed")
    ready = EmotionScorer().prepare(case("happy"), speech, np.random.default_rng(0))
    for measures in (FakeMeasures(FakeJudge()), FailingMeasures()):
        score = EmotionScorer().score(case("happy"), ready, speech, measures)
        assert score.reached is None and score.unscored


def test_the_judge_hears_the_labels_and_the_question() -> None:
    judge = FakeJudge("happy", 7.0)
    speech = packaged_speech("surpassed")
    ready = EmotionScorer().prepare(case("happy"), speech, np.random.default_rng(0))
    louder = speech.replace(samples=speech.samples * 0.5)
    score = EmotionScorer().score(case("happy"), ready, louder, FakeMeasures(judge))
    assert score.reached is True and score.values["intensity"] == 7.0
    assert judge.questions == [("emotion", {"to": "happy", "transcript": speech.transcript})]


def test_built_in_cases_are_sound() -> None:
    cases = list(stepedit_cases(Emotion, "default"))
    assert 10 <= len(cases) <= 24
    for row in cases:
        assert packaged_speech(row.audio.removeprefix("speech:")).transcript
        if row.edit.to == "remove":
            assert row.prepare["from"] in row.meta["labels"]
        else:
            assert row.edit.to in row.meta["labels"]
            assert row.edit.route_problem("dsp") is None
    assert stepedit_cases(Emotion, "other") is None
