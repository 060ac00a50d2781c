"""What later steps of a chain count from: the first voice, and where a run of labels began."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pytest

from stepedit_core import Chain, Edit, Plan, Score, Scorer, Utterance, hookimpl
from stepedit_core.engine import DecodeRequest
from stepedit_core.labels.edit import LabelledEdit
from stepedit_core.registry.registry import Registry
from stepedit_core.testing import FakeEngine, speech_like
from tests.toy_edits import Hiss, Recite


class Mood(LabelledEdit):
    """Make the speech carry a mood."""

    instruction = "Make this {info}: {text}\n"
    removal = "Remove the mood: {text}\n"

    to: Literal["glad", "grim", "remove"]
    """The mood."""

    def plan(self, utterance: Utterance) -> Plan:
        return super().plan(utterance).but(length_ratio=0.8, level=(0.0, 3.0))


class Heard(FakeEngine):
    """Keeps what it is asked to decode, and says everything louder."""

    def __init__(self) -> None:
        super().__init__()
        self.decoded: list[DecodeRequest] = []

    def decode(self, requests: Sequence[DecodeRequest]) -> list[Utterance]:
        self.decoded += requests
        made = super().decode(requests)
        return [one.replace(samples=np.float32(1.3) * one.samples) for one in made]


class Toys:
    """The mood, and a scorer that says which edits change the voice, and of how much gain."""

    def __init__(self, strengths: Sequence[float] = ()) -> None:
        self.strengths = list(strengths)

    @hookimpl
    def stepedit_edits(self) -> list[type[Edit]]:
        return [Mood]

    @hookimpl
    def stepedit_scorer(self, edit: type[Edit]) -> Scorer:
        outer = self

        class Toy(Scorer):
            expects_same_speaker = edit is not Recite

            def score(self, case: Any, prepared: Any, output: Any, measures: Any) -> Score:
                return Score(True, {"intensity": outer.strengths.pop(0)})

        return Toy()


@pytest.fixture
def mooded(toys: Registry) -> Registry:
    toys.register(Toys(), "moods")
    return toys


@pytest.fixture
def words() -> Utterance:
    return speech_like(1.2).replace(transcript="a b")


def test_a_label_again_is_decoded_from_where_it_began(mooded: Registry, words: Utterance) -> None:
    engine = Heard()
    chain = Chain([Hiss(), Mood(to="glad"), Mood(to="glad"), Mood(to="grim")])
    steps = chain(words, engine, route="llm").steps
    began = steps[0].utterance
    assert [one.reference is began for one in engine.decoded] == [False, True, True, True]
    assert [one.voice for one in engine.decoded] == [None, words, words, words]
    ratio = [round(request.length_ratio, 2) for request in engine.requests]
    assert ratio[1] == 0.8 and ratio[2] == pytest.approx(1.0, abs=0.1)


def test_carrying_audio_alone_has_no_past(mooded: Registry, words: Utterance) -> None:
    engine = Heard()
    steps = Chain([Mood(to="glad")] * 2)(words, engine, carry="audio").steps
    assert engine.decoded[1].reference is steps[0].utterance
    assert engine.decoded[1].voice is None


def test_another_voice_is_kept_from_then_on(mooded: Registry, words: Utterance) -> None:
    engine = Heard()
    chain = Chain([Recite(words="c d"), Hiss(), Hiss()])
    steps = chain(words, engine, route="llm").steps
    assert [one.voice for one in engine.decoded] == [None, None, steps[0].utterance]


@pytest.mark.parametrize(
    ("strengths", "left"), [([0.5, 0.9, 0.9, 0.9], 2), ([0.5, 0.4], 1), ([0.1, 0.2, 0.2, 0.4], 3)]
)
def test_until_no_gain(toys: Registry, words: Utterance, strengths: list[float], left: int) -> None:
    toys.register(Toys(strengths), "moods")
    seen: list[object] = []
    chain = Chain([Mood(to="glad")], iterations=3)
    made = chain(words, FakeEngine(), until="no gain", on_step=seen.append)
    assert len(made.steps) == len(seen) == left
    assert any("brought no gain" in note for note in made.notes) is (left < 3)


class Runaway(Heard):
    """Says one sound at another length for each request."""

    def __init__(self, sound: Utterance, *lengths: float) -> None:
        super().__init__()
        self.sound, self.lengths = sound.resample(24_000).samples, list(lengths)

    def decode(self, requests: Sequence[DecodeRequest]) -> list[Utterance]:
        made = super().decode(requests)
        size = int(self.lengths.pop(0) * 24_000)
        return [one.replace(samples=np.resize(self.sound, size)) for one in made]


def test_a_label_that_runs_away_is_asked_of_its_beginning(
    mooded: Registry, words: Utterance
) -> None:
    engine = Runaway(words, 1.0, 1.1, 3.0, 1.2)
    steps = Chain([Mood(to="glad")] * 3)(words, engine).steps
    assert len(engine.requests) == 4
    assert [request.utterance is words for request in engine.requests] == [True, False, False, True]
    assert engine.decoded[-1].reference is words
    assert [step.utterance.seconds for step in steps] == [1.0, 1.1, 1.2]
    assert "the length came to 2.50 times" in steps[2].details["asked_again"]


class Own(Heard):
    """Answers with the source's own codes."""

    def answers_with_own_codes(self, plan: Plan) -> bool:
        return plan.label.startswith("mood")


def test_a_label_put_on_own_codes_is_put_on_what_its_run_began_with(
    mooded: Registry, words: Utterance
) -> None:
    engine = Own()
    chain = Chain([Hiss(), Mood(to="glad"), Mood(to="glad"), Mood(to="grim")])
    steps = chain(words, engine, route="llm").steps
    began = steps[0].utterance
    assert [one.reference is began for one in engine.decoded] == [False, True, True, True]
    labelled = [one.source_map for one in engine.decoded[1:]]
    assert all(one is not None and one.positions is not None for one in labelled)
    assert engine.decoded[1].codes == engine.decoded[2].codes
    assert len(engine.requests) == 1
    assert "asked_again" not in steps[1].details
    assert "began with" in steps[2].details["asked_again"]
