"""How lost words are told from a recogniser's slips."""

from __future__ import annotations

import pytest

from stepedit_core import Accept, Utterance
from stepedit_core.chain.ears import How
from stepedit_core.chain.gate import Compared, Gate, Judged
from stepedit_core.dsp.words import word_error
from stepedit_core.registry.registry import Registry
from tests.chain.test_accept import ramp
from tests.toy_edits import Hiss

QUIET = Accept(words=None, voice=None, target=False)
FEW_LOST = QUIET.model_copy(update={"words": 0.1})


class Heard:
    """Recognisers that hear the same words whatever is said."""

    count = 2

    def __init__(self, *heard: str, timed: str | None = None, rough: str | None = None) -> None:
        self.heard, self.timed, self.rough = heard, timed, rough

    def hears_twice(self, which: int) -> bool:
        return self.timed is not None

    def hear(self, utterance: Utterance, which: int = 0, how: How = "plain") -> str | None:
        if utterance.language == "en":
            return "one two three four"
        if how == "rough":
            return self.rough
        return self.timed if how == "timed" else self.heard[which]

    def word_error(
        self, utterance: Utterance, words: str | None = None, which: int = 0, how: How = "plain"
    ) -> float | None:
        heard = self.hear(utterance, which, how)
        return None if heard is None else word_error(words or "one two three four", heard)

    def certainty(self, utterance: Utterance, which: int = 0) -> list[float] | None:
        return None

    def settle(self, utterance: Utterance, how: How | None, error: float) -> None:
        self.settled = how, error


@pytest.mark.parametrize(
    ("heard", "limit", "kept"),
    [
        (("one two three four", "one two three four"), 0.1, True),
        (("one two three four", "one two three"), 0.1, True),
        (("one two three four", "one two three"), 0.0, False),
        (("one two three four", "one two"), 0.1, False),
        (("one two", "one two three four"), 0.1, False),
        (("one two", "one two"), 0.5, True),
    ],
)
def test_words(
    toys: Registry, speech: Utterance, heard: tuple[str, str], limit: float, kept: bool
) -> None:
    gate = Gate(toys, speech, None, ears=0)
    gate.ears = Heard(*heard)  # type: ignore[assignment]
    first = speech.replace(transcript="one two three four", language="en")
    made = speech.replace(transcript="one two three four", language="fr")
    limits = QUIET.model_copy(update={"words": limit})
    judged = gate.quick(limits, Hiss(), ramp(made, 0.9), None, Compared(first, first, first, first))
    gate.listen(judged, limits, Hiss(), made, Compared(first, first, first, first))
    assert (judged.why == []) is kept


def _judged(
    gate: Gate,
    speech: Utterance,
    limits: Accept = FEW_LOST,
    *,
    source: str = "one two three four",
    made: str = "one two three four",
) -> Judged:
    """Return what a gate says of a softer copy in which some words are to be heard.

    Args:
        gate: with its ears.
        speech: the recording.
        limits: to be kept.
        source: what the source says.
        made: what the copy is to say.
    """
    first = speech.replace(transcript=source, language="en")
    copy = ramp(speech.replace(transcript=made, language="fr"), 0.9)
    to = Compared(first, first, first, first)
    judged = gate.quick(limits, Hiss(), copy, None, to)
    return gate.listen(judged, limits, Hiss(), copy, to)


@pytest.mark.parametrize(("timed", "kept"), [("one two three four", True), ("one", False)])
def test_lost_words_are_heard_again(
    toys: Registry, speech: Utterance, timed: str, kept: bool
) -> None:
    gate = Gate(toys, speech, None, ears=0)
    gate.ears = Heard("one two", "one two three four", timed=timed)  # type: ignore[assignment]
    judged = _judged(gate, speech)
    assert (judged.why == []) is kept


@pytest.mark.parametrize(
    ("rough", "way"), [("one two three four", "rough"), ("one two", "plain"), (None, "plain")]
)
def test_the_cheapest_way_to_hear_comes_first(
    toys: Registry, speech: Utterance, rough: str | None, way: str
) -> None:
    gate = Gate(toys, speech, None, ears=0)
    ears = Heard("one two three four", "one two three four", rough=rough)
    gate.ears = ears  # type: ignore[assignment]
    judged = _judged(gate, speech)
    assert judged.why == [] and ears.settled == (way, 0.0)


@pytest.mark.parametrize(("other", "kept"), [("one two tree for", True), ("one two", False)])
def test_a_wrong_transcript_is_not_held_against_an_edit(
    toys: Registry, speech: Utterance, other: str, kept: bool
) -> None:
    class Disagreeing(Heard):
        """One hears the source as its transcript has it, and one as both hear the edit."""

        def hear(self, utterance: Utterance, which: int = 0, how: How = "plain") -> str | None:
            if how == "rough":
                return None
            is_source = utterance.language == "en"
            return "one two three four" if is_source and which == 0 else other

    gate = Gate(toys, speech, None, ears=0)
    gate.ears = Disagreeing()  # type: ignore[assignment]
    judged = _judged(gate, speech)
    assert (judged.why == []) is kept


def test_the_source_is_heard_where_it_matters(toys: Registry, speech: Utterance) -> None:
    gate, asked = Gate(toys, speech, None, ears=0), []

    class Listening(Heard):
        def hear(self, utterance: Utterance, which: int = 0, how: How = "plain") -> str | None:
            if how == "rough":
                return None
            asked.append((utterance.language, which))
            return super().hear(utterance, which, how)

    gate.ears = Listening("one two three four", "one two three")  # type: ignore[assignment]
    first = speech.replace(transcript="one two three four", language="en")
    made = speech.replace(transcript="one two three four", language="fr")
    limits = QUIET.model_copy(update={"words": 0.0})
    judged = gate.quick(limits, Hiss(), ramp(made, 0.9), None, Compared(first, first, first, first))
    gate.listen(judged, limits, Hiss(), made, Compared(first, first, first, first))
    assert asked[:2] == [("fr", 1), ("en", 1)] and ("fr", 0) not in asked


SURE, IN_DOUBT, LOST = 0.9, 0.05, 0.001


@pytest.mark.parametrize(
    ("source", "made", "way"),
    [
        ([SURE] * 4, [SURE] * 4, None),
        ([SURE] * 4, [SURE, IN_DOUBT, SURE, SURE], None),
        ([SURE] * 4, [SURE, IN_DOUBT, IN_DOUBT, SURE], "plain"),
        ([SURE] * 4, [SURE, LOST, SURE, SURE], "plain"),
        ([SURE, LOST, SURE, SURE], [SURE, LOST, SURE, SURE], None),
        ([SURE, IN_DOUBT, LOST, SURE], [SURE, 0.01, LOST, SURE], None),
        ([SURE, IN_DOUBT, SURE, SURE], [SURE, LOST, SURE, SURE], "plain"),
        ([SURE, SURE, LOST, SURE], [SURE, LOST, SURE, SURE], "plain"),
    ],
)
def test_words_that_a_recogniser_is_sure_of_are_not_heard(
    toys: Registry, speech: Utterance, source: list[float], made: list[float], way: How | None
) -> None:
    class Sure(Heard):
        def certainty(self, utterance: Utterance, which: int = 0) -> list[float] | None:
            return source if utterance.language == "en" else made

    gate = Gate(toys, speech, None, ears=0)
    ears = Sure("one two three four", "one two three four")
    gate.ears = ears  # type: ignore[assignment]
    judged = _judged(gate, speech)
    assert judged.why == [] and ears.settled[0] == way


@pytest.mark.parametrize(
    ("firm", "other", "way"),
    [
        ([SURE] * 4, [IN_DOUBT, IN_DOUBT, LOST, SURE], True),
        ([SURE] * 4, [LOST, LOST, SURE, SURE], False),
        ([SURE, SURE, SURE, IN_DOUBT], [IN_DOUBT, IN_DOUBT, LOST, SURE], False),
    ],
)
def test_where_the_preferred_one_doubts_nothing_the_other_may_doubt_more(
    toys: Registry, speech: Utterance, firm: list[float], other: list[float], way: bool
) -> None:
    heard: list[int] = []

    class Sure(Heard):
        def certainty(self, utterance: Utterance, which: int = 0) -> list[float] | None:
            return [SURE] * 4 if utterance.language == "en" else (firm, other)[which]

        def hear(self, utterance: Utterance, which: int = 0, how: How = "plain") -> str | None:
            heard.append(which)
            return "one two three four"

    gate = Gate(toys, speech, None, ears=0)
    gate.ears = Sure()  # type: ignore[assignment]
    judged = _judged(gate, speech)
    assert judged.why == [] and (heard == []) is way


FIRST = "one two three four"


@pytest.mark.parametrize(
    ("source", "made", "all_ears", "asked"),
    [
        ([SURE] * 4, [SURE] * 4, False, [1]),
        ([SURE] * 4, [SURE] * 4, True, [1, 0]),
        ([SURE, 0.08, SURE, SURE], [SURE, IN_DOUBT, SURE, SURE], False, [1, 1]),
        ([SURE, 0.2, SURE, SURE], [SURE, IN_DOUBT, SURE, SURE], False, [1, 1, 0]),
    ],
)
def test_whoever_is_sure_of_every_word_is_asked_alone(
    toys: Registry,
    speech: Utterance,
    source: list[float],
    made: list[float],
    all_ears: bool,
    asked: list[int],
) -> None:
    found: list[int] = []

    class Sure(Heard):
        def certainty(self, utterance: Utterance, which: int = 0) -> list[float] | None:
            found.append(which)
            if which == 0:
                return [SURE] * 4
            return source if utterance.language == "en" else made

    gate = Gate(toys, speech, None, ears=0)
    gate.ears = ears = Sure(FIRST, FIRST)  # type: ignore[assignment]
    judged = _judged(gate, speech, FEW_LOST.model_copy(update={"all_ears": all_ears}))
    assert judged.why == [] and found == asked and ears.settled == (None, 0.0)


def test_what_the_source_says_is_no_reading_of_other_words(
    toys: Registry, speech: Utterance
) -> None:
    class Listening(Heard):
        def hear(self, utterance: Utterance, which: int = 0, how: How = "plain") -> str | None:
            return "two three four"

        def word_error(
            self,
            utterance: Utterance,
            words: str | None = None,
            which: int = 0,
            how: How = "plain",
        ) -> float | None:
            return word_error(words or str(utterance.transcript), "two three four")

    gate = Gate(toys, speech, None, ears=0)
    gate.ears = Listening()  # type: ignore[assignment]
    judged = _judged(gate, speech, source="two three four", made="one two three four five")
    assert [one.limit for one in judged.complaints] == ["words"]


def test_a_source_of_which_all_is_heard_roughly_is_not_heard_plainly(
    toys: Registry, speech: Utterance
) -> None:
    asked: list[How] = []

    class Listening(Heard):
        def hear(self, utterance: Utterance, which: int = 0, how: How = "plain") -> str | None:
            if utterance.language == "en":
                asked.append(how)
                return FIRST
            return "one two"

    gate = Gate(toys, speech, None, ears=0)
    gate.ears = Listening()  # type: ignore[assignment]
    assert _judged(gate, speech).why != [] and set(asked) == {"rough"}


def test_other_words_than_the_source_has_are_heard(toys: Registry, speech: Utterance) -> None:
    class Sure(Heard):
        def certainty(self, utterance: Utterance, which: int = 0) -> list[float] | None:
            return [SURE] * 4

    gate = Gate(toys, speech, None, ears=0)
    gate.ears = Sure("one two three", "one two three")  # type: ignore[assignment]
    judged = _judged(gate, speech, QUIET.model_copy(update={"words": 0.0}), source="one two")
    assert judged.why != []
