from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError
from stepedit_speed import Speed
from stepedit_speed.dsp import BACKENDS, installed_backends, stretch
from stepedit_speed.edit import FACTORS

from stepedit_core import StepeditError, Utterance
from stepedit_core.dsp.frames import ACTIVE_DB, RATE, VOICING, cut, level, pitch
from stepedit_core.recordings import packaged, packaged_speech

ALL = tuple(packaged())


def _backend(name: str) -> str:
    if name not in installed_backends():
        pytest.skip(f"{name} is not installed")
    return name


def _track(speech: Utterance) -> np.ndarray:
    """F0 of loud, periodic frames every 5 ms, 0 elsewhere."""
    samples = speech.resample(RATE).samples.astype(np.float64)
    frames = cut(samples, 0.025)
    assert frames is not None
    levels = level(frames)
    f0, periodicity = pitch(samples, len(levels))
    loud = levels > np.percentile(levels, 99) - ACTIVE_DB
    return np.where(loud & (periodicity > VOICING), f0, 0.0)


def _f0_ratio(before: Utterance, after: Utterance, factor: float) -> float:
    """Median F0 after over before, on frames of the same sounds that are voiced in both.

    Backends delay sounds by some milliseconds, which moving pitch would turn into a bias: of all
    delays up to 60 ms the one counts at which the ratios scatter least.
    """
    old, new = _track(before), _track(after)
    best = (np.inf, 1.0)
    for delay in range(-12, 13):
        place = np.round(np.arange(len(new)) * factor).astype(int) + delay
        inside = (place >= 0) & (place < len(old))
        first, second = old[place[inside]], new[inside]
        both = (first > 0) & (second > 0)
        ratios = np.log(second[both] / first[both])
        assert len(ratios) > 20
        spread = float(np.median(np.abs(ratios - np.median(ratios))))
        ratio = float(np.median(second[both]) / np.median(first[both]))
        best = min(best, (spread, ratio))
    return best[1]


def _check(clip: str, backend: str, factor: float) -> None:
    speech = packaged_speech(clip)
    out, details = stretch(speech, factor, backend=_backend(backend))
    assert speech.seconds / out.seconds == pytest.approx(factor, rel=0.02)
    assert _f0_ratio(speech, out, factor) == pytest.approx(1.0, abs=0.03)
    assert details["backend"] == backend
    rms = [float(np.sqrt(np.mean(sound.samples**2))) for sound in (speech, out)]
    assert rms[1] == pytest.approx(rms[0], rel=0.15)
    assert np.abs(out.samples).max() <= 1.0


@pytest.mark.parametrize("backend", list(BACKENDS))
def test_duration_within_2_percent_and_f0_within_3(backend: str) -> None:
    for clip, factor in (("office", FACTORS["slower"]), ("surpassed", 2.0)):
        _check(clip, backend, factor)


@pytest.mark.slow
@pytest.mark.parametrize("clip", ALL)
@pytest.mark.parametrize("backend", list(BACKENDS))
def test_figures_on_every_packaged_recording(backend: str, clip: str) -> None:
    for factor in (0.5, *FACTORS.values(), 2.0):
        _check(clip, backend, factor)


@pytest.mark.parametrize("backend", list(BACKENDS))
@pytest.mark.parametrize(("seconds", "rate"), [(0.02, 16_000), (0.1, 8_000), (0.5, 96_000)])
def test_odd_lengths_and_rates(backend: str, seconds: float, rate: int) -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, round(seconds * rate)).astype(np.float32)
    out, _ = stretch(Utterance(samples, rate), 0.7, backend=_backend(backend))
    assert len(out.samples) == round(len(samples) / 0.7)
    assert out.sample_rate == rate


def test_beyond_full_scale_is_not_clipped_by_a_program() -> None:
    speech = packaged_speech("office")
    loud = speech.replace(samples=speech.samples * 3)
    for backend in installed_backends():
        out, _ = stretch(loud, 1.35, backend=backend)
        plain, _ = stretch(speech, 1.35, backend=backend)
        np.testing.assert_allclose(out.samples, plain.samples * 3, atol=0.02)


def test_render_says_the_backend_and_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    speech = packaged_speech("surpassed")
    edit = Speed(rate="more_slower")
    first, again = (edit.render(speech, np.random.default_rng(5)) for _ in range(2))
    assert first.utterance == again.utterance
    assert first.details["backend"] == installed_backends()[0]
    assert first.utterance.transcript == speech.transcript
    monkeypatch.setattr("shutil.which", lambda name: None)
    bare = edit.render(speech, np.random.default_rng(5))
    assert bare.details["backend"] == "signalsmith"


def test_factor_1_and_silence_pass_through() -> None:
    speech = packaged_speech("surpassed")
    out, details = stretch(speech, 1.0)
    assert out == speech
    assert details["backend"] == "none"
    silent, _ = stretch(speech.replace(samples=np.zeros(1000, np.float32)), 2.0)
    assert len(silent.samples) == 500


@pytest.mark.parametrize(
    ("rate", "words"),
    [
        ("faster", "faster"),
        ("slower", "slower"),
        ("more_faster", "more faster"),
        ("more_slower", "more slower"),
    ],
)
def test_prompt_to_the_letter(rate: str, words: str) -> None:
    speech = packaged_speech("office").replace(transcript="  Go home {now}. ")
    prompt = Speed(rate=rate).prompt(speech)
    assert prompt.user[0] == (
        f"Make the following audio more {words}. "
        "The text corresponding to the audio is: Go home {now}.\n\n"
    )


def test_an_exact_factor_has_no_words() -> None:
    edit = Speed(factor=1.3)
    assert "no words for an exact factor" in str(edit.route_problem("llm"))
    assert edit.route_problem("dsp") is None
    assert Speed(rate="faster").route_problem("llm") is None
    with pytest.raises(ValueError, match="exact factor"):
        edit.prompt(packaged_speech("office"))


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({}, "give either"),
        ({"rate": "faster", "factor": 1.2}, "give either"),
        ({"factor": 2.5}, "less than or equal to 2"),
        ({"factor": 0.1}, "greater than or equal to 0.5"),
        ({"rate": "more faster"}, "did you mean 'more_faster'"),
        ({"rate": "quick"}, "no such rate; there are faster"),
    ],
)
def test_bad_parameters(params: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Speed(**params)


def test_unknown_and_absent_backends_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    speech = packaged_speech("surpassed")
    with pytest.raises(StepeditError, match="no backend 'foo'"):
        stretch(speech, 1.2, backend="foo")
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(StepeditError, match="sox is not installed"):
        stretch(speech, 1.2, backend="sox")


def test_other_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepedit_speed.dsp.installed_backends", lambda: ["sox", "signalsmith"])
    assert Speed(rate="more_slower").gentler() == Speed(rate="slower")
    by_other = Speed(factor=1.1, backend="signalsmith")
    assert Speed(factor=1.1).gentler() == Speed(factor=1.1).stronger() == by_other
    assert by_other.gentler() is None
    assert by_other.render(packaged_speech("surpassed"), np.random.default_rng(0)).details[
        "backend"
    ] == ("signalsmith")
    problem = Speed(rate="faster", backend="sox").route_problem("llm")
    assert problem is not None and "backend" in problem
    absent = Speed(factor=1.1, backend="rubberband").route_problem("dsp")
    assert absent is not None and "rubberband is not installed" in absent
