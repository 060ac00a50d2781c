"""Texts said phrase by phrase, in a voice of which a part is shown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from stepedit_core import Chain, EditError
from stepedit_core.alignment import Alignment, TimedWord
from stepedit_core.codes import DualCodes
from stepedit_core.dsp.silences import find_silences, find_speech
from stepedit_core.dsp.words import read_seconds
from stepedit_core.engine import GenerateRequest
from stepedit_core.llm_route.batching import AllAtOnce
from stepedit_core.llm_route.phrasing import SENTENCE_PAUSE
from stepedit_core.llm_route.planning import request_for
from stepedit_core.llm_route.progress import counting_on, listening, report_tokens
from stepedit_core.llm_route.saying import (
    AT_ONCE,
    LONGEST_RUN,
    LONGEST_SILENCE,
    saying_of,
)
from stepedit_core.prompt import Prompt
from stepedit_core.recordings import packaged_speech
from stepedit_core.testing import FakeEngine
from stepedit_core.utterance import Utterance
from tests.saying_edit import Say

TEXT = "We walked along the river until the lights went out. Nobody expected the train today."
RATE = 24_000


class Brief(FakeEngine):
    """Says three seconds at once, is shown two and a half, and counts its calls."""

    limits: tuple[float | None, float | None] = (3.0, 2.5)

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[int] = []
        self.longest_decoded = 0.0

    def spoken_at_once(self, rules: tuple[str, ...]) -> tuple[float | None, float | None]:
        return self.limits

    def generate(self, requests: Sequence[GenerateRequest]) -> list[DualCodes]:
        self.calls.append(len(requests))
        report_tokens(10, 40)
        return super().generate(requests)

    def decode(self, requests: Sequence) -> list[Utterance]:  # type: ignore[type-arg]
        self.longest_decoded = max(self.longest_decoded, *(one.codes.seconds for one in requests))
        return super().decode(requests)


@pytest.fixture(scope="module")
def voice() -> Utterance:
    """Four words in four seconds."""
    speech = packaged_speech("garden").resample(RATE)
    samples = np.resize(speech.samples, 4 * RATE)
    words = tuple(TimedWord(name, at + 0.1, at + 0.9) for at, name in enumerate("abcd"))
    return Utterance(samples, RATE, "a b c d", "en", alignment=Alignment("a b c d", words, "known"))


def test_each_phrase_is_asked_for_by_itself_in_a_part_of_the_voice(voice: Utterance) -> None:
    engine = Brief()
    made = Chain([Say(text=TEXT)])(voice, engine, route="llm", seed=5)
    asked = engine.requests
    assert [one.words for one in asked] == [
        "We walked along the river until the lights went out.",
        "Nobody expected the train today.",
    ]
    assert asked[0].seed != asked[1].seed
    for one in asked:
        assert one.codes.seconds <= 2.5 and one.utterance.transcript in ("a b", "b c", "c d")
        assert one.prompt == Prompt.clone(one.utterance.transcript or "", one.words or "")
        wanted = one.codes.seconds * one.plan.length_ratio
        assert wanted == pytest.approx(read_seconds(one.words or ""), rel=0.15)
    assert made.utterance.transcript == TEXT
    details = made.steps[0].details
    assert details["phrases"] == 2 and details["voice_shown"] <= 2.5


def test_a_pause_stands_between_sentences_and_fades_in_and_out(
    voice: Utterance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stepedit_core.llm_route.saying.find_speech", lambda audio: [])
    engine = Brief()
    made = Chain([Say(text=TEXT)])(voice, engine, route="llm").utterance
    first = engine.generate(engine.requests[:1])[0].seconds
    start, end = round(first * RATE), round((first + SENTENCE_PAUSE) * RATE)
    pause = made.samples[start:end]
    level = np.sqrt(np.mean(np.square(made.samples)))
    assert np.sqrt(np.mean(np.square(pause))) < 0.1 * level
    edges = np.abs(np.concatenate([made.samples[start - 24 : start], made.samples[end : end + 24]]))
    assert edges.max() < 0.2 * np.abs(made.samples).max()


@pytest.mark.parametrize("limits", [(None, None), (8.0, None), (8.0, 30.0)])
def test_short_texts_and_voices_are_asked_for_as_they_are(
    voice: Utterance, limits: tuple[float | None, float | None]
) -> None:
    engine = Brief()
    engine.limits = limits
    plain, edit = FakeEngine(), Say(text=TEXT)
    made = Chain([edit])(voice, engine, route="llm", seed=2)
    same = Chain([edit])(voice, plain, route="llm", seed=2)
    assert made.utterance.digest == same.utterance.digest
    assert engine.requests == plain.requests and len(plain.requests) == 1


def test_edits_without_a_text_of_their_own_are_asked_for_as_they_are(voice: Utterance) -> None:
    class Other(Say):
        def saying(self, text: str) -> None:  # type: ignore[override]
            return None

    engine = Brief()
    request = request_for(Other(text=TEXT), voice, engine.encode([voice])[0], 0)
    assert saying_of(Other(text=TEXT), request, engine) is None


def test_a_voice_without_timed_words_is_shown_whole_and_that_is_said(voice: Utterance) -> None:
    engine = Brief()
    foreign = voice.replace(alignment=None, language="sw")
    made = Chain([Say(text=TEXT)])(foreign, engine, route="llm")
    assert all(one.codes.seconds > 3.8 for one in engine.requests)
    (note,) = made.steps[0].details["notes"]
    assert "could not be timed" in note and "2.5 s" in note


def test_a_long_text_is_drawn_in_parts_decoded_in_passes_and_tells_how_far_it_is(
    voice: Utterance,
) -> None:
    engine = Brief()
    text = " ".join(["and so the river went on and on past the town and the mill"] * 80)
    heard: list[tuple[int, int]] = []
    with listening(lambda done, most: heard.append((done, most))):
        made = Chain([Say(text=text)])(voice, engine, route="llm")
    assert made.utterance.seconds > 240 and max(engine.calls) <= AT_ONCE
    assert engine.longest_decoded <= LONGEST_RUN + 4.0
    assert [done for done, _ in heard] == [10 * (place + 1) for place in range(len(heard))]
    assert len(heard) == len(engine.calls) and heard[0][1] == 40 * len(heard)
    assert heard[-1] == (10 * len(heard), 10 * (len(heard) - 1) + 40)


def test_it_can_be_given_up_between_phrases(voice: Utterance) -> None:
    class GivenUp(Exception):
        pass

    class Leaving(Brief):
        def generate(self, requests: Sequence[GenerateRequest]) -> list[DualCodes]:
            if self.calls:
                raise GivenUp
            return super().generate(requests)

    engine = Leaving()
    with pytest.raises(EditError, match="GivenUp"):
        Chain([Say(text=" ".join([TEXT] * 9))])(voice, engine, route="llm")
    assert engine.calls == [AT_ONCE]


def test_counting_on_without_a_listener_does_nothing() -> None:
    done: list[int] = []
    with counting_on(done, 0):
        report_tokens(3, 9)
    assert done == [3]


def test_who_learns_of_whole_answers_gets_them(voice: Utterance) -> None:
    engine = Brief()
    edit = Say(text=TEXT)
    request = request_for(edit, voice, engine.encode([voice])[0], 0)
    assert saying_of(edit, request, engine) is not None
    assert saying_of(edit, request, AllAtOnce(engine)) is None


def test_dead_air_of_a_pass_is_cut(voice: Utterance) -> None:
    spoken = packaged_speech("garden").resample(RATE)
    still = np.zeros(round(1.8 * RATE), np.float32)

    class Idle(Brief):
        def decode(self, requests: Sequence) -> list[Utterance]:  # type: ignore[type-arg]
            parts = [still, spoken.samples, still, spoken.samples, still]
            return [Utterance(np.concatenate(parts), RATE) for _ in requests]

    engine = Idle()
    engine.limits = (8.0, 2.5)
    made = Chain([Say(text=TEXT)])(voice, engine, route="llm")
    silences = find_silences(made.utterance, find_speech(made.utterance))
    assert len(engine.requests) == 1 and made.steps[0].details["phrases"] == 1
    assert max(one.seconds for one in silences) <= LONGEST_SILENCE + 0.05
    assert max(silences[0].seconds, silences[-1].seconds) <= 0.15
    assert made.utterance.seconds < 2 * spoken.seconds + LONGEST_SILENCE + 0.3
    assert made.steps[0].codes is None
