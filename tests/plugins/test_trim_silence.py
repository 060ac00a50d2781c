from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError
from stepedit_trim_silence import TrimSilence
from stepedit_trim_silence.dsp import FADE_SECONDS, cut, trim
from stepedit_trim_silence.room_tone import lengthen, pauses

from stepedit_core import Chain, Span, StepeditError, Utterance
from stepedit_core.dsp.room_tone import extend, insert, quietest_stretch
from stepedit_core.dsp.silences import frame_levels
from stepedit_core.dsp.vad import (
    FRAME_SECONDS,
    overlap_seconds,
    speech_probabilities,
    total_seconds,
)
from stepedit_core.errors import AudioError
from stepedit_core.recordings import packaged_speech
from stepedit_core.testing.signals import noise, silence

# "surpassed" has no pause to take room tone from.
CLIPS = (
    "garden", "doubt", "hardware", "office", "doctor", "wind", "romance", "books", "typography",
)  # fmt: skip


def _figures(clip: str, seed: int) -> tuple[float, float]:
    """Shares of the inserted silence that is gone, and of the speech frames that are kept."""
    clean = packaged_speech(clip)
    source, inserted = lengthen(clean, 0.3, np.random.default_rng(seed))
    assert total_seconds(inserted) == pytest.approx(0.3 * clean.seconds, abs=0.01)
    out, details = trim(source)
    assert out.transcript == clean.transcript
    assert details["removed_seconds"] == pytest.approx(source.seconds - out.seconds, abs=1e-3)
    removed = [Span(*span) for span in details["removed_spans"]]
    frames = (np.flatnonzero(speech_probabilities(clean) >= 0.5) + 0.5) * FRAME_SECONDS
    for start, end in inserted:
        frames = np.where(frames >= start, frames + end - start, frames)
    cut_out = [any(start <= frame < end for start, end in removed) for frame in frames]
    gone = overlap_seconds(removed, inserted) / total_seconds(inserted)
    return gone, 1 - float(np.mean(cut_out))


@pytest.mark.parametrize("clip", CLIPS)
def test_removes_90_percent_of_inserted_silence_and_keeps_98_of_speech(clip: str) -> None:
    gone, kept = np.mean([_figures(clip, seed) for seed in range(3)], axis=0)
    assert gone >= 0.9
    assert kept >= 0.98


def test_samples_outside_the_cuts_are_untouched_and_joins_do_not_click() -> None:
    source, _ = lengthen(packaged_speech("books"), 0.4, np.random.default_rng(0))
    out, details = trim(source)
    fade = round(FADE_SECONDS * source.sample_rate)
    at = written = 0
    assert details["removed_spans"]
    for start, end in details["removed_spans"]:
        first, last = round(start * source.sample_rate), round(end * source.sample_rate)
        size = first - at
        np.testing.assert_array_equal(
            out.samples[written : written + size], source.samples[at:first]
        )
        join = out.samples[written + first - at : written + first - at + fade]
        around = (
            np.abs(source.samples[first : first + fade]).max()
            + np.abs(source.samples[last - fade : last]).max()
        )
        assert np.abs(join).max() <= around + 1e-6
        written += first - at + fade
        at = last
    jumps = np.abs(np.diff(out.samples))
    assert jumps.max() <= np.abs(np.diff(source.samples)).max() + 1e-6


def test_cut_meets_in_a_cross_fade_of_equal_power() -> None:
    sound = noise(2.0, 16_000)
    out, removed = cut(sound, [Span(0.5, 1.5)])
    assert len(removed) == 1
    level = frame_levels(out.samples, 16_000)
    place = round(removed[0].start * 100)
    assert level[place - 1 : place + 3].mean() == pytest.approx(level.mean(), abs=1.5)
    assert cut(sound, []) == (sound, [])


def test_room_tone_is_extended_without_a_loop() -> None:
    rng = np.random.default_rng(0)
    rate = 16_000
    tone = (0.01 * np.convolve(rng.standard_normal(3_300), np.ones(5) / 5, "same")).astype("f4")
    long = extend(tone[:3_200], 4 * rate, rate, rng)
    assert len(long) == 4 * rate
    assert np.std(long) == pytest.approx(np.std(tone), rel=0.15)
    spectra = [
        np.abs(np.fft.rfft(part.reshape(-1, 320) * np.hanning(320))).mean(axis=0)
        for part in (tone[:3_200], long)
    ]
    bands = [20 * np.log10(s[1:161].reshape(8, 20).mean(axis=1)) for s in spectra]
    np.testing.assert_allclose(bands[0], bands[1], atol=3)
    spectrum = np.abs(np.fft.rfft(long, 2 * len(long))) ** 2
    correlation = np.fft.irfft(spectrum)[: 2 * rate] / np.fft.irfft(spectrum)[0]
    assert np.abs(correlation[round(0.03 * rate) :]).max() < 0.1
    levels = frame_levels(long, rate)
    assert np.std(levels.reshape(-1, 10).mean(axis=1)) < 1.5


def test_insertion_keeps_every_sample_and_is_repeatable() -> None:
    clean = packaged_speech("wind")
    assert 3 <= len(pauses(clean)) <= 5
    source, inserted = lengthen(clean, 0.5, np.random.default_rng(2))
    again, _ = lengthen(clean, 0.5, np.random.default_rng(2))
    assert source == again
    keep = np.ones(len(source.samples), bool)
    for start, end in inserted:
        keep[round(start * clean.sample_rate) : round(end * clean.sample_rate)] = False
    np.testing.assert_array_equal(source.samples[keep], clean.samples)
    tone = frame_levels(quietest_stretch(clean), clean.sample_rate).mean()
    middle = source.slice((inserted[1].start + 0.02, inserted[1].end - 0.02))
    assert frame_levels(middle.samples, clean.sample_rate).mean() == pytest.approx(tone, abs=3)
    assert insert(clean, [], []) == (clean, [])


def test_speech_without_a_pause_gives_no_room_tone() -> None:
    with pytest.raises(StepeditError, match="no pause of 60 ms"):
        quietest_stretch(packaged_speech("surpassed"))


@pytest.mark.parametrize("sound", [silence(1.0), noise(1.0), noise(0.02)])
def test_no_speech_is_an_error_not_an_empty_result(sound: Utterance) -> None:
    assert "no speech was found" in str(TrimSilence().problem(sound))
    with pytest.raises(AudioError, match="no speech was found"):
        TrimSilence().render(sound, np.random.default_rng(0))


def test_a_chain_refuses_noise_before_it_runs() -> None:
    with pytest.raises(StepeditError, match="step 1, trim_silence: no speech was found"):
        Chain([TrimSilence()])(noise(1.0))


def test_parameters_do_what_they_say() -> None:
    source, _ = lengthen(packaged_speech("wind"), 0.6, np.random.default_rng(1))
    tight, loose = (trim(source, keep=keep, min_silence=0.5)[0] for keep in (0.02, 0.2))
    cuts = len(trim(source, keep=0.02, min_silence=0.5)[1]["removed_spans"])
    assert cuts >= 3
    assert 0.1 * cuts < loose.seconds - tight.seconds < 0.4 * cuts
    patient, _ = trim(source, min_silence=5.0)
    assert patient == source


@pytest.mark.parametrize("rate", [8_000, 16_000, 48_000, 96_000])
def test_other_rates(rate: int) -> None:
    source, inserted = lengthen(packaged_speech("romance"), 0.3, np.random.default_rng(0))
    out, _ = trim(source.resample(rate))
    assert out.sample_rate == rate
    assert source.seconds - out.seconds >= 0.85 * total_seconds(inserted)


def test_prompt_to_the_letter() -> None:
    prompt = TrimSilence().prompt(packaged_speech("office").replace(transcript=None))
    assert prompt.user[0] == (
        "Remove any silent portions from the given audio while preserving the voice content "
        "clearly. Ensure that the speech quality remains intact with minimal distortion, and "
        "eliminate all silence from the audio.\n\n"
    )
    assert not TrimSilence().needs_transcript("llm")
    assert TrimSilence().route_problem("llm") is None
    assert "no words" in str(TrimSilence(keep=0.1, min_silence=0.3).route_problem("llm"))


@pytest.mark.parametrize(
    "params", [{"keep": -1}, {"min_silence": 0.01}, {"threshold": 1}, {"keep": 0.2}]
)
def test_bad_parameters(params: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        TrimSilence(**params)


def test_the_plan_names_what_the_dsp_route_cuts() -> None:
    once, _ = lengthen(packaged_speech("doctor"), 0.3, np.random.default_rng(1))
    source = once.replace(samples=np.tile(once.samples, 2))
    plan = TrimSilence().plan(source)
    removed = [Span(*span) for span in trim(source)[1]["removed_spans"]]
    assert plan.omissions is not None and len(plan.omissions) == len(removed) > 2
    for part, gone in zip(plan.omissions, removed, strict=True):
        assert part.span.start <= gone.start and gone.end <= part.span.end + 1e-3
        is_inner = part.span.start > 0 and part.span.end < source.seconds
        assert part.kept == pytest.approx(0.14 if is_inner else 0.0)
    assert TrimSilence().plan(silence(1.0)).omissions is None
