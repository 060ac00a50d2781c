"""Rollouts of edits that put sounds in: each answer is an outcome, heard whole or around them."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stepedit_train.rl.measures import Tools, TrainingMeasures
from stepedit_train.rl.prompts import Prompt as Asked
from stepedit_train.rl.prompts import Ready
from stepedit_train.rl.rewarding import RewardSettings, make_reward
from stepedit_train.rl.rollouts import OwnGenerator, Rollouts, rollout_rules

from stepedit_core.codes import GROUP_SECONDS
from stepedit_core.edit import Edit, Outcome
from stepedit_core.models.engine import Engine
from stepedit_core.plan import Insertion, Plan
from stepedit_core.prompt import Prompt
from stepedit_core.registry.registry import Registry
from stepedit_core.scoring import Case, Prepared
from stepedit_core.testing import speech_like
from stepedit_core.utterance import Utterance
from tests.train.rl.making import engine_folder, register


class Click(Edit):
    """Put a sound in; longer ones fit worse, and nothing fits perfectly."""

    tells: bool = True

    def prompt(self, utterance: Utterance) -> Prompt:
        return Prompt.edit("Put a click in.\n")

    def plan(self, utterance: Utterance) -> Plan:
        fits = _fit if self.tells else None
        return super().plan(utterance).but(insertions=(Insertion(1.0, 0.24),), fits=fits)


def _fit(outcome: Outcome) -> float:
    ((start, end),) = outcome.details["output_spans"]
    return float(start - end)


class Given(Asked):
    """A request whose source is at hand."""

    def ready(self) -> Ready:
        speech = speech_like(2.0, 24_000).replace(transcript="words")
        return Ready(Case(id=self.name, edit=self.edit, audio="x"), Prepared(speech))


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    folder = engine_folder(tmp_path_factory.mktemp("engine"))
    rules = {"repetition_window": 0, "temperature": 0.3, "keep_rest": True, "candidates": 4}
    (folder / "sampling.json").write_text(json.dumps(rules))
    return Engine.load(str(folder), device="cpu")


def drawn(engine: Engine, edit: Edit, around: float | None = None) -> list[Any]:
    generator = OwnGenerator(engine, engine.parts.model, 8)
    rules = rollout_rules(engine, None, None)
    rollouts = Rollouts(engine, generator, rules, 2000, 8, around)
    groups, refused = rollouts.draw([Given("one", edit, "me", 0)], 3, 0, decoded=True)
    assert refused == 0 and len(rollouts._kept) == 1
    return groups[0].answers


def test_nothing_is_chosen_among_answers(engine: Engine) -> None:
    answers = drawn(engine, Click())
    assert len({one.codes.token_string() for one in answers}) == 3
    assert len({one.audio.digest for one in answers}) == 3
    for one in answers:
        ((start, end),) = one.details["output_spans"]
        assert one.audio.seconds == pytest.approx(2.0 + 0.24, abs=GROUP_SECONDS)
        assert 0.8 < start < 1.0 < end < 1.5


def test_what_an_edit_can_tell_is_a_reward(engine: Engine, toys: Registry) -> None:
    register(toys)
    tools = Tools(engine, TrainingMeasures(engine))
    reward = make_reward(RewardSettings(name="fits"), tools, Path())
    assert reward.needs_audio
    answers = drawn(engine, Click())
    lengths = [end - start for one in answers for start, end in one.details["output_spans"]]
    assert reward.score(answers) == pytest.approx([math.exp(-one) for one in lengths])
    too_good = dataclasses.replace(
        answers[0].request, plan=answers[0].request.plan.but(fits=lambda _: 3.0)
    )
    assert reward.score([dataclasses.replace(answers[0], request=too_good)]) == [1.0]
    assert reward.score(drawn(engine, Click(tells=False))) == [None, None, None]


def test_around_new_sound_the_rest_is_the_source(engine: Engine) -> None:
    whole, near = drawn(engine, Click()), drawn(engine, Click(), 0.3)
    source = near[0].prepared.source
    for one, other in zip(near, whole, strict=True):
        assert one.codes.token_string() == other.codes.token_string()
        assert len(one.audio.samples) == len(other.audio.samples)
        spans = [answer.details["output_spans"][0] for answer in (one, other)]
        assert list(spans[0]) == pytest.approx(list(spans[1]))
        first = round(0.8 * source.sample_rate)
        assert np.array_equal(one.audio.samples[:first], source.samples[:first])
        assert np.array_equal(one.audio.samples[-first:], source.samples[-first:])
    everything = drawn(engine, Click(), 10.0)
    assert [one.audio.digest for one in everything] == [one.audio.digest for one in whole]
