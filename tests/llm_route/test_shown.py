"""What a decoder is shown in place of the recording."""

from __future__ import annotations

import numpy as np
import pytest
from stepedit_denoise import Denoise
from stepedit_masked import Masked
from stepedit_speed import Speed

from stepedit_core import Chain, Span, StepeditError, Utterance, packaged_speech
from stepedit_core.edit import Rendered
from stepedit_core.llm_route.carrying_out import apply_by_llm
from stepedit_core.llm_route.source_map import SourceMap
from tests.listening_engine import AlignedEngine, ListeningEngine


@pytest.fixture
def noisy() -> Utterance:
    speech = packaged_speech("garden")
    noise = np.random.default_rng(3).normal(0, 0.02, len(speech.samples)).astype(np.float32)
    return speech.replace(samples=speech.samples + noise)


def _cleaned(noisy: Utterance) -> Utterance:
    return Denoise().render(noisy, np.random.default_rng(0)).utterance


def test_without_noise(noisy: Utterance) -> None:
    engine = AlignedEngine()
    step = Chain([Denoise()])(noisy, engine=engine, route="llm").steps[0]
    assert step.details["reference"] == "signal processing"
    assert len(engine.requests) == 1  # the answer is still the model's
    (request,) = engine.decoded
    assert engine.encoded == [_cleaned(noisy)]
    assert request.reference == _cleaned(noisy)
    assert request.reference.seconds == noisy.seconds
    assert request.source_map is not None


def test_a_batch_cleans_each_recording_once(
    noisy: Utterance, monkeypatch: pytest.MonkeyPatch
) -> None:
    cleaned: list[str] = []
    render = Denoise.render

    def counted(self: Denoise, utterance: Utterance, rng: np.random.Generator) -> Rendered:
        cleaned.append(utterance.digest)
        return render(self, utterance, rng)

    monkeypatch.setattr(Denoise, "render", counted)
    speech = [noisy.slice(Span(0.1 * n, 2.0)) for n in range(4)]
    engine = AlignedEngine()
    made = apply_by_llm([Denoise()] * 4, speech, engine, range(4))
    assert sorted(cleaned) == sorted(one.digest for one in speech)
    assert [one.reference for one in engine.decoded] == engine.encoded
    assert all(one.details["reference"] == "signal processing" for one in made)


def test_inside_a_mask(noisy: Utterance) -> None:
    engine = AlignedEngine()
    edit = Masked(inner=Denoise(), spans=(Span(1.0, 2.0),))
    out = Chain([edit])(noisy, engine=engine, route="llm").utterance
    assert engine.decoded[0].reference == _cleaned(noisy)
    assert engine.encoded == [noisy]  # outside of the span its codes stay
    rate = noisy.sample_rate
    np.testing.assert_array_equal(out.samples[: int(0.9 * rate)], noisy.samples[: int(0.9 * rate)])


def test_decoders_that_look_nothing_up_are_shown_the_recording(noisy: Utterance) -> None:
    engine = ListeningEngine()
    step = Chain([Denoise()])(noisy, engine=engine, route="llm").steps[0]
    assert "reference" not in step.details
    assert engine.decoded[0].reference == noisy and engine.encoded == [noisy]


def test_where_it_cannot_be_made_the_recording_is_shown_and_that_is_said(
    noisy: Utterance, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(self: Denoise, utterance: Utterance, rng: np.random.Generator) -> None:
        raise StepeditError("no network")

    monkeypatch.setattr(Denoise, "render", refuse)
    engine = AlignedEngine()
    Chain([Denoise()])(noisy.slice(Span(0.0, 2.0)), engine=engine, route="llm")
    assert engine.decoded[0].reference.seconds == pytest.approx(2.0)
    assert "the decoder is shown the recording as it is: no network" in caplog.text


def _at_pace(speech: Utterance, rate: str) -> Utterance:
    return Speed(rate=rate).render(speech, np.random.default_rng(0)).utterance


def test_slower_speech_is_looked_up_at_the_new_pace() -> None:
    speech, engine = packaged_speech("garden"), AlignedEngine()
    result = Chain([Speed(rate="slower")])(speech, engine=engine, route="llm")
    assert result.steps[0].details["pace"] == "signal processing"
    assert "reference" not in result.steps[0].details
    assert engine.encoded == [speech]  # the codes that are edited are the recording's
    assert len(engine.requests) == 1 and engine.requests[0].utterance == speech
    (request,) = engine.decoded
    assert request.reference == _at_pace(speech, "slower")
    assert request.source_map is not None and request.source_map.positions is not None
    assert request.source_map.condition == "speed"
    (codes,) = engine.encode([speech])
    assert request.source_map.start == pytest.approx(1.35 * codes.start)
    count = len(request.source_map.positions)
    assert request.source_map.positions.tolist() == pytest.approx(range(count), abs=1e-3)
    assert result.utterance.seconds == pytest.approx(1.35 * speech.seconds, abs=0.01)


def test_faster_speech_is_said_at_the_pace_of_the_recording_and_hurried() -> None:
    speech, engine = packaged_speech("garden"), AlignedEngine()
    result = Chain([Speed(rate="more_faster")])(speech, engine=engine, route="llm")
    assert result.steps[0].details["pace"] == "signal processing"
    (request,) = engine.decoded
    (source,) = engine.encode([speech])
    assert request.reference == speech and request.codes.groups == source.groups
    assert request.source_map is not None and request.source_map.condition == "speed"
    np.testing.assert_array_equal(
        request.source_map.positions, SourceMap.identity(source).positions
    )
    made = result.utterance
    assert len(made.samples) == round(speech.seconds * made.sample_rate / 1.6)
    (plain,) = apply_by_llm([Speed(rate="more_faster")], [speech], engine, [0], keep_latent=True)
    assert plain.codes is not None  # the answer as it was drawn, at its own pace
    assert plain.codes.groups == pytest.approx(source.groups / 1.6, abs=1)
    assert plain.latent is None and plain.utterance.transcript == speech.transcript


def test_a_batch_has_paces_of_its_own() -> None:
    speech, engine = packaged_speech("garden"), AlignedEngine()
    edits = [Speed(rate="slower"), Speed(rate="faster"), Denoise()]
    made = apply_by_llm(edits, [speech] * 3, engine, range(3))
    slow, fast, clean = (one.reference for one in engine.decoded)
    assert (slow, fast, clean) == (_at_pace(speech, "slower"), speech, _cleaned(speech))
    alone = [apply_by_llm([one], [speech], engine, [n])[0] for n, one in enumerate(edits)]
    for one, other in zip(made, alone, strict=True):
        assert one.details == other.details
        np.testing.assert_array_equal(one.utterance.samples, other.utterance.samples)


def test_inside_a_mask_and_by_other_decoders_speech_is_looked_up_at_its_own_pace() -> None:
    speech = packaged_speech("garden")
    inside = Masked(inner=Speed(rate="slower"), spans=(Span(0.5, 1.5),))
    for edit, engine in (
        (inside, AlignedEngine()),
        (Speed(rate="slower"), ListeningEngine()),
        (Speed(rate="faster"), ListeningEngine()),
    ):
        step = Chain([edit])(speech, engine=engine, route="llm").steps[0]
        (request,) = engine.decoded
        assert request.reference == speech and "pace" not in step.details
        assert request.codes.groups != engine.encode([speech])[0].groups


def test_where_it_cannot_be_stretched_the_recording_is_shown_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*given: object, **more: object) -> None:
        raise StepeditError("no program")

    monkeypatch.setattr("stepedit_speed.dsp.stretch", refuse)
    speech, engine = packaged_speech("doctor"), AlignedEngine()
    step = Chain([Speed(rate="slower")])(speech, engine=engine, route="llm").steps[0]
    assert engine.decoded[0].reference == speech and "pace" not in step.details
    assert "the decoder is shown the recording at its own pace: no program" in caplog.text
    with pytest.raises(StepeditError, match="no program"):
        apply_by_llm([Speed(rate="faster")], [speech], engine, [0])
