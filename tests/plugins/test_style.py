"""The style edit: words of the prompt, recipes by voice, cases and scorer."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from pydantic import ValidationError
from stepedit_style import Style, stepedit_cases
from stepedit_style.edit import STYLES
from stepedit_style.profiles import PROFILES
from stepedit_style.recipes import RATES, RECIPES, RENDERED
from stepedit_style.scorer import StyleScorer

from stepedit_core import Case, Utterance
from stepedit_core.dsp.acoustics import AcousticShift, difference, margin, measure
from stepedit_core.recordings import packaged, packaged_speech
from stepedit_core.testing.fake_measures import FakeJudge, FakeMeasures

PUBLIC = [
    "serious",
    "arrogant",
    "child",
    "older",
    "girl",
    "pure",
    "sister",
    "sweet",
    "ethereal",
    "whisper",
    "gentle",
    "recite",
    "generous",
    "act_coy",
    "warm",
    "shy",
    "comfort",
    "authority",
    "chat",
    "radio",
    "soulful",
    "story",
    "vivid",
    "program",
    "news",
    "advertising",
    "roar",
    "murmur",
    "shout",
    "deeply",
    "loudly",
    "exaggerated",
]
WITHOUT = [label for label in (*PUBLIC, "remove") if label not in RENDERED]


@cache
def rendered(label: str, name: str) -> tuple[Utterance, AcousticShift]:
    speech = packaged_speech(name)
    out = Style(to=label).render(speech, np.random.default_rng(0)).utterance
    return out, difference(speech, out)


def test_the_labels_are_the_public_ones() -> None:
    assert sorted(STYLES) == sorted(PUBLIC) and len(STYLES) == 32
    assert set(RENDERED) <= set(PUBLIC)


def test_prompt_to_the_letter() -> None:
    speech = packaged_speech("surpassed").replace(transcript=" You came back! ")
    assert Style(to="act_coy").prompt(speech).user[0] == (
        "Make the following audio more act_coy style. The text corresponding to the audio is: "
        "You came back!\n\n"
    )
    assert Style(to="remove").prompt(speech).user[0] == (
        "Remove any speaking styles in the following audio and the reference text is: "
        "You came back!\n\n"
    )
    for label in PUBLIC:
        assert f"more {label} style. The" in Style(to=label).prompt(speech).text


@pytest.mark.parametrize(
    ("wrong", "near"), [("wisper", "whisper"), ("act coy", "act_coy"), ("elderly", "older")]
)
def test_unknown_styles_are_refused_with_a_hint(wrong: str, near: str) -> None:
    with pytest.raises(ValidationError, match=near):
        Style(to=wrong)


@pytest.mark.parametrize("label", WITHOUT)
def test_labels_without_a_recipe_say_why(label: str) -> None:
    problem = Style(to=label).route_problem("dsp")
    assert problem is not None and label in problem and "engine" in problem
    assert Style(to=label).route_problem("llm") is None


@pytest.mark.parametrize("label", sorted(RENDERED))
def test_recipes_move_speech_by_the_usual_size(label: str) -> None:
    # A man has further to go to a child; on hoarse voices the nuclei and HNR are unsteady.
    name = "romance" if label in ("child", "girl") else "surpassed"
    speech = packaged_speech(name)
    out, shift = rendered(label, name)
    reached = margin(shift, PROFILES[label])
    assert reached is not None and reached >= 5.5, shift.to_data()
    assert out.seconds * RATES.get(label, 1.0) == pytest.approx(speech.seconds, rel=0.01)
    assert Style(to=label).plan(speech).length_ratio == pytest.approx(
        out.seconds / speech.seconds, 0.01
    )
    assert np.abs(out.samples).max() <= 0.98
    assert out.transcript == speech.transcript
    assert label == "whisper" or RECIPES[label].source


def voiced_share(speech: Utterance) -> float:
    """Return the share of active frames that pYIN calls voiced."""
    import librosa

    samples = speech.resample(16_000).samples.astype(np.float64)
    _, voiced, _ = librosa.pyin(
        samples, fmin=65, fmax=500, sr=16_000, frame_length=1024, hop_length=160
    )
    power = np.square(np.pad(samples, 80)).cumsum()
    level = np.diff(power[::160])[: len(voiced)]
    active = level > np.percentile(level, 99) * 10**-2.5
    return float(np.mean(voiced[: len(active)][active]))


@pytest.mark.parametrize("name", ["romance", "surpassed", "garden"])
def test_a_whisper_has_no_voice(name: str) -> None:
    out, shift = rendered("whisper", name)
    assert measure(out).f0 is None and voiced_share(out) <= 0.06 < voiced_share(
        packaged_speech(name)
    )
    assert shift.voiced < -0.4 and shift.level == pytest.approx(-10.0, abs=1.5)


@pytest.mark.slow
def test_no_voice_is_left_in_any_packaged_recording() -> None:
    shares = [voiced_share(rendered("whisper", name)[0]) for name in packaged()]
    assert max(shares) <= 0.05 and float(np.mean(shares)) <= 0.02


def test_a_whisper_keeps_rate_length_and_silence() -> None:
    speech = packaged_speech("garden").resample(8_000)
    silent = speech.replace(samples=np.zeros(4_000, np.float32))
    for source in (speech, silent, speech.replace(samples=speech.samples[:80])):
        rng = np.random.default_rng(1)
        out = Style(to="whisper").render(source, rng).utterance
        assert out.sample_rate == 8_000 and len(out.samples) == len(source.samples)
    assert not Style(to="whisper").render(silent, np.random.default_rng(1)).utterance.samples.any()


def test_men_need_more_than_women_to_sound_like_children() -> None:
    man, woman = RECIPES["child"].recipe(110.0), RECIPES["child"].recipe(215.0)
    assert man.f0_ratio > woman.f0_ratio and man.formant_ratio > woman.formant_ratio
    assert RECIPES["child"].recipe(300.0).f0_ratio == 1.0
    assert RECIPES["child"].recipe(None).f0_ratio == 1.0
    child = measure(rendered("child", "surpassed")[0])
    assert child.f0 == pytest.approx(265.0, rel=0.06)


def test_age_lowers_women_and_raises_men() -> None:
    assert rendered("older", "surpassed")[1].f0 == pytest.approx(-2.0, abs=0.7)
    assert rendered("older", "romance")[1].f0 == pytest.approx(2.0, abs=1.0)


def test_effort_is_heard_in_tilt_even_where_the_peak_holds_the_level() -> None:
    _, loud = rendered("loudly", "romance")
    _, soft = rendered("murmur", "romance")
    assert loud.tilt > 1.0 and loud.f0 > 2.0
    assert soft.tilt < -1.0 and soft.level == pytest.approx(-8.0, abs=1.0)


def test_cases_and_scorer() -> None:
    cases = list(stepedit_cases(Style, "default"))
    assert 10 <= len(cases) <= 24
    for row in cases:
        wanted = row.prepare["from"] if row.edit.to == "remove" else row.edit.to
        assert wanted in row.meta["labels"] and wanted in RENDERED
        assert packaged_speech(row.audio.removeprefix("speech:")).transcript
    judge = FakeJudge("whisper")
    case = Case(id="x", edit=Style(to="whisper"), audio="speech:surpassed")
    speech = packaged_speech("surpassed")
    ready = StyleScorer().prepare(case, speech, np.random.default_rng(0))
    quiet = speech.replace(samples=speech.samples * 0.5)
    whisper = case.edit.render(speech, np.random.default_rng(0)).utterance
    assert StyleScorer().score(case, ready, whisper, FakeMeasures(judge)).reached is True
    assert StyleScorer().score(case, ready, quiet, FakeMeasures(judge)).reached is False
    assert StyleScorer().score(case, ready, speech, FakeMeasures(judge)).reached is False
    assert judge.questions[0][0] == "style"
    other = Case(id="y", edit=Style(to="shout"), audio="speech:surpassed")
    assert StyleScorer().score(other, ready, quiet, FakeMeasures(judge)).reached is False
