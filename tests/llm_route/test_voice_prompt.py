"""The part of a recording that a language model is shown as the voice."""

from __future__ import annotations

import numpy as np
import pytest

from stepedit_core.alignment import Alignment, TimedWord
from stepedit_core.codes import GROUP_SECONDS
from stepedit_core.llm_route.voice_prompt import voice_stretch
from stepedit_core.testing import FakeEngine
from stepedit_core.utterance import Utterance

RATE = 16_000
GAPS = (0.05, 0.05, 0.4, 0.05, 0.05, 0.05, 0.4, 0.05, 0.05, 0.05)
"""Seconds of silence before each of ten words of 0.6 s."""


@pytest.fixture
def speech() -> Utterance:
    words, at = [], 0.0
    for number, gap in enumerate(GAPS):
        words.append(TimedWord(f"w{'abcdefghij'[number]}", at + gap, at + gap + 0.6))
        at += gap + 0.6
    text = " ".join(word.text for word in words) + "."
    noise = np.random.default_rng(0).normal(0, 0.1, round(at * RATE)).astype(np.float32)
    known = Alignment(text, tuple(words), "known")
    return Utterance(noise, RATE, text, "en", alignment=known)


def test_whole_words_between_pauses_are_shown(speech: Utterance) -> None:
    codes = FakeEngine().encode([speech])[0]
    shown, own = voice_stretch(speech, codes, 3.0)
    assert shown.transcript == "wc wd we wf"  # 2.55 s between the two long pauses
    assert own.seconds <= 3.0 and own.start == 0.0
    assert shown.seconds == pytest.approx(own.seconds, abs=0.01)
    known = speech.alignment
    assert known is not None
    begin = next(at for at in range(codes.groups) if codes.slice_groups(at, at + own.groups) == own)
    assert begin * GROUP_SECONDS == pytest.approx(known.words[2].start - 0.1, abs=0.13)


@pytest.mark.parametrize("seconds", [1.0, 1.7, 2.5, 3.6, 5.0])
def test_a_stretch_is_no_longer_than_asked(speech: Utterance, seconds: float) -> None:
    codes = FakeEngine().encode([speech])[0]
    shown, own = voice_stretch(speech, codes, seconds)
    assert own.seconds <= seconds
    assert (shown.transcript or "") in (speech.transcript or "") and shown.transcript


def test_what_is_short_or_has_no_timed_words_is_shown_whole(speech: Utterance) -> None:
    codes = FakeEngine().encode([speech])[0]
    assert voice_stretch(speech, codes, 30.0) == (speech, codes)
    foreign = speech.replace(alignment=None, language="sw")
    assert voice_stretch(foreign, codes, 3.0) == (foreign, codes)
    wordless = speech.replace(alignment=None, transcript=None)
    assert voice_stretch(wordless, codes, 3.0) == (wordless, codes)
