from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from stepedit_emotion import Emotion
from stepedit_pairs.margins import AcousticMargin, JudgeMargin
from stepedit_pairs.validate import auc, validate

from stepedit_core.edit import Edit
from stepedit_core.errors import StepeditError
from stepedit_core.pairs import CorpusItem, MarginScorer
from stepedit_core.registry.registry import Registry
from stepedit_core.scoring import Judge, Verdict
from stepedit_core.testing import speech_like
from stepedit_core.utterance import Utterance
from tests.pairs.making import registry
from tests.pairs.toy_pairs import Quieter

__all__ = ["registry"]


def _voice(f0: float, gain: float = 1.0) -> Utterance:
    speech = speech_like(1.5, 16_000, seed=3, f0=f0)
    return speech.replace(samples=speech.samples * gain)


def test_acoustic_margin() -> None:
    scorer = AcousticMargin()
    plain, raised = _voice(120, 0.3), _voice(170, 0.6)
    assert isinstance(scorer, MarginScorer)
    up = scorer.margin(plain, raised, Emotion(to="happy"))
    down = scorer.margin(raised, plain, Emotion(to="happy"))
    assert up is not None and down is not None and up > 4 > 1.5 > down
    assert scorer.margin(plain, plain, Emotion(to="happy")) == pytest.approx(1.0)
    removed = scorer.margin(raised, plain, Emotion(to="remove"))
    assert removed is not None and removed >= up


def test_what_cannot_be_measured_has_no_margin() -> None:
    scorer, voice = AcousticMargin(), _voice(120)
    assert scorer.margin(voice, voice, Quieter()) is None
    assert scorer.margin(voice, voice, Emotion(to="admiration")) is None
    silence = voice.replace(samples=voice.samples * 0)
    assert scorer.margin(voice, silence, Emotion(to="happy")) is None


def test_the_validation_names_its_figures() -> None:
    assert "AUC" in AcousticMargin.validation and "RAVDESS" in AcousticMargin.validation


class _Told(Judge):
    name = "told"
    answers: Sequence[Verdict] = ()

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
        assert labels[:2] == ("sad", "neutral") and question and question["to"] == "sad"
        assert reference is not None
        return self.answers[0 if utterance != reference else 1]


@pytest.mark.parametrize(
    ("answers", "margin"),
    [
        ([Verdict(score=8.5), Verdict(score=2.0)], 7.5),
        ([Verdict(score=70.0), Verdict(score=-3.0)], 10.0),
        ([Verdict(refused="no"), Verdict(score=1.0)], None),
        ([Verdict(score=9.0), Verdict(refused="no")], None),
        ([Verdict(), Verdict()], None),
        ([Verdict("sad", 0.9, {"sad": 0.9}), Verdict("neutral", 0.9, {"sad": 0.1})], 8.2),
        ([Verdict("sad", 1.4, {"sad": 1.4}), Verdict("neutral", 0, {"sad": -0.5})], 10.0),
        ([Verdict(label="sad"), Verdict(label="neutral")], 10.0),
        ([Verdict(label="sad"), Verdict(label="sad")], 1.0),
        ([Verdict(label="happy"), Verdict(label="neutral")], 1.0),
    ],
)
def test_a_judge_as_margin(answers: Sequence[Verdict], margin: float | None) -> None:
    voice = _voice(120)
    scorer = JudgeMargin(type("_Case", (_Told,), {"answers": answers}))
    got = scorer.margin(voice, _voice(130), Emotion(to="sad"))
    assert got == (None if margin is None else pytest.approx(margin))
    assert scorer.name == "judge:told" and "no validation" in scorer.validation
    assert scorer.margin(voice, voice, Quieter()) is None


def test_every_judge_is_a_margin_scorer(registry: Registry) -> None:
    known = registry.named("stepedit_margin_scorers", lambda scorer: str(scorer.name))
    assert set(known) == {"acoustic", "judge:loudness"}


def test_auc_counts_ties_half() -> None:
    assert auc([3, 4], [1, 2]) == 1.0 and auc([1, 2], [3, 4]) == 0.0
    assert auc([1, 2], [1, 2]) == 0.5
    with pytest.raises(ValueError, match="both sides"):
        auc([], [1])


class _ByLength(MarginScorer):
    """Takes the target's duration in tenths of a second for its margin of anything."""

    name = "length"
    validation = "none: for tests"

    def margin(self, source: Utterance, target: Utterance, edit: Edit) -> float | None:
        return target.seconds * 10 if edit.to_data().get("to") == "happy" else None


def _item(folder: Path, name: str, emotion: str, seconds: float) -> CorpusItem:
    path = speech_like(seconds, 8000).write(folder / f"{name}.wav")
    return CorpusItem(name, str(path), "hi", "s", labels={"emotion": emotion}, group="g")


def test_validation_sets_a_label_against_the_others(tmp_path: Path) -> None:
    items = [
        _item(tmp_path, "n1", "neutral", 0.3), _item(tmp_path, "n2", "neutral", 0.1),
        _item(tmp_path, "h1", "happy", 0.8), _item(tmp_path, "h2", "happy", 0.4),
        _item(tmp_path, "s1", "sad", 0.5), _item(tmp_path, "x1", "zeal", 0.2),
    ]  # fmt: skip
    items.append(
        CorpusItem("gone", str(tmp_path / "gone.wav"), labels={"emotion": "sad"}, group="g")
    )
    (row,) = validate(_ByLength(), Emotion, items)
    assert (row.label, row.same, row.other) == ("happy", 2, 2)
    assert row.auc == 0.75 and row.neutral_auc == 1.0 and row.mean == pytest.approx(6.0)
    assert (row.kept, row.kept_other) == (0.5, 0.0)
    with pytest.raises(StepeditError, match="no parallel group"):
        validate(_ByLength(), Emotion, items[:2])
