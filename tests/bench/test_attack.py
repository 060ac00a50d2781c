"""Scorers against adversarial outputs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from stepedit_bench.attack import GOOD, attack, attempts
from stepedit_bench.measuring import StandardMeasures
from stepedit_masked import Masked
from stepedit_masked.scorer import compare_outside
from stepedit_speed import Speed
from stepedit_speed.scorer import SpeedScorer
from stepedit_style import Style
from stepedit_style.scorer import StyleScorer

from stepedit_core import Case, Prepared, Utterance
from stepedit_core.recordings import packaged_speech
from stepedit_core.registry.registry import set_registry
from stepedit_core.testing import cheats
from stepedit_core.testing.fake_measures import FakeJudge, FakeMeasures
from tests.bench.bench_kit import LightMeasures
from tests.cli.calls import call


@pytest.fixture
def office() -> Utterance:
    return packaged_speech("office")


@pytest.mark.parametrize("name", list(cheats.CHEATS))
def test_a_cheat_is_valid_audio_and_repeatable(name: str, office: Utterance) -> None:
    made = cheats.CHEATS[name](office)
    assert made == cheats.CHEATS[name](office)
    assert made.sample_rate == office.sample_rate and np.isfinite(made.samples).all()
    assert np.abs(made.samples).max() <= 1.0 or name == "one_sample"
    assert (made == office) is (name == "copy")


def test_number_of_cheats() -> None:
    assert len(cheats.CHEATS) >= 30 and len(cheats.ADDED) >= 5
    assert set(cheats.WORDLESS) < set(cheats.CHEATS)


def test_cheats_keep_to_the_spans_of_an_edit() -> None:
    source = packaged_speech("garden")
    edit = Masked(inner={"edit": "denoise"}, spans=[(0.5, 1.4)])  # type: ignore[arg-type]
    made = dict(attempts(edit, source))
    assert set(made) == set(cheats.CHEATS)
    for name in ("zeros", "reversed", "half", "said_twice"):
        assert compare_outside(source, made[name], edit.spans).difference == 0.0


def test_added_sounds_go_where_the_edit_puts_its_own(office: Utterance) -> None:
    sound = cheats.ADDED["added_beep"](office)
    made = cheats.insert_at(office, sound, 1.0)
    assert made.seconds == pytest.approx(office.seconds + 0.5, abs=1e-3)
    cut = office.sample_rate
    np.testing.assert_array_equal(made.samples[:cut], office.samples[:cut])
    np.testing.assert_array_equal(made.samples[cut + len(sound) :], office.samples[cut:])


def _pieced(source: Utterance, factor: float) -> Utterance:
    """Return speech at another tempo by pieces of 50 ms that are dropped or said twice."""
    piece = source.sample_rate // 20
    change = factor - 1 if factor > 1 else 1 - factor
    kept = round(piece * (1 / change if factor > 1 else factor / change))
    parts: list[np.ndarray] = []
    for start in range(0, len(source.samples), kept + piece if factor > 1 else kept):
        part = source.samples[start : start + kept]
        parts += [part] if factor > 1 else [part, part[-piece:]]
    return source.replace(samples=np.concatenate(parts))


class TestSpeed:
    def reached(self, source: Utterance, output: Utterance) -> bool | None:
        case = Case(id="x", edit=Speed(factor=source.seconds / output.seconds), audio="speech:x")
        return SpeedScorer().score(case, Prepared(source), output, FakeMeasures()).reached

    @pytest.mark.parametrize("factor", [0.8, 1.25])
    def test_stretched_speech_passes(self, factor: float, office: Utterance) -> None:
        made = Speed(factor=factor).render(office, np.random.default_rng(0)).utterance
        assert self.reached(office, made) is True

    @pytest.mark.parametrize("name", ["garden", "wind", "romance"])
    @pytest.mark.parametrize("factor", [0.9, 1.1])
    def test_a_tempo_near_the_source_passes_unless_pieces_are_dropped(
        self, name: str, factor: float
    ) -> None:
        source = packaged_speech(name)
        made = Speed(factor=factor).render(source, np.random.default_rng(0)).utterance
        assert self.reached(source, made) is True
        assert self.reached(source, _pieced(source, factor)) is False

    @pytest.mark.parametrize(
        "name",
        ["dropped_short_grains", "dropped_grains", "dropped_long_grains", "repeated_grains",
         "cut_ending", "cut_beginning", "half", "pauses_put_in", "said_twice"],
    )  # fmt: skip
    def test_pieces_left_out_or_repeated_do_not(self, name: str, office: Utterance) -> None:
        """Words are not even asked: the fake recogniser hears what it is told."""
        assert self.reached(office, cheats.CHEATS[name](office)) is False


class TestWhisper:
    def reached(self, output: Utterance, source: Utterance) -> bool | None:
        case = Case(id="x", edit=Style(to="whisper"), audio="speech:x")
        measures = FakeMeasures(FakeJudge("whisper"))
        return StyleScorer().score(case, Prepared(source), output, measures).reached

    def test_unvoiced_words_pass_and_voiced_ones_do_not(self, office: Utterance) -> None:
        whisper = Style(to="whisper").render(office, np.random.default_rng(0)).utterance
        assert self.reached(whisper, office) is True
        assert self.reached(cheats.quieter(office), office) is False

    def test_noise_without_words_is_none(self, office: Utterance) -> None:
        noise = cheats.noise_in_its_rhythm(office).replace(transcript="")
        assert self.reached(noise, office) is False


@pytest.fixture
def credulous(tmp_path: Path) -> Iterator[Path]:
    """A plugin whose scorer takes any change of level for its edit."""
    plugin = tmp_path / "credulous.py"
    plugin.write_text(
        "import numpy as np\n"
        "from stepedit_core import Case, Edit, Rendered, Score, Scorer, hookimpl\n"
        "class Louder(Edit):\n"
        "    'Make it louder.'\n"
        "    def render(self, utterance, rng):\n"
        "        return Rendered(utterance.replace(samples=0.5 * utterance.samples))\n"
        "class LevelScorer(Scorer):\n"
        "    def score(self, case, prepared, output, measures):\n"
        "        return Score(not np.array_equal(output.samples, prepared.source.samples))\n"
        "@hookimpl\n"
        "def stepedit_edits():\n"
        "    return [Louder]\n"
        "@hookimpl\n"
        "def stepedit_scorer(edit):\n"
        "    return LevelScorer() if edit is Louder else None\n"
        "@hookimpl\n"
        "def stepedit_cases(edit, suite):\n"
        "    case = Case(id='a', edit=Louder(), audio='speech:office')\n"
        "    return [case] if edit is Louder else None\n"
    )
    set_registry(None)
    yield plugin
    set_registry(None)


def test_a_credulous_scorer_is_found_out(credulous: Path) -> None:
    from stepedit_core.registry.registry import get_registry

    get_registry().register_file(credulous)
    found = attack(["louder"], LightMeasures())
    fooled = {one.cheat for one in found if one.fooled}
    assert fooled == set(cheats.CHEATS) - {"copy"}
    assert [one.reached for one in found if one.cheat == GOOD] == [True]
    checked = call("check", credulous)
    assert checked.exit_code == 1 and "beep" in checked.stdout and "words_kept" in checked.stdout
    shown = call("bench", "attack", "louder")
    assert shown.exit_code == 1 and "fooled" in shown.stdout


@pytest.mark.parametrize(("passes", "tried"), [("False", 9), ("int(case.id) % 2", 2)])
def test_a_good_output_is_looked_for_in_further_cases(
    passes: str, tried: int, credulous: Path
) -> None:
    from stepedit_core.registry.registry import get_registry

    text = credulous.read_text()
    for old, new in (
        ("not np.array_equal(output.samples, prepared.source.samples)", passes),
        ("Case(id='a', edit=Louder(), audio='speech:office')", "None"),
        (
            "[case] if",
            "[Case(id=str(n), edit=Louder(), audio='speech:office') for n in range(20)] if",
        ),
    ):
        assert old in text
        text = text.replace(old, new)
    credulous.write_text(text)
    get_registry().register_file(credulous)
    found = attack(["louder"], LightMeasures())
    good = [one for one in found if one.cheat == GOOD]
    assert len(good) <= tried and (passes != "False" or len(good) == tried)
    assert len({one.case for one in found if one.cheat != GOOD}) == 1
    assert any(one.reached for one in good) is (passes != "False")


@pytest.mark.slow
def test_no_cheat_passes_for_any_built_in_edit() -> None:
    set_registry(None)
    found = attack([], StandardMeasures())
    assert not [one for one in found if one.fooled]
    passed = {one.edit for one in found if one.cheat == GOOD and one.reached}
    assert passed >= {"speed", "style", "emotion", "trim_silence", "masked"}
