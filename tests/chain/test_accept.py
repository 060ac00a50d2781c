"""Limits that steps must keep: what is refused, drawn again, kept or said."""

from __future__ import annotations

import numpy as np
import pytest

from stepedit_core import Accept, Chain, Edit, Outcome, Plan, Utterance, hookimpl
from stepedit_core.chain.ears import word_error
from stepedit_core.errors import EditError
from stepedit_core.registry.registry import Registry
from stepedit_core.testing import FakeEngine, speech_like
from tests.toy_edits import Gain, Recite

QUIET = Accept(words=None)


def changed(speech: Utterance, **changes: object) -> Utterance:
    return speech.replace(**changes)


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


def test_limits(speech: Utterance) -> None:
    plan = Plan(uniform_tempo=True)
    hole = np.concatenate([speech.samples, np.zeros(48_000, np.float32), speech.samples])

    def why(made: Utterance, limits: Accept = QUIET) -> str:
        return "; ".join(limits.complaints(speech, made, plan, None))

    assert why(speech) == "nothing changed"
    assert why(ramp(speech, 0.9)) == ""
    assert "level moved by -20.0 dB" in why(ramp(speech, 0.1))
    assert "0.50 times as long" in why(speech.replace(samples=speech.samples[::2]))
    assert "clipped" in why(speech.replace(samples=np.clip(90 * speech.samples, -1, 1)))
    assert "silence of 2.0 s" in why(speech.replace(samples=hole), Accept(words=None, length=None))
    assert why(speech, Accept(words=None, changed=False)) == ""


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


@pytest.mark.parametrize("spoilt", [0, 1, 2])
def test_a_step_by_a_model_is_drawn_again(toys: Registry, spoilt: int) -> None:
    toys.register(Deaf(spoilt), "deaf")
    speech = speech_like(1.2).replace(transcript="a b")
    limits = Accept(words=None, level=40.0, length=None, tries=3)
    result = Chain([Recite(words="c d")])(speech, FakeEngine(), accept=limits)
    step = result.steps[0]
    assert step.accepted and len(step.failed_tries) == spoilt
    assert step.report()["accepted"] is True
    plain = Chain([Recite(words="c d")])(speech, FakeEngine())
    if spoilt == 0:
        assert np.array_equal(step.utterance.samples, plain.utterance.samples)


def test_no_try_passes(toys: Registry) -> None:
    toys.register(Deaf(99), "deaf")
    speech = speech_like(1.2).replace(transcript="a b")
    limits = Accept(words=None, level=40.0, length=None, tries=2)
    chain = Chain([Recite(words="c d")])
    with pytest.raises(EditError, match="not accepted in 2 tries, the last: the level moved"):
        chain(speech, FakeEngine(), accept=limits)
    kept = chain(speech, FakeEngine(), accept=limits.model_copy(update={"otherwise": "keep"}))
    assert kept.steps[0].accepted is False and kept.utterance == speech


def test_signal_processing_is_not_tried_again(toys: Registry, speech: Utterance) -> None:
    with pytest.raises(EditError, match="not accepted in 1 tries"):
        Chain([Gain(db=-30)])(speech, accept=QUIET)
    assert Chain([Gain(db=-3)])(speech, accept=QUIET).steps[0].accepted
