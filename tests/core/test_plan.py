"""Plans of edits, of wrappers, of old hooks, and of what is only foreseen."""

from __future__ import annotations

from typing import ClassVar

import pytest

from stepedit_core import Edit, Insertion, Plan, Prompt, Span, Utterance, conditioning_label
from stepedit_core.plan import ForeseenUtterance, NotHeardYet
from stepedit_core.testing import speech_like


def test_a_plan_begins_with_name_words_and_problem(speech: Utterance) -> None:
    class Shorten(Edit):
        """Say less."""

        def transcript_after(self, utterance: Utterance) -> str:
            return (utterance.transcript or "")[:3]

        def problem(self, utterance: Utterance) -> str | None:
            return None if utterance.transcript else "no words"

    plan = Shorten().plan(speech)
    assert plan == Plan(
        words_after=(speech.transcript or "")[:3], label="shorten", rules=("shorten",)
    )
    assert Shorten().plan(speech.replace(transcript=None)).problem == "no words"
    assert not plan.has_known_length and plan.but(length_is_exact=True).has_known_length


def test_plan_inside_spans() -> None:
    speech = speech_like(4.0)

    def plan_of(part: Utterance) -> Plan:
        return Plan(
            length_ratio=2.0,
            uniform_tempo=True,
            spans=(Span(0.1, part.seconds),) if part.seconds > 0.9 else None,
            label="speed",
            rules=("speed",),
        )

    plan = Plan.inside(plan_of, [Span(0.5, 1.0), Span(2.0, 3.0)], speech, name="masked")
    assert plan.length_ratio == pytest.approx(1 + 1.5 / 4)
    assert plan.spans == (Span(0.5, 1.0), Span(2.1, 3.0))
    assert (plan.label, plan.rules) == ("speed", ("speed", "masked"))
    assert plan.words_after == speech.transcript and not plan.has_known_length


def test_inside_drops_the_label_of_a_sound() -> None:
    inner = Plan(label="laugh", rules=("laugh",), insertions=(Insertion(0.1, 0.4),))
    plan = Plan.inside(lambda part: inner, [Span(0.0, 1.0)], speech_like(2.0), name="masked")
    assert (plan.label, plan.insertions) == ("masked", ())


def test_labels_may_carry_numbers() -> None:
    assert conditioning_label("emotion", "sad") == "emotion:sad"
    assert conditioning_label("pitch", semitones=2.0) == "pitch:semitones=+2"
    assert conditioning_label("pause", "after", seconds=-0.25) == "pause:after:seconds=-0.25"


@pytest.mark.filterwarnings("default::DeprecationWarning")
def test_old_hooks_are_read_for_one_more_release(speech: Utterance) -> None:
    with pytest.warns(DeprecationWarning) as caught:

        class Old(Edit):
            """Use every hook that has gone."""

            transcript_routes: ClassVar[frozenset[str]] = frozenset({"llm"})
            known_duration: ClassVar[bool] = True
            even_pace: ClassVar[bool] = True

            def length_ratio(self, utterance: Utterance) -> float:
                return 0.5

            def free_spans(self, utterance: Utterance) -> tuple[Span, ...]:
                return (Span(0.1, 0.5),)

            def insertions(self, utterance: Utterance) -> tuple[Insertion, ...]:
                return (Insertion(0.2, 0.3),)

            def sampled_as(self) -> tuple[str, ...]:
                return ("other", *super().sampled_as())

            def decoded_as(self) -> str:
                return f"{super().decoded_as()}:x"

    texts = [str(item.message) for item in caught]
    assert len(texts) == 8 and "Old.length_ratio is an old hook" in " ".join(texts)
    assert Old().plan(speech) == Plan(
        length_ratio=0.5,
        length_is_exact=True,
        uniform_tempo=True,
        spans=(Span(0.1, 0.5),),
        insertions=(Insertion(0.2, 0.3),),
        words_after=speech.transcript,
        label="old:x",
        rules=("other", "old"),
    )
    assert Old().needs_transcript("llm") and not Old().needs_transcript("dsp")


@pytest.mark.filterwarnings("default::DeprecationWarning")
def test_callers_of_old_hooks_are_answered(speech: Utterance) -> None:
    class New(Edit):
        """Has a plan."""

        def plan(self, utterance: Utterance) -> Plan:
            return super().plan(utterance).but(length_ratio=3.0, spans=(Span(0.0, 0.1),))

    with pytest.warns(DeprecationWarning, match="use Edit.plan"):
        assert New().length_ratio(speech) == 3.0
        assert New().free_spans(speech) == (Span(0.0, 0.1),)
        assert New().insertions(speech) == ()
    assert (New().sampled_as(), New().decoded_as()) == (("new",), "new")


def test_what_is_foreseen_has_words_and_no_sound() -> None:
    foreseen = ForeseenUtterance("words", 16_000, "en")
    assert foreseen.replace(transcript="others").transcript == "others"
    assert (foreseen.language, foreseen.sample_rate, foreseen.problem()) == ("en", 16_000, None)
    assert repr(foreseen) == "ForeseenUtterance('words')"
    for ask in (
        lambda: foreseen.samples,
        lambda: foreseen.seconds,
        lambda: foreseen.digest,
        lambda: foreseen.slice((0.0, 1.0)),
        lambda: foreseen.resample(8_000),
        lambda: foreseen.replace(samples=None),
    ):
        with pytest.raises(NotHeardYet):
            ask()


def test_shows_transcript() -> None:
    class Words(Edit):
        """Need the words."""

        def prompt(self, utterance: Utterance) -> Prompt:
            return Prompt.edit(f"{utterance.transcript}\n")

        def needs_transcript(self, route: str) -> bool:
            return route == "llm"

    class Quiet(Words):
        """Need the words, and keep them back."""

        def shows_transcript(self) -> bool:
            return False

    assert Words().shows_transcript() and not Quiet().shows_transcript()
