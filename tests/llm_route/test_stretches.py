"""Long utterances in stretches that a model edits well at once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stepedit_core import Chain
from stepedit_core.alignment import Alignment, TimedWord
from stepedit_core.codes import GROUP_SECONDS, DualCodes
from stepedit_core.dsp.words import split_words
from stepedit_core.edit import Edit
from stepedit_core.engine import GenerateRequest
from stepedit_core.llm_route.planning import request_for
from stepedit_core.llm_route.stretches import in_stretches, joined_codes, pause_groups
from stepedit_core.plan import Plan
from stepedit_core.prompt import Prompt
from stepedit_core.recordings import packaged_speech
from stepedit_core.testing import FakeEngine
from stepedit_core.utterance import Utterance

RATE = 16_000
SENTENCES = (["red", "green", "blue"], ["one", "two", "three"], ["north", "east", "south"])


class Tidy(Edit):
    """Says its words to the model."""

    def prompt(self, utterance: Utterance) -> Prompt:
        return Prompt.edit(utterance.transcript or "nothing")


class Patient(FakeEngine):
    """Edits four seconds at once."""

    longest = 4.0

    def longest_seconds(self, edit: Edit) -> float | None:
        return self.longest


@pytest.fixture(scope="module")
def speech() -> Utterance:
    """Three sentences with pauses of 0.6 s, and when their words are said."""
    said = [packaged_speech(name).resample(RATE) for name in ("garden", "wind", "doubt")]
    pause = np.random.default_rng(0).normal(0, 1e-4, round(0.6 * RATE)).astype(np.float32)
    samples, words, text = [pause], [], ""
    for number, one in enumerate(said):
        begin = sum(map(len, samples)) / RATE
        samples += [one.samples, pause]
        names = SENTENCES[number]
        text += f"{' '.join(names)}. "
        for place, name in enumerate(names):
            step = one.seconds / 3
            words.append(TimedWord(name, begin + place * step, begin + (place + 1) * step))
    known = Alignment(text.strip(), tuple(words), "known")
    return Utterance(np.concatenate(samples), RATE, text.strip(), "en", alignment=known)


def asked(speech: Utterance, engine: FakeEngine, edit: Edit | None = None) -> GenerateRequest:
    codes = engine.encode([speech])[0]
    return request_for(edit or Tidy(), speech, codes, 7)


def test_stretches_cover_the_codes_and_have_their_own_words(speech: Utterance) -> None:
    engine = Patient()
    whole = asked(speech, engine)
    parts = in_stretches(Tidy(), whole, engine)
    assert len(parts) >= 2 and sum(part.codes.groups for part in parts) == whole.codes.groups
    assert joined_codes([part.codes for part in parts]) == whole.codes
    assert " ".join(part.utterance.transcript or "" for part in parts) == speech.transcript
    assert parts[0].seed == 7 and len({part.seed for part in parts}) == len(parts)
    for part in parts:
        assert part.utterance.seconds == pytest.approx(part.codes.seconds, abs=GROUP_SECONDS)
        assert part.prompt == Tidy().prompt(part.utterance)


def test_cuts_lie_in_pauses(speech: Utterance) -> None:
    codes = FakeEngine().encode([speech])[0]
    for group, seconds in pause_groups(speech, codes):
        at = round((codes.start + group * GROUP_SECONDS) * RATE)
        around = speech.samples[at - 800 : at + 800]
        assert seconds >= 0.08 and np.abs(around).max() < 0.02


def test_what_stays_whole(speech: Utterance) -> None:
    engine = Patient()
    whole = asked(speech, engine)
    assert in_stretches(Tidy(), whole, FakeEngine()) == [whole]
    for plan in (
        whole.plan.but(uniform_tempo=True),
        whole.plan.but(words_after="others"),
    ):
        request = replace(whole, plan=plan)
        assert in_stretches(Tidy(), request, engine) == [request]
    engine.longest = 60.0
    assert in_stretches(Tidy(), whole, engine) == [whole]


def test_a_speaker_without_pauses_stays_whole() -> None:
    rng = np.random.default_rng(0)
    noise = Utterance(rng.normal(0, 0.1, 8 * RATE).astype(np.float32), RATE, "a b", "en")
    codes = DualCodes(np.zeros(100, np.int64), np.zeros(150, np.int64))
    request = GenerateRequest(Prompt.edit("x"), codes, noise, plan=Plan(words_after="a b"))
    assert in_stretches(Tidy(), request, Patient()) == [request]


def test_an_edit_of_a_long_utterance_asks_for_each_stretch(speech: Utterance) -> None:
    engine = Patient()
    edited = Chain([Tidy()])(speech, engine, route="llm", seed=3)
    assert len(engine.requests) >= 2
    assert edited.utterance.transcript == speech.transcript
    words = [len(split_words(one.utterance.transcript or "")) for one in engine.requests]
    assert sum(words) == 9
