"""Limits that steps must keep: what is refused, drawn again, kept or said."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stepedit_core import (
    Accept,
    Chain,
    Edit,
    Outcome,
    Plan,
    Route,
    Score,
    Scorer,
    Utterance,
    hookimpl,
)
from stepedit_core.chain.gate import Compared, Gate
from stepedit_core.codes import DualCodes
from stepedit_core.dsp.words import word_error
from stepedit_core.engine import DecodeRequest, GenerateRequest
from stepedit_core.errors import EditError, InvalidChainError
from stepedit_core.registry.registry import Registry
from stepedit_core.testing import FakeEngine, speech_like
from tests.toy_edits import Gain, Hiss, Recite

QUIET = Accept(words=None, voice=None, target=False)


def ramp(speech: Utterance, factor: float) -> Utterance:
    return speech.replace(samples=np.float32(factor) * speech.samples)


@pytest.mark.parametrize(
    ("heard", "error"),
    [
        ("one two three four", 0.0),
        ("One, two; THREE four!", 0.0),
        ("one two four", 0.25),
        ("one two two three four", 0.25),
        ("one two tree four", 0.25),
        ("", 1.0),
    ],
)
def test_word_error(heard: str, error: float) -> None:
    assert word_error("one two three four", heard) == error
    assert word_error("今天天气", "今天气") == 0.25


def test_quick_limits(toys: Registry, speech: Utterance) -> None:
    plan = Plan(uniform_tempo=True)
    gate = Gate(toys, speech, None, ears=0)
    hole = np.concatenate([speech.samples, np.zeros(48_000, np.float32), speech.samples])

    def why(made: Utterance, limits: Accept = QUIET, plan: Plan = plan) -> str:
        to = Compared(speech, speech, speech, speech)
        return "; ".join(gate.quick(limits, Hiss(), made, plan, to).why)

    assert why(speech) == "nothing changed"
    assert why(ramp(speech, 0.9)) == ""
    assert "level moved by -20.0 dB" in why(ramp(speech, 0.1))
    assert why(ramp(speech, 0.1), plan=plan.but(level=(-15.0, 0.0))) == ""
    assert why(ramp(speech, 0.1), plan=plan.but(level=None)) == ""
    assert "0.50 times as long" in why(speech.replace(samples=speech.samples[::2]))
    assert "clipped" in why(speech.replace(samples=np.clip(90 * speech.samples, -1, 1)))
    assert "silence of 2.0 s" in why(speech.replace(samples=hole), Accept(length=None))
    assert why(speech, QUIET.model_copy(update={"changed": False})) == ""


class Measured:
    """Measurements and scorer of a third party's edit; counts what it is asked."""

    def __init__(self, likeness: float = 1.0, reached: bool = True) -> None:
        self.likeness, self.reached, self.asked = likeness, reached, 0

    def speaker_similarity(self, first: Utterance, second: Utterance) -> float:
        return self.likeness

    @hookimpl
    def stepedit_measures(self) -> Any:
        return self

    @hookimpl
    def stepedit_scorer(self, edit: type[Edit]) -> Scorer | None:
        outer = self

        class Toy(Scorer):
            def score(self, case: Any, prepared: Any, output: Any, measures: Any) -> Score:
                outer.asked += 1
                return Score(outer.reached, {"size": 1.0})

        return Toy()


@pytest.mark.parametrize(
    ("measured", "why"),
    [
        (Measured(), None),
        (Measured(likeness=0.5), "the voice is alike by 0.50 (limit 0.7)"),
        (Measured(reached=False), "the scorer of recite says that its target is not reached"),
    ],
)
def test_voice_and_target(toys: Registry, measured: Measured, why: str | None) -> None:
    toys.register(measured, "measured")
    speech = speech_like(1.2).replace(transcript="a b")
    limits = Accept(words=None, otherwise="keep", best_of=2, tries=2)
    step = Chain([Recite(words="c d")])(speech, FakeEngine(), accept=limits).steps[0]
    assert step.accepted is (why is None)
    if why is None:
        assert measured.asked == 1 and step.judged["target"] == {"size": 1.0}
    else:
        assert [why in one["why"][0] for one in step.failed_tries] == [True, True]


def test_what_cannot_be_judged_is_said(toys: Registry, speech: Utterance) -> None:
    made = Chain([Hiss()])(speech, accept=Accept())
    notes = "; ".join(made.notes)
    assert "words are not judged" in notes and "voice is not judged" in notes
    assert "no plugin brings a scorer for 'hiss'" in notes
    assert made.steps[0].report()["judged"]["unjudged"].keys() == {"voice", "target"}


class Deaf:
    """A middleware that spoils the first tries of a step."""

    def __init__(self, spoilt: int) -> None:
        self.left = spoilt

    @hookimpl
    def stepedit_apply(self, edit: Edit, utterance: Utterance, proceed: object) -> Outcome:
        outcome: Outcome = proceed()  # type: ignore[operator]
        if self.left > 0:
            self.left -= 1
            quiet = outcome.utterance.replace(samples=outcome.utterance.samples * np.float32(1e-3))
            return Outcome(quiet, outcome.route)
        return outcome


LOUD = {
    "words": None,
    "level": 40.0,
    "length": None,
    "voice": None,
    "target": False,
    "first_alone": False,
}


@pytest.mark.parametrize("spoilt", [0, 1, 2])
@pytest.mark.parametrize("best_of", [1, 4])
def test_a_step_by_a_model_is_drawn_again(toys: Registry, spoilt: int, best_of: int) -> None:
    toys.register(Deaf(spoilt), "deaf")
    speech = speech_like(1.2).replace(transcript="a b")
    limits = Accept(**LOUD, tries=3, best_of=best_of)
    result = Chain([Recite(words="c d")])(speech, FakeEngine(), accept=limits)
    step = result.steps[0]
    assert step.accepted and step.report()["accepted"] is True
    assert step.judged["drawn"] == (spoilt + 1 if best_of == 1 else 3)
    assert len(step.failed_tries) == (spoilt if best_of == 1 else 0)
    plain = Chain([Recite(words="c d")])(speech, FakeEngine())
    if spoilt == 0:
        assert np.array_equal(step.utterance.samples, plain.utterance.samples)


@pytest.mark.parametrize(
    ("spoilt", "own", "sizes"), [(0, None, [1]), (1, None, [1, 3]), (1, 2, [1, 3]), (0, 4, [4])]
)
def test_the_engines_own_answer_is_heard_before_a_batch_is_drawn(
    toys: Registry, spoilt: int, own: int | None, sizes: list[int]
) -> None:
    toys.register(Deaf(spoilt), "deaf")
    drawn: list[int] = []

    class Counting(FakeEngine):
        def generate(self, requests: Any) -> Any:
            drawn.append(len(requests))
            return super().generate(requests)

    engine = Counting()
    if own is not None:
        engine.draws = lambda plan: own  # type: ignore[attr-defined]
    speech = speech_like(1.2).replace(transcript="a b")
    limits = Accept(**{**LOUD, "first_alone": True}, tries=4, best_of=4)
    step = Chain([Recite(words="c d")])(speech, engine, accept=limits).steps[0]
    assert step.accepted and drawn == sizes and step.judged["drawn"] == sum(sizes)
    plain = Chain([Recite(words="c d")])(speech, FakeEngine()).utterance
    assert np.array_equal(step.utterance.samples, plain.samples) is (spoilt == 0)


def test_candidates_are_one_batch(toys: Registry) -> None:
    sizes: list[int] = []

    class Counting(FakeEngine):
        def generate(self, requests: Any) -> Any:
            sizes.append(len(requests))
            return super().generate(requests)

    speech = speech_like(1.2).replace(transcript="a b")
    limits = Accept(**{**LOUD, "level": 1e-9}, otherwise="keep", best_of=3, tries=7)
    Chain([Recite(words="c d")])(speech, Counting(), accept=limits)
    assert sizes == [3, 3, 1]


class Choosing(FakeEngine):
    """Draws several answers; those of later draws read better."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[int, int, int]] = []
        self.decoded: list[int] = []

    def chooses(self, words: str) -> bool:
        return True

    def generate_several(
        self, requests: Sequence[GenerateRequest], draws: int, keep: int
    ) -> list[list[DualCodes]]:
        self.asked.append((len(requests), draws, keep))
        found = [
            [self._generate(replace(one, seed=one.seed + draw)) for draw in range(draws)]
            for one in requests
        ]
        return [answers[::-1][:keep] for answers in found]

    def decode(self, requests: Sequence[DecodeRequest]) -> list[Utterance]:
        self.decoded.append(len(requests))
        return super().decode(requests)


def test_of_answers_that_the_engine_ranks_the_best_alone_are_decoded(toys: Registry) -> None:
    speech = speech_like(1.2).replace(transcript="a b")
    refused = Accept(**{**LOUD, "level": 1e-9}, otherwise="keep", best_of=4, tries=8, heard=2)
    engine = Choosing()
    kept = Chain([Recite(words="c d")])(speech, engine, accept=refused).steps[0]
    assert engine.asked == [(1, 4, 2), (1, 4, 2)] and engine.decoded == [2, 2]
    assert kept.judged["drawn"] == 8 and len(kept.failed_tries) == 4
    # The best answer is heard first, and is that of the engine alone with so many draws.
    taken = Chain([Recite(words="c d")])(speech, Choosing(), accept=Accept(**LOUD, best_of=4))
    best = FakeEngine().generate([engine.requests[3]])[0]
    assert taken.steps[0].codes == best


def test_what_the_decoder_does_alone_is_drawn_once(toys: Registry) -> None:
    class Alone(Choosing):
        def answers_with_own_codes(self, plan: Plan) -> bool:
            return True

    speech = speech_like(1.2).replace(transcript="a b")
    engine = Alone()
    refused = Accept(**{**LOUD, "level": 1e-9}, otherwise="keep", best_of=4, tries=5)
    kept = Chain([Recite(words="c d")])(speech, engine, accept=refused).steps[0]
    assert engine.asked == [] and engine.decoded == [1] and kept.judged["drawn"] == 1


def test_no_try_passes(toys: Registry) -> None:
    toys.register(Deaf(99), "deaf")
    speech = speech_like(1.2).replace(transcript="a b")
    limits = Accept(**LOUD, tries=2)
    chain = Chain([Recite(words="c d")])
    with pytest.raises(EditError, match="not accepted in 2 tries, the best: the level") as raised:
        chain(speech, FakeEngine(), accept=limits)
    assert [one["try"] for one in raised.value.tries] == [1, 2]
    kept = chain(speech, FakeEngine(), accept=limits.model_copy(update={"otherwise": "keep"}))
    assert kept.steps[0].accepted is False and kept.utterance == speech


def test_a_gentler_setting_does_not_help_who_did_too_little(toys: Registry) -> None:
    toys.register(Measured(reached=False), "measured")
    speech = speech_like(1.2).replace(transcript="a b")
    limits = Accept(words=None, otherwise="keep", best_of=2, tries=2)
    step = Chain([Milder(words="cd")])(speech, FakeEngine(), accept=limits).steps[0]
    assert len(step.failed_tries) == 2 and not any("edit" in one for one in step.failed_tries)


class Milder(Recite):
    """Say other words, or fewer of them."""

    def gentler(self) -> Edit | None:
        return Milder(words=self.words[:-1]) if len(self.words) > 1 else None


@pytest.mark.parametrize(("gentler", "words"), [(True, "c"), (False, None)])
def test_the_gentler_setting_comes_last(toys: Registry, gentler: bool, words: str | None) -> None:
    toys.register(Deaf(2), "deaf")
    speech = speech_like(1.2).replace(transcript="a b")
    limits = Accept(**LOUD, tries=2, gentler=gentler, otherwise="keep")
    step = Chain([Milder(words="cd")])(speech, FakeEngine(), accept=limits).steps[0]
    assert step.edit == Milder(words="cd")
    assert step.details.get("setting", {}).get("words") == words
    assert step.utterance.transcript == (words or "a b")


@pytest.mark.parametrize(("fallback", "route"), [("dsp", "dsp"), (None, "llm")])
def test_signal_processing_where_it_is_asked_for(toys: Registry, fallback: Any, route: str) -> None:
    toys.register(Deaf(2), "deaf")
    speech = speech_like(1.2)
    limits = Accept(**LOUD, tries=2, fallback=fallback, otherwise="keep")
    step = Chain([Hiss()])(speech, FakeEngine(), route="llm", accept=limits).steps[0]
    assert (step.route, step.accepted) == (route, fallback is not None)


def test_signal_processing_is_not_tried_again(toys: Registry, speech: Utterance) -> None:
    loud = QUIET.model_copy(update={"level": 0.001})
    with pytest.raises(EditError, match="not accepted in 1 tries"):
        Chain([Hiss(amount="much")])(speech, accept=loud)
    assert Chain([Gain(db=-30)])(speech, accept=QUIET).steps[0].accepted


class Crackle(Hiss):
    """Add noise of which each draw is another one."""

    def draws(self, route: Route) -> bool:
        return True


def test_signal_processing_that_draws_is_tried_again(toys: Registry, speech: Utterance) -> None:
    toys.register(Deaf(2), "deaf")
    limits = Accept(**LOUD, tries=3)
    step = Chain([Crackle()])(speech, accept=limits).steps[0]
    assert step.accepted and len(step.failed_tries) == 2
    first = Chain([Crackle()])(speech).utterance
    assert not np.array_equal(step.utterance.samples, first.samples)


def test_limits_by_edit_and_step() -> None:
    limits = Accept(words=0.2, edits={"gain": {"words": None}, "2": {"tries": 1}})
    assert limits.for_step("gain", 1).words is None
    assert limits.for_step("hiss", 2).tries == 1 and limits.for_step("hiss", 2).words == 0.2
    with pytest.raises(ValueError, match="no limit 'loudness'"):
        Accept(edits={"gain": {"loudness": 1}})


def test_limits_from_text_and_file(tmp_path: Path) -> None:
    given: Mapping[str, Any] = Accept.parse(["words=0.1", "voice=off", "otherwise=keep"])
    assert given == {"words": 0.1, "voice": None, "otherwise": "keep"}
    with pytest.raises(InvalidChainError, match="did you mean 'words'"):
        Accept.parse(["word=0.1"])
    with pytest.raises(InvalidChainError, match="no limit 'nosuch'; there are words, ears"):
        Accept.parse(["nosuch=1"])
    with pytest.raises(InvalidChainError, match="write NAME=VALUE, such as words="):
        Accept.parse(["words"])
    path = tmp_path / "limits.json"
    path.write_text(json.dumps(Accept(level=2.0).model_dump()))
    assert Accept.read(path, tries=3) == Accept(level=2.0, tries=3)
    path.write_text('{"level": "loud"}')
    with pytest.raises(InvalidChainError, match=r"limits\.json: .*level"):
        Accept.read(path)


class Words(Measured):
    """Measurements whose recogniser costs much, and a scorer that asks for words at the end."""

    def word_error(self, expected: str, utterance: Utterance) -> float:
        raise AssertionError("asked for words")

    @hookimpl
    def stepedit_scorer(self, edit: type[Edit]) -> Scorer | None:
        outer = self

        class Toy(Scorer):
            def score(self, case: Any, prepared: Any, output: Any, measures: Any) -> Score:
                kept = measures.word_error("a b", output) == 0 == measures.word_error("a b", output)
                return Score(outer.reached and kept, {"size": 2.0})

        return Toy()


@pytest.mark.parametrize(("reached", "why"), [(False, ["target"]), (True, [])])
def test_words_are_not_listened_for_where_the_target_is_missed(
    toys: Registry, speech: Utterance, reached: bool, why: list[str]
) -> None:
    toys.register(Words(reached=reached), "measured")
    gate = Gate(toys, speech, None, ears=0)
    own = speech.replace(transcript="a b")
    limits = QUIET.model_copy(update={"target": True})
    to = Compared(own, own, own, own)
    made = ramp(own, 0.9)
    judged = gate.listen(gate.quick(limits, Hiss(), made, None, to), limits, Hiss(), made, to)
    assert [one.limit for one in judged.complaints] == why
    assert judged.complete is reached
