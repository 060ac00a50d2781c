"""A constant offset changes no level, and no join thumps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stepedit_core import Span, Utterance
from stepedit_core.chain.notation import parse_edit
from stepedit_core.dsp.acoustics import difference, measure
from stepedit_core.dsp.offset import around_offset, offset_of, without_offset
from stepedit_core.dsp.splicing import Patch, splice
from stepedit_core.dsp.vad import speech_spans
from stepedit_core.recordings import packaged, packaged_speech

SPEECH = packaged_speech("garden")
RATE = SPEECH.sample_rate
OFFSET = np.float32(0.1)
SHIFTED = SPEECH.replace(samples=0.5 * SPEECH.samples + OFFSET)
PLAIN = SPEECH.replace(samples=0.5 * SPEECH.samples)


def test_recordings_as_they_are_have_none() -> None:
    for name in packaged():
        speech = packaged_speech(name)
        assert offset_of(speech.samples, speech.sample_rate) == 0.0
        assert without_offset(speech) is speech
    assert offset_of(SHIFTED.samples, RATE) == pytest.approx(0.1, abs=1e-3)
    assert offset_of(np.zeros(0, np.float32), RATE) == 0.0


def test_the_mean_of_a_short_piece_is_no_offset() -> None:
    hum = 0.1 * np.sin(2 * np.pi * 50 * np.arange(round(0.045 * RATE)) / RATE).astype(np.float32)
    assert abs(hum.mean()) > 0.02 * hum.std()
    assert offset_of(hum, RATE) == 0.0
    assert offset_of(hum + OFFSET, RATE) > 0.09


def test_measures_do_not_see_it() -> None:
    shift = difference(PLAIN, SHIFTED)
    assert abs(shift.level or 9) < 0.05 and abs(shift.f0 or 9) < 0.05
    assert measure(SHIFTED).pauses == measure(PLAIN).pauses
    assert speech_spans(SHIFTED) == speech_spans(PLAIN)


@pytest.mark.parametrize(
    "text",
    [
        "emotion:to=happy",
        "emotion:to=sad",
        "style:to=whisper",
        "speed:factor=1.25",
        "denoise",
        "denoise:noise=varying",
        "trim_silence",
        "masked:inner=(emotion:to=angry),spans=[[0.4,1.2]]",
        "masked:inner=(style:to=whisper),spans=[[0.4,1.2]]",
    ],
)
def test_edits_work_around_it(text: str) -> None:
    edit = parse_edit(text)
    made = [edit.render(one, np.random.default_rng(0)).utterance for one in (PLAIN, SHIFTED)]
    plain, shifted = (one.samples.astype(np.float64) for one in made)
    assert len(plain) == len(shifted)
    assert shifted.mean() - plain.mean() == pytest.approx(0.1, abs=0.01)
    assert shifted.std() / plain.std() == pytest.approx(1.0, abs=0.06)
    steps = [np.abs(np.diff(samples)).max() for samples in (plain, shifted)]
    assert steps[1] < steps[0] + 0.02


def test_offset_of_inserted_sounds() -> None:
    words = (SPEECH.transcript or "").split()
    text = " ".join([*words[:2], "[sigh]", *words[2:]])
    edit = parse_edit(f'paralinguistic:text="{text}"')
    events: list[dict[str, Any]] = []
    for one in (PLAIN, SHIFTED):
        made = edit.render(one, np.random.default_rng(0))
        events.append(made.details["events"][0])
    assert events[0]["level_db"] == pytest.approx(events[1]["level_db"], abs=0.5)
    inside = made.utterance.slice(Span(*events[1]["output_span"])).samples
    assert inside.mean() == pytest.approx(0.1, abs=0.01)


def test_a_patch_without_it_gets_it() -> None:
    quiet = np.zeros(RATE // 4, np.float32)
    edited, (where,) = splice(SHIFTED, [Patch(Span(0.5, 0.6), quiet)])
    first, last = (round(edge * RATE) for edge in where)
    assert np.allclose(edited.samples[first + 500 : last - 500], OFFSET, atol=2e-3)
    assert np.array_equal(edited.samples[:first], SHIFTED.samples[:first])
    same, _ = splice(SHIFTED, [Patch(Span(0.5, 0.6), SHIFTED.slice((0.5, 0.6)).samples)])
    assert np.array_equal(same.samples, SHIFTED.samples)
    plain, _ = splice(PLAIN, [Patch(Span(0.5, 0.6), quiet + 0.3)])
    assert plain.samples.max() >= 0.3 - 1e-6


def test_what_is_added_back_is_what_was_taken() -> None:
    edited, said = around_offset(SHIFTED, lambda flat: (flat, offset_of(flat.samples, RATE)))
    assert said == 0.0
    assert np.abs(edited.samples - SHIFTED.samples).max() < 1e-7


def test_a_constant_is_no_recording() -> None:
    flat = Utterance(np.full(RATE, 0.1, np.float32), RATE)
    assert "one constant value" in (flat.problem() or "")
