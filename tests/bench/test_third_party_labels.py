"""A label edit of a third party has what emotion and style have: margin, judge, scorer."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from stepedit_bench.judges import AcousticJudge
from stepedit_bench.judges.answers import read_answer
from stepedit_bench.judges.prompts import Question
from stepedit_bench.judging import default_judge
from stepedit_pairs.corpora.labels import attribute_of, own_spelling
from stepedit_pairs.margins import AcousticMargin

from stepedit_core.edit import Edit
from stepedit_core.labels.profile import profiled_edits, profiles_of
from stepedit_core.recordings import packaged_speech
from stepedit_core.registry.registry import Registry, set_registry
from stepedit_core.scoring import Case
from stepedit_core.testing.fake_measures import FakeMeasures
from tests.cli.calls import call

ACCENT = Path(__file__).parents[1] / "fixtures" / "stepedit_accent"


@pytest.fixture
def accent(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Edit]]:
    """The edit of the plugin `stepedit_accent`, registered beside the installed ones."""
    monkeypatch.syspath_prepend(str(ACCENT))
    import stepedit_accent

    registry = Registry().load()
    registry.register(stepedit_accent, "accent")
    set_registry(registry)
    yield registry.edit_class("accent")
    set_registry(None)
    for name in [name for name in sys.modules if name.startswith("stepedit_accent")]:
        del sys.modules[name]


def test_margin_and_judge_take_the_plugins_profiles(accent: type[Edit]) -> None:
    speech = packaged_speech("office")
    edit, other = (accent.model_validate({"to": to}) for to in ("british", "german"))
    made = edit.render(speech, np.random.default_rng(0)).utterance
    margins = [AcousticMargin().margin(speech, made, one) for one in (edit, other)]
    assert margins[0] > 6 and margins[1] == 1
    verdict = AcousticJudge().judge("accent", made, reference=speech)
    assert verdict.label == "british" and set(verdict.scores) == {"british", "german", "neutral"}
    assert "accent" in AcousticJudge().tasks() and default_judge("accent") == "acoustic"
    assert AcousticJudge().judge("accent", made, reference=speech, question={"to": "x"}).refused


def test_corpora_and_judges_take_the_plugins_spellings(accent: type[Edit]) -> None:
    assert own_spelling("accent", "UK") == own_spelling("accent", "accent: rp") == "british"
    assert attribute_of("rp") == "accent" and attribute_of("anger") == "emotion"
    question = Question("", "", "label", ("british", "german"))
    assert read_answer(question, '{"label": "RP"}').label == "british"


def test_its_scorer_asks_the_acoustic_judge(accent: type[Edit]) -> None:
    from stepedit_accent.scorer import AccentScorer

    speech = packaged_speech("office")
    edit = accent.model_validate({"to": "british"})
    case, scorer = Case(id="x", edit=edit, audio="speech:office"), AccentScorer()
    ready = scorer.prepare(case, speech, np.random.default_rng(0))
    made = edit.render(speech, np.random.default_rng(0)).utterance
    measures = FakeMeasures(AcousticJudge())
    assert scorer.score(case, ready, made, measures).reached is True
    assert scorer.score(case, ready, speech, measures).reached is False


def test_edits_without_profiles_have_none() -> None:
    set_registry(None)
    registry = Registry().load()
    assert profiled_edits(registry) == ("emotion", "style")
    assert not profiles_of(registry, "speed") and not profiles_of(registry, "nothing")
    assert default_judge("paralinguistic") == "events" and default_judge("speed") is None


def test_its_project_passes_the_contract() -> None:
    result = call("check", ACCENT)
    assert result.exit_code == 0, result.output
