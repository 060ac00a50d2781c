from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from stepedit_core import Utterance
from stepedit_core.dsp.silences import frame_levels
from stepedit_core.dsp.vad import (
    FRAME_SECONDS,
    _frames,
    _run_sequence,
    _run_streaming,
    gaps,
    overlap_seconds,
    speech_probabilities,
    speech_spans,
    total_seconds,
)
from stepedit_core.errors import AudioError
from stepedit_core.recordings import packaged_speech
from stepedit_core.utterance import Span


def _with_pause(rate: int, pause: float = 1.0) -> tuple[Utterance, Span]:
    """Two clips with faint noise between; where the noise lies."""
    first, second = (packaged_speech(name).resample(rate) for name in ("surpassed", "books"))
    quiet = np.random.default_rng(0).normal(0, 1e-4, round(pause * rate)).astype(np.float32)
    samples = np.concatenate([first.samples, quiet, second.samples])
    return Utterance(samples, rate), Span(first.seconds, first.seconds + pause)


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 44_100])
def test_finds_the_pause_at_any_rate(rate: int) -> None:
    speech, pause = _with_pause(rate)
    spans = speech_spans(speech)
    assert total_seconds(spans) > 0.8 * (speech.seconds - pause.seconds)
    assert overlap_seconds(spans, [pause]) < 0.1
    assert all(0 <= start < end <= speech.seconds for start, end in spans)


def test_noise_tone_and_silence_are_not_speech() -> None:
    rng = np.random.default_rng(1)
    time = np.arange(32_000) / 16_000
    for samples in (
        np.zeros(32_000),
        rng.normal(0, 0.1, 32_000),
        0.3 * np.sin(2 * np.pi * 440 * time),
    ):
        assert speech_spans(Utterance(samples.astype(np.float32), 16_000)) == []


def test_one_call_for_many_frames_equals_frame_by_frame() -> None:
    frames = _frames(packaged_speech("surpassed").resample(16_000).samples, 16_000)
    np.testing.assert_allclose(_run_sequence(frames), _run_streaming(frames, 16_000), atol=1e-5)


def test_blocks_carry_their_state(monkeypatch: pytest.MonkeyPatch) -> None:
    speech = packaged_speech("surpassed")
    whole = speech_probabilities(speech)
    monkeypatch.setattr("stepedit_core.dsp.vad._BLOCK", 7)
    frames = _frames(speech.resample(16_000).samples, 16_000)
    np.testing.assert_allclose(_run_sequence(frames), whole, atol=1e-6)
    assert len(whole) == np.ceil(speech.seconds / FRAME_SECONDS)


def test_the_same_sound_is_heard_once(monkeypatch: pytest.MonkeyPatch) -> None:
    speech = packaged_speech("garden").slice((0.0, 1.7))
    first = speech_probabilities(speech)
    monkeypatch.setattr("stepedit_core.dsp.vad._run_sequence", None)
    assert speech_probabilities(Utterance(speech.samples.copy(), speech.sample_rate)) is first
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 1.0
    with pytest.raises(TypeError):
        speech_probabilities(speech.slice((0.0, 1.0)))


@pytest.mark.parametrize(
    "options", [{}, {"threshold": 0.7, "min_silence": 0.05, "pad": 0.0, "min_speech": 0.1}]
)
def test_agrees_with_silero_s_own_timestamps(options: dict[str, float]) -> None:
    silero_vad = pytest.importorskip("silero_vad")
    speech, _ = _with_pause(16_000, 0.4)
    theirs = silero_vad.get_speech_timestamps_from_probs(
        speech_probabilities(speech).tolist(),
        threshold=options.get("threshold", 0.5),
        min_speech_duration_ms=1000 * options.get("min_speech", 0.25),
        min_silence_duration_ms=1000 * options.get("min_silence", 0.1),
        speech_pad_ms=1000 * options.get("pad", 0.03),
        audio_length_samples=len(speech.samples),
    )
    ours = speech_spans(speech, **options)
    assert len(ours) == len(theirs) >= 2
    for span, other in zip(ours, theirs, strict=True):
        assert span.start == pytest.approx(other["start"] / 16_000, abs=1e-3)
        assert span.end == pytest.approx(other["end"] / 16_000, abs=1e-3)


def test_very_short_and_very_long() -> None:
    assert speech_spans(Utterance(np.zeros(100, np.float32), 16_000)) == []
    speech = packaged_speech("surpassed")
    looped = speech.replace(samples=np.tile(speech.samples, 20))
    assert total_seconds(speech_spans(looped)) > 15 * total_seconds(speech_spans(speech))


@pytest.mark.parametrize("options", [{"threshold": 1.5}, {"pad": -1.0}])
def test_bad_parameters_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(AudioError):
        speech_spans(packaged_speech("surpassed"), **options)


def test_span_arithmetic() -> None:
    spans = [Span(0.5, 1.0), Span(2.0, 2.5)]
    assert gaps(spans, 3.0) == [Span(0.0, 0.5), Span(1.0, 2.0), Span(2.5, 3.0)]
    assert gaps([], 1.0) == [Span(0.0, 1.0)]
    assert gaps([Span(0.0, 1.0)], 1.0) == []
    assert total_seconds(spans) == pytest.approx(1.0)
    assert overlap_seconds(spans, [Span(0.75, 2.25)]) == pytest.approx(0.5)


def test_needs_no_torch() -> None:
    code = (
        "import sys; from stepedit_core.recordings import packaged_speech;"
        "from stepedit_core.dsp.vad import speech_spans;"
        "assert speech_spans(packaged_speech('surpassed'));"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("rate", [11_025, 16_000, 22_050])
def test_frames_of_any_rate_keep_their_time(rate: int) -> None:
    samples = np.ones(round(20.004 * rate), np.float32)
    samples[15 * rate :] = np.tile([0.01, -0.01], len(samples))[: len(samples) - 15 * rate]
    samples[: 15 * rate : 2] *= -1
    levels = frame_levels(samples, rate)
    assert len(levels) == 2001
    assert int(np.argmax(levels < -30)) == pytest.approx(1500, abs=1)
