"""Rewards: what each says, how they add up, and that a copy of the source wins nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stepedit_train.rl.adding import scorer_settings
from stepedit_train.rl.measures import Tools, TrainingMeasures
from stepedit_train.rl.rewarding import Rewards, RewardSettings, make_reward
from stepedit_train.rl.token_rewards import copied_share, kept_segments
from stepedit_train.settings import load_settings
from stepedit_train.stages import settings_of

from stepedit_core.codes import DualCodes
from stepedit_core.engine import GenerateRequest
from stepedit_core.errors import StepeditError
from stepedit_core.llm_route.planning import request_for
from stepedit_core.registry.registry import get_registry, set_registry
from stepedit_core.reward import Answer
from stepedit_core.scoring import Case, Prepared
from stepedit_core.testing import FakeEngine, speech_like
from stepedit_core.testing.subject import load_case_audio
from stepedit_core.utterance import Utterance

CONFIGS = Path(__file__).parents[3] / "training" / "configs"
FAMILIES = (
    "emotion", "style", "paralinguistic", "speed", "denoise", "trim_silence", "masked", "clone",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _all_plugins() -> Iterator[None]:
    set_registry(None)
    yield
    set_registry(None)


def group(number: int) -> list[int]:
    return [number % 1024, number % 1024, 1024 + number, 1024 + number, 1024 + number]


def spelled(numbers: Sequence[int]) -> DualCodes:
    """Return codes whose groups are numbered."""
    return DualCodes.from_interleaved([code for number in numbers for code in group(number)])


def answer(
    given: Sequence[int], source: Sequence[int], target: Sequence[int] | None = None
) -> Answer:
    speech = speech_like(0.3, 8000).replace(transcript="words")
    edit = get_registry().edit_class("denoise")()
    request = GenerateRequest(edit.prompt(speech), spelled(source), speech)
    case = Case(id="x", edit=edit, audio="x")
    codes = None if target is None else spelled(target)
    return Answer(edit, request, spelled(given), case, Prepared(speech), codes)


def _tools(engine: Any) -> Tools:
    return Tools(engine, TrainingMeasures(engine))


def score(name: str, *answers: Answer) -> list[float | None]:
    tools = _tools(FakeEngine())
    return make_reward(RewardSettings(name=name), tools, Path()).score(answers)


def test_token_rewards_by_hand() -> None:
    source, target = [1, 2, 3, 9, 4, 5], [1, 2, 3, 4, 5]
    assert [part.tolist() for part in kept_segments(np.array(source), np.array(target))] == [
        [1, 2, 3], [4, 5],
    ]  # fmt: skip
    exact, copy = answer(target, source, target), answer(source, source, target)
    other = answer([7, 8], source, target)
    assert score("consistency", exact, copy, other) == [1.0, 1.0, 0.0]
    assert score("in_order", exact, copy, other) == [1.0, 1.0, 0.0]
    assert score("length", exact, other) == [1.0, pytest.approx(math.exp(-3 / 1.5))]
    # Two stretches: 1 - 2/5 and, from the second group on, 1 - 2/4.
    assert score("edit_similarity", exact)[0] == pytest.approx((0.6 + 0.5) / 2)
    assert score("edit_similarity", other)[0] == 0.0
    assert score("edit_similarity", answer(target, source)) == [None]
    assert score("length", answer(source[:3], source)) == [pytest.approx(math.exp(-3 / 1.6))]


def test_copied_shares() -> None:
    source = list(range(10))
    assert copied_share(spelled(source), spelled(source)) == 1.0
    assert copied_share(spelled(source[:8]), spelled(source)) == pytest.approx(0.8)
    assert copied_share(spelled(range(20, 30)), spelled(source)) == 0.0


def test_weighted_sum() -> None:
    chosen = [RewardSettings(name="length", weight=0.5), RewardSettings(name="edit_similarity")]
    source = list(range(10))
    answers = [answer(source[:8], source, source[:8]), answer(source, source, source[:8])]
    made = Rewards(chosen, _tools(FakeEngine()), Path(), penalty=2.0)
    found = made([*answers, answer(source, source)])
    assert found.totals[2] is None and found.copied == [pytest.approx(0.8), 1.0, 1.0]
    whole, copy = found.totals[:2]
    assert whole is not None and copy is not None and copy < whole - 1.5
    assert found.figures()["unscored"] == pytest.approx(1 / 3)
    dense = made.per_token(answers, found.totals[:2])
    assert [float(part.sum()) for part in dense] == pytest.approx([whole, copy], abs=1e-5)


def test_what_is_not_at_hand_is_one_line() -> None:
    tools = _tools(FakeEngine())
    with pytest.raises(StepeditError, match="needs a model with a phone reader"):
        make_reward(RewardSettings(name="phones"), tools, Path())
    with pytest.raises(StepeditError, match=r"reward reward_model: path: Field required"):
        make_reward(RewardSettings(name="reward_model"), tools, Path())
    with pytest.raises(StepeditError, match="named twice"):
        Rewards([RewardSettings(name="length")] * 2, tools, Path())
    with pytest.raises(StepeditError, match="hears no words"):
        TrainingMeasures(FakeEngine()).transcribe(speech_like(0.3))


def _done(edit: Any, source: Utterance, prepared: Prepared) -> Utterance | None:
    """Return what the edit makes by signal processing, or the ideal output where one is known."""
    if edit.route_problem("dsp") is None:
        made: Utterance = edit.render(source, np.random.default_rng(0)).utterance
        return made
    return prepared.reference


@pytest.mark.parametrize("name", FAMILIES)
def test_a_copy_of_the_source_does_not_win(name: str) -> None:
    registry = get_registry()
    kind = registry.edit_class(name)
    case = registry.cases(kind)[0]
    prepared = registry.scorer(kind).prepare(case, load_case_audio(case), np.random.default_rng(0))
    source, engine = prepared.source, FakeEngine()
    codes = engine.encode([source])[0]
    request = request_for(case.edit, source, codes, 0)
    configured = load_settings(settings_of("grpo"), CONFIGS / "grpo.toml")
    known = [one for one in configured.rewards if one.name in ("scorer", "length")]  # type: ignore[attr-defined]
    rest = sum(one.weight for one in configured.rewards if one not in known)  # type: ignore[attr-defined]
    rewards = Rewards(known, _tools(engine), Path(), configured.copy_penalty)  # type: ignore[attr-defined]
    copy = Answer(case.edit, request, codes, case, prepared, audio=source)
    done = _done(case.edit, source, prepared)
    answers = [copy]
    if done is not None:
        made = engine.encode([done])[0]
        answers.append(Answer(case.edit, request, made, case, prepared, audio=done))
    found = rewards(answers)
    # Rewards that need a model are taken to be at their best for the copy, and 0 for the other.
    assert found.totals[0] is None or found.totals[0] + rest < 0.35
    assert found.copied[0] == 1.0
    if len(found.totals) > 1 and None not in found.totals:
        assert found.totals[1] > found.totals[0] + rest  # type: ignore[operator]


def test_an_edit_is_trained_by_its_scorer_alone(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    speech, out = tmp_path / "speech.csv", tmp_path / "out"
    asked = (["denoise"], str(tmp_path), tmp_path / "pairs")
    made = scorer_settings(*asked, speech, out, ["steps=7"])
    assert made.steps == 7 and made.answers >= 2 and made.out == out
    assert [one.name for one in made.rewards] == ["scorer"]
    assert made.prompts[0].path == speech and made.prompts[0].edits == ("denoise",)
    with pytest.raises(StepeditError, match="or name plain speech with --corpus"):
        scorer_settings(*asked, None, out)
    with pytest.raises(StepeditError, match="unknown edit 'denoisy'"):
        scorer_settings(["denoisy"], *asked[1:], speech, out)
