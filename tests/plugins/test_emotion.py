"""The emotion edit: words of the prompt, sizes of the recipes, bad input."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest
from pydantic import ValidationError
from stepedit_emotion import Emotion
from stepedit_emotion.edit import EMOTIONS
from stepedit_emotion.profiles import PROFILES
from stepedit_emotion.recipes import NO_RECIPE, RECIPES

from stepedit_core import Utterance
from stepedit_core.dsp.acoustics import AcousticShift, agreement, difference, margin
from stepedit_core.prompt import SYSTEM_EDIT, Slot
from stepedit_core.recordings import packaged_speech

PUBLIC = [
    "happy",
    "angry",
    "sad",
    "humour",
    "confusion",
    "disgusted",
    "empathy",
    "embarrass",
    "fear",
    "surprised",
    "excited",
    "depressed",
    "coldness",
    "admiration",
]


@cache
def rendered(label: str, name: str = "surpassed") -> tuple[Utterance, AcousticShift]:
    speech = packaged_speech(name)
    out = Emotion(to=label).render(speech, np.random.default_rng(0)).utterance
    return out, difference(speech, out)


def test_the_labels_are_the_public_ones_in_order() -> None:
    assert list(EMOTIONS) == PUBLIC
    assert set(RECIPES) | set(NO_RECIPE) == {*PUBLIC, "remove"}
    assert not set(RECIPES) & set(NO_RECIPE)


def test_prompt_to_the_letter() -> None:
    speech = packaged_speech("surpassed").replace(transcript=" You came back! ")
    prompt = Emotion(to="happy").prompt(speech)
    assert prompt.system == (SYSTEM_EDIT,)
    assert prompt.user == (
        "Make the following audio more happy. The text corresponding to the audio is: "
        "You came back!\n\n",
        Slot.AUDIO,
        "\n",
    )
    assert Emotion(to="remove").prompt(speech).user[0] == (
        "Remove any emotion in the following audio and the reference text is: You came back!\n\n"
    )
    for label in PUBLIC:
        assert f"more {label}. The" in Emotion(to=label).prompt(speech).text


@pytest.mark.parametrize(
    ("wrong", "near"),
    [("hapy", "happy"), ("sadness", "sad"), ("neutral", "remove"), ("", "; there are")],
)
def test_unknown_emotions_are_refused_with_a_hint(wrong: str, near: str) -> None:
    with pytest.raises(ValidationError, match=near):
        Emotion(to=wrong)


@pytest.mark.parametrize("label", NO_RECIPE)
def test_labels_without_a_recipe_say_why(label: str) -> None:
    edit = Emotion(to=label)
    problem = edit.route_problem("dsp")
    assert problem is not None and label in problem and "engine" in problem
    assert edit.route_problem("llm") is None
    with pytest.raises(ValueError, match="no dsp route"):
        edit.render(packaged_speech("surpassed"), np.random.default_rng(0))


@pytest.mark.parametrize("label", RECIPES)
def test_recipes_move_speech_by_the_usual_size(label: str) -> None:
    out, shift = rendered(label)
    speech = packaged_speech("surpassed")
    reached = margin(shift, PROFILES[label])
    assert reached is not None and reached >= 5.5, shift.to_data()
    assert out.sample_rate == speech.sample_rate
    assert out.transcript == speech.transcript
    assert np.abs(out.samples).max() <= 0.98
    ratio = Emotion(to=label).plan(speech).length_ratio
    assert out.seconds / speech.seconds == pytest.approx(ratio, rel=0.01)
    assert RECIPES[label].source


def test_opposite_emotions_go_opposite_ways() -> None:
    _, happy = rendered("happy")
    _, sad = rendered("sad")
    assert happy.f0 > 4 and sad.f0 < -0.5
    assert happy.f0_range > 1.3 and sad.f0_range < 0.8
    assert sad.level == pytest.approx(-5.0, abs=1.0)
    assert sad.tilt < -0.5 < 0.3 < rendered("angry")[1].tilt
    assert agreement(happy, PROFILES["sad"]) < 0 < agreement(happy, PROFILES["happy"])


def test_details_are_json_and_name_the_backend() -> None:
    made = Emotion(to="fear").render(packaged_speech("surpassed"), np.random.default_rng(0))
    facts = json.loads(json.dumps(dict(made.details)))
    assert "WORLD" in facts["backend"]
    assert facts["recipe"]["vibrato_hz"] == 8.5
    assert facts["level_db"] == 0.0


def test_render_is_repeatable() -> None:
    speech = packaged_speech("surpassed")
    before = speech.digest
    first, again = (
        Emotion(to="angry").render(speech, np.random.default_rng(4)).utterance for _ in range(2)
    )
    assert first.digest == again.digest and speech.digest == before


def test_importing_the_plugin_is_light() -> None:
    import subprocess
    import sys

    code = (
        "import sys, stepedit_emotion, stepedit_style; "
        "print([m for m in ('pyworld', 'scipy', 'torch', 'librosa') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_level_of_the_plan() -> None:
    def level(label: str) -> object:
        return Emotion.model_validate({"to": label}).plan(packaged_speech("garden")).level

    assert level("angry") == (3.0, 6.0) and level("sad") == (-5.0, -2.5)
    assert level("humour") == (0.0, 0.0) and level("remove") is None


def test_strength() -> None:
    speech = packaged_speech("surpassed")
    usual, strong = Emotion(to="happy"), Emotion(to="happy", strength=1.5)
    assert usual.gentler() == Emotion(to="happy", strength=0.8)
    assert usual.stronger() == Emotion(to="happy", strength=1.25)
    assert strong.stronger() is None and Emotion(to="happy", strength=0.8).stronger() == usual
    assert Emotion(to="humour").gentler() is None and Emotion(to="remove").stronger() is None
    with pytest.raises(ValidationError, match="humour knows no more or less"):
        Emotion(to="humour", strength=0.5)
    before, after = usual.plan(speech), strong.plan(speech)
    assert (before.strength, after.strength) == (1.0, 1.5) and before.level == after.level
    assert after.length_ratio == pytest.approx(before.length_ratio**1.5)
    made = strong.render(speech, np.random.default_rng(0)).details["recipe"]
    assert made["f0_ratio"] == pytest.approx(2 ** (7.5 / 12)) and made["level"] == 3.0
