"""The scene edit: ratios, rooms, files, scorer with its cheats, pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from stepedit_scene import Scene
from stepedit_scene.pairs import ScenePairs, margin_of
from stepedit_scene.scorer import SceneScorer
from stepedit_scene.surroundings import BACKGROUNDS, ROOMS, room_response

from stepedit_core import (
    BuildContext,
    Case,
    CorpusItem,
    EditPair,
    Prepared,
    StepeditError,
    Utterance,
)
from stepedit_core.dsp.noises import SPEECH_BAND, snr_db
from stepedit_core.dsp.rooms import measure_rt60
from stepedit_core.recordings import packaged_speech
from stepedit_core.testing import FakeMeasures


def _made(edit: Scene, speech: Utterance, seed: int = 0) -> Utterance:
    return edit.render(speech, np.random.default_rng(seed)).utterance


def _reached(edit: Scene, output: Utterance, speech: Utterance) -> bool | None:
    case = Case(id="x", edit=edit, audio="speech:garden")
    return SceneScorer().score(case, Prepared(speech), output, FakeMeasures()).reached


@pytest.mark.parametrize("rate", [8_000, 24_000, 44_100])
@pytest.mark.parametrize("background", BACKGROUNDS)
def test_ratio_within_half_a_decibel(background: str, rate: int) -> None:
    speech = packaged_speech("garden").resample(rate)
    for ratio in (0.0, 10.0, 30.0):
        out = _made(Scene(background=background, snr_db=ratio), speech)
        gain = float(np.dot(out.samples, speech.samples) / np.dot(speech.samples, speech.samples))
        rest = out.samples - np.float32(gain) * speech.samples
        measured = snr_db(gain * speech.samples, rest, SPEECH_BAND, rate)
        assert measured == pytest.approx(ratio, abs=0.5)
        assert len(out.samples) == len(speech.samples)
        assert np.abs(out.samples).max() <= 1.0


def test_rooms_differ_and_repeat() -> None:
    times = [measure_rt60(room_response(room, 16_000), 16_000) for room in ROOMS]
    assert times == sorted(times) and times[0] < 0.7 < 1.2 < times[2]
    first = room_response("small", 8_000)
    np.testing.assert_array_equal(first, room_response("small", 8_000))


def test_files(tmp_path: Path) -> None:
    speech = packaged_speech("garden")
    noise = np.random.default_rng(2).normal(0, 0.1, 8_000).astype(np.float32)
    path = Utterance(noise, 16_000).write(tmp_path / "fan.wav", subtype="FLOAT")
    edit = Scene(background=str(path), snr_db=12)
    assert edit.files() == (str(path),) and edit.problem(speech) is None
    assert _reached(edit, _made(edit, speech), speech) is True
    decay = np.exp(-np.arange(8_000) / 1_500) * np.random.default_rng(3).normal(0, 0.1, 8_000)
    decay[0] = 1.0
    path = Utterance(decay.astype(np.float32), 16_000).write(tmp_path / "r.wav", subtype="FLOAT")
    edit = Scene(room=str(path))
    assert _reached(edit, _made(edit, speech), speech) is True
    assert "absent.wav" in str(Scene(background="absent.wav").problem(speech))
    silent = Utterance(np.zeros(800, np.float32), 8_000)
    path = silent.write(tmp_path / "silent.wav")
    assert "silent" in str(Scene(background=str(path)).problem(speech))
    assert "silent" in str(Scene(background="rain").problem(silent))


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({}, "background=, room= or both"),
        ({"background": "rian"}, "did you mean 'rain'"),
        ({"room": "moon"}, "small, large, hall"),
        ({"room": "hall", "snr_db": 3}, "goes with background"),
        ({"background": "rain", "snr_db": 90}, "less than or equal to 40"),
    ],
)
def test_bad_parameters(params: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Scene.model_validate(params)


def test_a_room_needs_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepedit_core.dsp.rooms.can_simulate", lambda: False)
    assert "extra rooms" in str(Scene(room="hall").route_problem("dsp"))
    assert Scene(background="rain").route_problem("dsp") is None


EDITS = (
    Scene(background="rain", snr_db=10),
    Scene(background="street", snr_db=10),
    Scene(background="hum", snr_db=10),
    Scene(background="babble", snr_db=10),
    Scene(background="white", snr_db=20),
    Scene(room="small"),
    Scene(room="hall"),
    Scene(room="large", background="rain", snr_db=15),
)


@pytest.mark.parametrize("edit", EDITS, ids=str)
def test_scorer_and_its_cheats(edit: Scene) -> None:
    speech = packaged_speech("garden")
    made = _made(edit, speech, 5)
    assert _reached(edit, made, speech) is True
    noise = np.random.default_rng(1).normal(0, 0.1, len(speech.samples)).astype(np.float32)
    cheats = {
        "untouched": speech,
        "silence": speech.replace(samples=np.zeros_like(speech.samples)),
        "noise alone": speech.replace(samples=noise),
        "backwards": made.replace(samples=made.samples[::-1].copy()),
        "half": made.slice((0.0, made.seconds / 2)),
    }
    if edit.background is not None:
        half = Scene(background=edit.background, snr_db=edit.ratio_db + 2, room=edit.room)
        wrong = "white" if edit.background != "white" else "hum"
        cheats["other ratio"] = _made(half, speech)
        other = Scene(background=wrong, snr_db=edit.ratio_db, room=edit.room)
        cheats["other kind"] = _made(other, speech)
    if edit.room is not None and edit.background is not None:
        dry = Scene(background=edit.background, snr_db=edit.ratio_db)
        cheats["no room"] = _made(dry, speech)
    fooled = [name for name, output in cheats.items() if _reached(edit, output, speech)]
    assert fooled == []


class _Hearing(FakeMeasures):
    """A dry recording and itself in a room are alike by 0.68; words are lost in the room, too."""

    def __init__(self, dry: Utterance, alike: float, wrong: float) -> None:
        super().__init__()
        self.dry, self.alike, self.wrong = dry, alike, wrong
        self.made: Utterance | None = None

    def speaker_similarity(self, first: Utterance, second: Utterance) -> float:
        return 0.68 if self.dry in (first, second) else self.alike

    def word_error(self, expected: str, utterance: Utterance) -> float:
        heard = 0.0 if utterance == self.dry else 0.3
        return self.wrong if utterance == self.made else heard


@pytest.mark.parametrize(
    ("alike", "wrong", "reached"), [(0.9, 0.3, True), (0.5, 0.3, False), (0.9, 0.9, False)]
)
@pytest.mark.parametrize("edit", EDITS[-2:], ids=str)
def test_words_and_voice_are_those_of_the_ideal_scene(
    edit: Scene, alike: float, wrong: float, reached: bool
) -> None:
    speech = packaged_speech("garden")
    case = Case(id="x", edit=edit, audio="speech:garden")
    scorer, measures = SceneScorer(), _Hearing(speech, alike, wrong)
    assert {"words", "speaker"} <= scorer.waives(case)
    made = _made(edit, speech, 5)
    made = made.replace(samples=made.samples * np.float32(0.9))  # a room alone gives the ideal
    measures.made = made
    assert scorer.score(case, Prepared(speech), made, measures).reached is reached


def test_pairs(tmp_path: Path) -> None:
    path = packaged_speech("garden").write(tmp_path / "garden.wav", subtype="FLOAT")
    builder, options = ScenePairs(), {"snr": "0:8"}
    (job,) = builder.jobs([CorpusItem("garden", str(path), "words")], options)
    pairs = list(builder.build(job, BuildContext(np.random.default_rng(3), options)))
    kept = [pair for pair in pairs if isinstance(pair, EditPair)]
    assert len(pairs) == 3 and len(kept) >= 2
    for pair in kept:
        assert isinstance(pair.edit, Scene) and pair.margin == margin_of(pair.edit) >= 6
        assert pair.details.get("snr_db", pair.edit.ratio_db) == pytest.approx(
            pair.edit.ratio_db, abs=0.5
        )
    with pytest.raises(StepeditError, match="kinds: there are background"):
        list(builder.jobs([], {"kinds": "sea"}))
    with pytest.raises(StepeditError, match="snr: two ratios"):
        list(builder.jobs([], {"snr": "9"}))
