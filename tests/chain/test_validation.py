"""A chain is validated as a whole; composites; engines that say what they know."""

from __future__ import annotations

import numpy as np
import pytest

from stepedit_core import Chain, Edit, Plan, Prompt, Registry, Rendered, Route, Span, Utterance
from stepedit_core.chain.validation import choose_route
from stepedit_core.errors import InvalidChainError, StepeditError
from stepedit_core.testing import FakeEngine
from tests.toy_edits import Gain, Hiss, Recite


class Swap(Edit):
    """Replace a word that is spoken."""

    word: str
    """What to replace."""
    by: str = "it"
    """What to say instead."""

    def prompt(self, utterance: Utterance) -> Prompt:
        return Prompt.edit(f"Say {self.transcript_after(utterance)}\n")

    def render(self, utterance: Utterance, rng: np.random.Generator) -> Rendered:
        return Rendered(utterance.replace(transcript=self.transcript_after(utterance)))

    def transcript_after(self, utterance: Utterance) -> str | None:
        return (utterance.transcript or "").replace(self.word, self.by)

    def problem(self, utterance: Utterance) -> str | None:
        if self.word in (utterance.transcript or "").split():
            return None
        return f"nobody says {self.word!r}"

    def needs_transcript(self, route: Route) -> bool:
        return True


class Late(Edit):
    """Be about a time that may not be there."""

    at: float
    """When."""

    def render(self, utterance: Utterance, rng: np.random.Generator) -> Rendered:
        return Rendered(utterance)

    def problem(self, utterance: Utterance) -> str | None:
        return "too late" if self.at > utterance.seconds else None


class Stretch(Edit):
    """Last twice as long."""

    def render(self, utterance: Utterance, rng: np.random.Generator) -> Rendered:
        return Rendered(utterance.replace(samples=np.repeat(utterance.samples, 2)))


class Both(Edit):
    """Swap a word and make it quieter."""

    word: str = "came"
    """What to replace."""

    def expand(self, utterance: Utterance) -> Chain:
        return Chain([Swap(word=self.word), Gain(db=-3)])


class Endless(Edit):
    """Stand for itself."""

    def expand(self, utterance: Utterance) -> Chain:
        return Chain([self])


def test_words_that_an_earlier_step_removes_are_missed_before_anything_runs(
    speech: Utterance,
) -> None:
    ran: list[object] = []
    with pytest.raises(InvalidChainError, match="step 2, swap: nobody says 'came'"):
        Chain([Swap(word="came")] * 2)(speech, on_step=ran.append)
    with pytest.raises(InvalidChainError, match="step 3, swap: nobody says 'last'"):
        Chain([Stretch(), Gain(), Swap(word="last")]).validate(speech)
    assert not ran
    back = Chain([Swap(word="came", by="went"), Gain(), Swap(word="went", by="ran")])
    assert "ran back" in str(back(speech).utterance.transcript)


def test_what_hangs_on_the_sound_of_a_later_step_is_left_to_the_run(speech: Utterance) -> None:
    after = speech.seconds * 1.5
    Chain([Stretch(), Late(at=after)])(speech)
    with pytest.raises(InvalidChainError, match="step 1, late: too late"):
        Chain([Late(at=after)])(speech)
    with pytest.raises(StepeditError, match=r"step 2, late .*: too late"):
        Chain([Gain(), Late(at=after)])(speech)


def test_the_plan_is_made_once_for_each_step(speech: Utterance) -> None:
    asked: list[Utterance] = []

    class Counted(Hiss):
        """Count."""

        def plan(self, utterance: Utterance) -> Plan:
            asked.append(utterance)
            return super().plan(utterance).but(spans=(Span(0.2, 0.9),))

    result = Chain([Counted(), Counted()])(speech, FakeEngine())
    heard = [one for one in asked if type(one) is Utterance]
    assert heard == [speech, result.steps[0].utterance]


def test_a_composite_is_one_step_with_a_record_of_each(speech: Utterance) -> None:
    result = Chain([Both(), Gain(db=-1)])(speech, seed=4)
    step = result.steps[0]
    assert [one["edit"]["edit"] for one in step.details["steps"]] == ["swap", "gain"]
    assert (step.route, step.engine, len(result.steps)) == ("dsp", None, 2)
    assert step.utterance.transcript == (speech.transcript or "").replace("came", "it")
    engine = FakeEngine()
    mixed = Chain([Both()])(speech, engine, seed=4).steps[0]
    assert (mixed.route, mixed.engine) == ("llm", "fake")
    assert [one["route"] for one in mixed.details["steps"]] == ["llm", "dsp"]
    again = Chain([Both()])(speech, engine, seed=4).steps[0]
    assert again.utterance == mixed.utterance
    assert Chain([Both()])(speech, engine, seed=5).steps[0].utterance != mixed.utterance


def test_composites_are_validated_with_the_chain(speech: Utterance) -> None:
    with pytest.raises(InvalidChainError, match="step 2, both: step 1, swap: nobody says 'came'"):
        Chain([Swap(word="came"), Both()])(speech)
    with pytest.raises(InvalidChainError, match="nested more than"):
        Chain([Endless()])(speech)


class Pupil(FakeEngine):
    """Was taught one edit."""

    def knows(self, edit: Edit) -> bool:
        return edit.name == "recite"


def test_auto_does_not_send_an_engine_what_it_was_not_taught(speech: Utterance) -> None:
    engine = Pupil()
    assert choose_route(Hiss(), FakeEngine()) == "llm"
    assert choose_route(Hiss(), engine) == "dsp"
    assert choose_route(Recite(words="a"), engine) == "llm"
    assert choose_route(Hiss(), engine, "llm") == "llm"

    class Unheard(Recite):
        """Has no dsp route."""

    with pytest.raises(StepeditError, match="was not taught 'unheard'; teach it the edit"):
        choose_route(Unheard(words="a"), engine)


class Anglophone(FakeEngine):
    """Was taught English."""

    languages = ("en",)


def test_auto_does_not_send_an_engine_a_language_it_was_not_taught(speech: Utterance) -> None:
    engine, foreign = Anglophone(), speech.replace(language="zh-CN")
    assert choose_route(Hiss(), engine, "auto", speech.replace(language="en-GB")) == "llm"
    assert choose_route(Hiss(), engine, "auto", foreign) == "dsp"
    assert choose_route(Hiss(), FakeEngine(), "auto", foreign) == "llm"
    with pytest.raises(InvalidChainError, match=r"English \(en\) and not Mandarin \(zh\)"):
        Chain([Recite(words="a")])(foreign, engine)
    forced = Chain([Hiss()])(foreign, engine, route="llm")
    assert len(forced.notes) == 1 and "not Mandarin (zh)" in forced.notes[0]
    assert Chain([Hiss()])(foreign, engine, route="dsp").notes == ()


def test_words_tell_of_a_language_that_was_not_taught(speech: Utterance) -> None:
    engine = Anglophone()
    (note,) = Chain([Recite(words="你好，世界")])(speech.replace(language="en"), engine).notes
    assert "not Mandarin (zh)" in note


def test_a_promised_transcript_is_marked_until_somebody_hears_it(
    toys: Registry, speech: Utterance
) -> None:
    said, quiet = Chain([Recite(words="a"), Gain()])(speech, FakeEngine()).steps
    assert said.transcript_unverified and said.report()["transcript_unverified"] is True
    assert not quiet.transcript_unverified and "transcript_unverified" not in quiet.report()
