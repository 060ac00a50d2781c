"""Judges that ask nobody: acoustic, events and trained."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from stepedit_bench.judges import AcousticJudge, EventsJudge, TrainedJudge
from stepedit_bench.judges.acoustic import rate
from stepedit_bench.judges.commands import judges
from stepedit_bench.judges.event_data import Sound, channel
from stepedit_bench.judges.event_ear import EarName, ear_title, find_ear
from stepedit_bench.judges.event_trials import trials
from stepedit_bench.judges.events import (
    EVENTS,
    OTHER,
    EventScores,
    grade,
    load_classifier,
    sound_of,
)
from stepedit_bench.judges.features import WINDOW_NAMES, frame_features, window_features
from stepedit_bench.judges.model import CARD, WEIGHTS, Classifier, network
from stepedit_bench.judges.places import place
from stepedit_bench.judges.train_emotion import speaker_folds, train_emotion_judge
from stepedit_bench.judges.validation import Agreement, comparisons
from stepedit_emotion.profiles import PROFILES as EMOTIONS

from stepedit_core.dsp.acoustics import AcousticShift, difference, measure
from stepedit_core.errors import CheckpointError, StepeditError
from stepedit_core.labels.profile import Profile
from stepedit_core.pairs import CorpusItem
from stepedit_core.recordings import packaged_speech
from stepedit_core.testing.cheats import ADDED, insert_at
from stepedit_core.utterance import Utterance
from tests.shared_data import need_shared

RATE = 16_000
EARS: tuple[EarName, ...] = ("none", "whisper") if ear_title() else ("none",)


def shift_along(profile: Profile, times: float = 1.0) -> AcousticShift:
    """Return a shift of some multiple of a label's usual size."""
    ratios = {"f0_range", "f0_variability", "tempo", "syllable_rate", "articulation_rate"}
    sizes: Mapping[str, float] = {
        name: cue.size**times if name in ratios else cue.size * times
        for name, cue in profile.cues.items()
    }
    return AcousticShift(**sizes)


class TestAcoustic:
    def test_acoustic_scale(self) -> None:
        labels = ("sad", "neutral")
        full = rate(shift_along(EMOTIONS["sad"]), labels, EMOTIONS)
        assert full["sad"] == pytest.approx(1.0) and full["neutral"] == pytest.approx(0.0)
        weak = rate(shift_along(EMOTIONS["sad"], 0.45), labels, EMOTIONS)
        assert weak["neutral"] > weak["sad"] == pytest.approx(0.45)
        strong = rate(shift_along(EMOTIONS["sad"], 0.55), labels, EMOTIONS)
        assert strong["sad"] > strong["neutral"]
        away = rate(shift_along(EMOTIONS["sad"], -1.0), labels, EMOTIONS)
        assert away["sad"] < 0 and away["neutral"] == 1.0

    @pytest.mark.parametrize("label", sorted(EMOTIONS))
    def test_a_label_s_own_shift_rates_it_as_its_usual_size(self, label: str) -> None:
        assert rate(shift_along(EMOTIONS[label]), (label,), EMOTIONS)[label] == pytest.approx(1.0)

    def test_untouched_speech_is_neutral(self) -> None:
        speech = packaged_speech("office")
        verdict = AcousticJudge().judge(
            "emotion", speech, reference=speech, labels=("happy", "sad", "neutral")
        )
        assert verdict.label == "neutral" and verdict.scores["neutral"] == 1.0

    def test_hears_a_shift_of_pitch_in_real_speech(self) -> None:
        speech = packaged_speech("office")
        # Played faster, speech is higher by as much.
        raised = speech.replace(sample_rate=round(speech.sample_rate * 2 ** (5 / 12)))
        assert difference(measure(speech), measure(raised)).f0 == pytest.approx(5, abs=0.7)
        verdict = AcousticJudge().judge(
            "style", raised, reference=speech, labels=("child", "deeply", "neutral")
        )
        assert verdict.label == "child" and verdict.scores["deeply"] < 0

    def test_refuses_what_it_cannot_know(self) -> None:
        judge, speech = AcousticJudge(), packaged_speech("office")
        assert "before the edit" in (judge.judge("emotion", speech).refused or "")
        told = judge.judge("emotion", speech, reference=speech, question={"to": "admiration"})
        assert "admiration" in (told.refused or "")
        silent = speech.replace(samples=np.zeros(RATE, dtype=np.float32))
        assert judge.judge("emotion", silent, reference=speech).refused
        assert judge.judge("accent", speech, reference=speech).refused


class TestAgreement:
    def test_refusals_count_as_wrong(self) -> None:
        agreed = Agreement(("happy", "sad", "neutral"))
        agreed.table.update({("happy", "happy"): 3, ("sad", "happy"): 1})
        agreed.refused = 1
        assert agreed.accuracy == pytest.approx(3 / 5)
        assert agreed.majority == pytest.approx(3 / 4)
        assert agreed.recalls() == {"happy": 1.0, "sad": 0.0}
        assert any("33.3%" in line for line in agreed.lines())

    def test_compares_within_speaker_and_sentence(self) -> None:
        def item(name: str, group: str, emotion: str) -> CorpusItem:
            return CorpusItem(name, name, labels={"emotion": emotion}, group=group, speaker="a")

        items = [
            item("1", "a|x", "neutral"),
            item("2", "a|x", "sad"),
            item("3", "a|x", "neutral"),
            item("4", "a|y", "sad"),
        ]
        pairs = [(first.id, second.id) for first, second in comparisons(items)]
        assert pairs == [("1", "2"), ("1", "3")]


def tone(pitch: float, seconds: float, rng: np.random.Generator, beat: float = 0.0) -> Utterance:
    """Return a hoarse harmonic tone whose level may beat."""
    times = np.arange(round(seconds * RATE)) / RATE
    sound = sum(np.sin(2 * np.pi * pitch * n * times + rng.uniform(0, 6)) / n for n in range(1, 9))
    sound = sound * (1 + 0.9 * np.sin(2 * np.pi * beat * times)) if beat else sound
    sound = np.asarray(sound) * 0.1 + rng.normal(0, 0.01, len(times))
    return Utterance(sound.astype(np.float32), RATE)


class TestFeatures:
    def value(self, name: str, sound: Utterance) -> float:
        return float(window_features(frame_features(sound))[WINDOW_NAMES.index(name)])

    @pytest.mark.parametrize("pitch", [90.0, 180.0, 400.0])
    def test_measures_pitch(self, pitch: float) -> None:
        sound = tone(pitch, 1.0, np.random.default_rng(0))
        expected = 12 * np.log2(pitch / 100)
        assert self.value("semitones_mean", sound) == pytest.approx(expected, abs=0.7)
        assert self.value("voiced", sound) > 0.95

    def test_measures_rhythm(self) -> None:
        sound = tone(150, 2.0, np.random.default_rng(0), beat=5.0)
        assert self.value("rhythm_4.5_6.5", sound) > 0.7

    def test_gain_does_not_matter_and_all_is_finite(self) -> None:
        sound = tone(150, 0.5, np.random.default_rng(0))
        louder = sound.replace(samples=sound.samples * 1.9)
        np.testing.assert_allclose(
            window_features(frame_features(sound)),
            window_features(frame_features(louder)),
            atol=1e-3,
        )
        for seconds in (0.01, 0.1):
            short = sound.replace(samples=np.zeros(round(seconds * RATE), dtype=np.float32))
            assert np.isfinite(window_features(frame_features(short))).all()

    def test_noise_is_not_voiced(self) -> None:
        noise = np.random.default_rng(1).normal(0, 0.1, RATE).astype(np.float32)
        assert self.value("voiced", Utterance(noise, RATE)) < 0.05

    def test_channels_differ_and_keep_the_length(self) -> None:
        sound = tone(150, 1.0, np.random.default_rng(0)).samples.astype(np.float64)
        first, second = (channel(sound, np.random.default_rng(seed)) for seed in (1, 2))
        assert len(first) == len(sound) and not np.allclose(first, second)
        np.testing.assert_array_equal(first, channel(sound, np.random.default_rng(1)))


class TestModel:
    def rows(self) -> tuple[np.ndarray, list[str]]:
        rng = np.random.default_rng(0)
        rows = rng.normal(0, 1, (80, len(WINDOW_NAMES)))
        names = ["a"] * 60 + ["b"] * 20
        rows[60:, 3] += 4.0
        return rows, names

    @pytest.mark.parametrize("hidden", [0, 8])
    def test_learns_saves_and_loads(self, hidden: int, tmp_path: Path) -> None:
        rows, names = self.rows()
        model = network(rows, names, 0, hidden=hidden, decay=1e-3, steps=100)
        found = model.probabilities(rows)
        np.testing.assert_allclose(found.sum(axis=1), 1.0)
        said = np.array(model.labels)[found.argmax(axis=1)]
        assert (said == np.array(names)).mean() > 0.95
        model.save(tmp_path)
        again = Classifier.load(tmp_path)
        np.testing.assert_allclose(again.probabilities(rows), found, atol=1e-4)
        assert again.digest == model.digest == again.card["digest"]

    def test_agrees_with_scikit_learn(self) -> None:
        from sklearn.neural_network import MLPClassifier

        rows, _ = self.rows()
        names = np.array(["a", "b", "c", "d"] * 20)
        model = network(rows, names.tolist(), 3, hidden=5, decay=1e-3, steps=300)
        inputs = np.clip((rows - rows.mean(axis=0)) / (rows.std(axis=0) + 1e-6), -6, 6)
        order = np.concatenate([np.flatnonzero(names == name) for name in "abcd"])
        other = MLPClassifier((5,), alpha=1e-3 * 80, max_iter=300, random_state=3)
        with pytest.warns():
            other.fit(inputs[order], names[order])
        np.testing.assert_allclose(
            model.probabilities(rows), other.predict_proba(inputs), atol=1e-6
        )

    def test_damaged_files_are_one_clear_error(self, tmp_path: Path) -> None:
        rows, names = self.rows()
        network(rows, names, 0, hidden=4, decay=1e-3, steps=20).save(tmp_path)
        good = (tmp_path / CARD).read_text()
        card = json.loads(good)
        (tmp_path / CARD).write_text(json.dumps({**card, "features": 0}))
        with pytest.raises(CheckpointError, match="train it again"):
            Classifier.load(tmp_path)
        (tmp_path / CARD).write_text(json.dumps({**card, "labels": ["a", "b", "c"]}))
        with pytest.raises(CheckpointError, match="do not fit"):
            Classifier.load(tmp_path)
        (tmp_path / CARD).write_text(good)
        (tmp_path / WEIGHTS).write_bytes(b"\x80\x04pickle")
        with pytest.raises(CheckpointError, match="not a trained judge"):
            Classifier.load(tmp_path)
        with pytest.raises(CheckpointError, match="not a trained judge"):
            Classifier.load(tmp_path / "absent")


class TestEvents:
    def test_grades(self) -> None:
        limits = {"present": 0.3, "clear": 0.5}
        assert grade(np.array([0.6, 0.2, 0.1]), "laugh", limits) == 3
        assert grade(np.array([0.4, 0.2, 0.1]), "laugh", limits) == 2, "there, but not clear"
        assert grade(np.array([0.6, 0.7, 0.1]), "laugh", limits) == 2, "another one is likelier"
        assert grade(np.array([0.2, 0.1, 0.1]), "laugh", limits) == 1
        assert grade(np.array([0.6, 0.1, 0.1, 0.7]), "laugh", limits) == 2, "a beep, say"

    def test_looks_at_the_place_and_elsewhere(self) -> None:
        heard = EventScores(
            np.array([0.8, 1.0, 4.0]), np.array([[0.1, 0, 0], [0.9, 0, 0], [0, 0.8, 0]])
        )
        np.testing.assert_array_equal(heard.at(0.9, 1.2), [0.9, 0, 0])
        np.testing.assert_array_equal(heard.at(2.0, 2.5), [0, 0, 0])
        np.testing.assert_array_equal(heard.outside([(0.9, 1.2)]), [0, 0.8, 0])

    @pytest.mark.parametrize(
        ("tag", "sound"),
        [("laugh", "laugh"), ("[Laughter]", "laugh"), ("Breathing", "breath"), ("sigh", "breath"),
         ("Question-ei", "voice"), ("Dissatisfaction-hnn", "voice"), ("cough", "cough"),
         ("clears throat", "cough"), ("snort", None)],
    )  # fmt: skip
    def test_knows_the_tags(self, tag: str, sound: str | None) -> None:
        assert sound_of(tag) == sound

    @pytest.mark.parametrize("ear", EARS)
    def test_untouched_speech_has_nothing_new(self, ear: EarName) -> None:
        speech = packaged_speech("garden")
        verdict = EventsJudge(ear).judge(
            "paralinguistic", speech, reference=speech, question={"tag": "laugh", "at": 1.0}
        )
        assert verdict.score == 1.0 and verdict.label == "none"

    @pytest.mark.parametrize("ear", EARS)
    @pytest.mark.parametrize("sound", sorted(ADDED))
    def test_what_no_tag_asks_for_is_none_of_them(self, sound: str, ear: EarName) -> None:
        speech, judge = packaged_speech("garden"), EventsJudge(ear)
        added = insert_at(speech, ADDED[sound](speech), 1.0)
        for tag in ("laugh", "sigh", "breath", "uhm", "cough"):
            question = {"tag": tag, "at": 1.0}
            verdict = judge.judge("paralinguistic", added, reference=speech, question=question)
            assert verdict.score is not None and verdict.score < 3, tag

    def test_ears(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert EventsJudge.default_model == (ear_title() or "hand-made features alone")
        with pytest.raises(StepeditError, match="there is auto, whisper, none"):
            EventsJudge("left")  # type: ignore[arg-type]
        monkeypatch.setattr("stepedit_bench.judges.event_ear.ear_title", lambda: None)
        find_ear.cache_clear()
        try:
            assert find_ear("auto") is None
        finally:
            find_ear.cache_clear()

    def test_refuses_unknown_sounds_and_empty_questions(self) -> None:
        speech = packaged_speech("garden")
        told = EventsJudge().judge("paralinguistic", speech, question={"tag": "snort"})
        assert told.refused and "[snort]" in told.refused
        assert EventsJudge().judge("paralinguistic", speech, question={"events": []}).refused

    @pytest.mark.parametrize("with_whisper", [False, True])
    def test_the_shipped_cards_beat_chance_clearly(self, with_whisper: bool) -> None:
        model = load_classifier(with_whisper)
        card = model.card
        held = card["held_out_windows"]
        assert held["balanced_accuracy"] > 2.5 * held["chance"]
        present, absent = (card["held_out_insertions"][kind] for kind in ("present", "absent"))
        share = [row["3"] / sum(row.values()) for row in (present, absent)]
        assert share[0] > 2.5 * share[1]
        assert card["digest"] == model.digest
        assert {*EVENTS, OTHER} <= set(model.labels)
        assert all("NC" not in corpus["licence"] for corpus in card["train"].values())
        assert not set(card["train"]) & {"ravdess", "nemo", "hedgewars_voices"}

    @pytest.mark.parametrize("with_whisper", [False, True])
    def test_never_heard_the_speakers_of_the_sounds_that_ship(self, with_whisper: bool) -> None:
        manifest = files("stepedit_paralinguistic").joinpath("sounds", "manifest.jsonl")
        lines = manifest.read_text(encoding="utf-8").splitlines()
        shipped = {json.loads(line)["speaker"] for line in lines}
        assert shipped <= set(load_classifier(with_whisper).card["speakers_left_out"])

    def test_finds_a_real_laugh_at_its_place(self) -> None:
        root = need_shared("speech", "free", "emogator")
        manifest = (root.parents[1] / "manifest.csv").read_text(encoding="utf-8").splitlines()
        names = [line.split(",")[0] for line in manifest
                 if "laughter (mostly)" in line and ",test,24000" in line]  # fmt: skip
        speech = packaged_speech("garden").resample(RATE)
        sounds = [Sound(root.parents[1] / n, "laugh", "", n, True, "", "") for n in names]
        rates = []
        for sound in sounds[:8]:
            laugh = Utterance.read(sound.path).resample(RATE).samples
            laugh = laugh * 0.6 * np.abs(speech.samples).max() / np.abs(laugh).max()
            cut = len(speech.samples) // 2
            whole = np.concatenate([speech.samples[:cut], laugh, speech.samples[cut:]])
            start, end = cut / RATE, (cut + len(laugh)) / RATE
            event = {"tag": "laugh", "start": start, "end": end}
            verdict = EventsJudge().judge(
                "paralinguistic", Utterance(whole, RATE), reference=speech, question=event
            )
            rates.append(verdict.score)
        assert np.mean([score is not None and score > 1 for score in rates]) >= 0.6


class TestPlaces:
    speech = tone(150, 4.0, np.random.default_rng(0))

    def test_times_of_the_question_are_taken(self) -> None:
        event = {"tag": "laugh", "start": 1.0, "end": 1.5}
        assert place(event, 0, event, self.speech, None) == (1.0, 1.5)

    def test_growth_moves_later_sounds_back(self) -> None:
        before = self.speech.replace(samples=self.speech.samples[: 3 * RATE])
        events = [{"tag": "laugh", "at": 1.0}, {"tag": "sigh", "at": 2.0}]
        question = {"events": events}
        first = place(events[0], 0, question, self.speech, before)
        second = place(events[1], 1, question, self.speech, before)
        assert first == pytest.approx((0.8, 1.7)) and second == pytest.approx((2.3, 3.2))

    def test_words_tell_the_place(self) -> None:
        text = "one two three four [laugh] five six seven eight [laugh]"
        words = text.replace("[laugh] ", "").split()
        last = {"tag": "laugh", "after_words": words[3:8]}
        middle = {"tag": "laugh", "after_words": words[:4]}
        for event, share in ((middle, 0.47), (last, 1.0)):
            start, end = place(
                event, 0, {"text": text, "events": [event]}, self.speech, self.speech
            )
            assert (start + end) / 2 == pytest.approx(4.0 * share, abs=0.15)

    def test_without_any_hint_it_may_be_anywhere(self) -> None:
        event = {"tag": "laugh"}
        assert place(event, 0, event, self.speech, None) == (0.0, 4.0)


@pytest.fixture(scope="module")
def ravdess(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in RAVDESS's layout: sad tones are low and even, angry ones high."""
    root = tmp_path_factory.mktemp("ravdess")
    rng = np.random.default_rng(0)
    for actor in range(1, 6):
        folder = root / f"Actor_{actor:02d}"
        folder.mkdir()
        for emotion, pitch, beat in (("01", 140, 3), ("04", 90, 0), ("05", 260, 8)):
            for statement in ("01", "02"):
                for take in ("01", "02"):
                    sound = tone(pitch * rng.uniform(0.9, 1.1), 0.6, rng, beat)
                    name = f"03-01-{emotion}-01-{statement}-{take}-{actor:02d}.wav"
                    sound.write(folder / name)
    return root


class TestRecipe:
    def test_folds_share_no_speaker(self) -> None:
        speakers = ["a", "b", "c", "d", "e", "f"] * 3
        folds = speaker_folds(speakers, 3, 0)
        assert set(folds) == {0, 1, 2}
        assert all(len({f for f, s in zip(folds, speakers, strict=True) if s == who}) == 1
                   for who in "abcdef")  # fmt: skip

    def test_labels_that_no_recording_has_are_refused(self, ravdess: Path) -> None:
        command = ["validate", "acoustic", "--corpus", str(ravdess), "--label"]
        for given, why in (
            ("angri", "did you mean 'angry'"),
            ("", "no recording has the label ''"),
        ):
            done = CliRunner().invoke(judges, [*command, given])
            assert isinstance(done.exception, StepeditError) and why in str(done.exception)
        told = CliRunner().invoke(judges, [*command, "angry"])
        assert told.exit_code == 0 and "of 2 labels" in told.output, told.output

    def test_trains_a_judge_from_a_folder(self, ravdess: Path, tmp_path: Path) -> None:
        result = CliRunner().invoke(
            judges, ["train-emotion", str(ravdess), "--out", str(tmp_path / "judge")]
        )
        assert result.exit_code == 0, result.output
        card = json.loads((tmp_path / "judge" / CARD).read_text())
        figures = card["speaker_disjoint"]
        assert figures["n"] == 60 and figures["accuracy"] > 0.9
        assert figures["chance"] == pytest.approx(1 / 3, abs=1e-3)
        judge = TrainedJudge(str(tmp_path / "judge"))
        sad = tone(92, 0.6, np.random.default_rng(9))
        verdict = judge.judge("emotion", sad, labels=("happy", "sad", "angry", "neutral"))
        assert verdict.label == "sad"
        assert sum(verdict.scores.values()) == pytest.approx(1.0, abs=1e-3)
        assert judge.judge("emotion", sad, question={"to": "humour"}).refused

    def test_labels_that_carry_no_sound_are_not_learnt(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(1)
        for actor in range(1, 6):
            for emotion in ("04", "05"):
                for take in ("01", "02"):
                    name = f"03-01-{emotion}-01-01-{take}-{actor:02d}.wav"
                    tone(rng.uniform(90, 260), 0.5, rng).write(tmp_path / name)
        model = train_emotion_judge(tmp_path, tmp_path / "judge", "ravdess")
        assert model.card["speaker_disjoint"]["accuracy"] < 0.8

    def test_needs_a_folder_and_two_of_each(
        self, ravdess: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("STEPEDIT_EMOTION_JUDGE", raising=False)
        with pytest.raises(StepeditError, match="trained:folder=FOLDER"):
            TrainedJudge()
        with pytest.raises(StepeditError, match="two of each"):
            train_emotion_judge(ravdess / "Actor_01", tmp_path, "ravdess")


def test_trials_hold_the_sound_where_they_say(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    tone(120, 3.0, rng, beat=2).write(tmp_path / "speech.wav")
    Utterance(rng.normal(0, 0.2, RATE // 2).astype(np.float32), RATE).write(tmp_path / "breath.wav")
    sounds = [
        Sound(tmp_path / f"{name}.wav", name, name, name, False, "CC0", "test")
        for name in ("speech", "breath")
    ]
    touched, untouched, strange = trials(sounds, rng, 5)
    assert (touched.sound, untouched.sound, strange.sound) == ("breath", None, "other")
    start, end = touched.span
    assert end - start == pytest.approx(0.5, abs=0.05)
    grown = touched.utterance.seconds - touched.before.seconds
    assert end - start <= grown <= end - start + 0.31
    inside = window_features(frame_features(touched.utterance.slice((start + 0.1, end - 0.1))))
    assert inside[WINDOW_NAMES.index("voiced")] < 0.1


def test_recorded_laughs_are_heard_between_words(tmp_path: Path) -> None:
    sounds = files("stepedit_paralinguistic").joinpath("sounds")
    (tmp_path / "laughing").mkdir()
    for path in sounds.iterdir():
        if path.name.startswith("laugh_"):
            (tmp_path / "laughing" / path.name).write_bytes(path.read_bytes())
    command = ["validate-events", str(tmp_path), "--kind", "laughing=laugh"]
    told = CliRunner().invoke(judges, command)
    assert told.exit_code == 0, told.output
    right = re.match(r"laughing: (\d) of 5 heard as laugh", told.output)
    assert right and int(right.group(1)) >= 4, told.output
    for kind, message in (
        ("snore", "laughing=snore: no such kind; there is laugh"),
        ("", "laughing: name its kind after =; there is laugh"),
        ("cough", "no recordings"),
    ):
        label = "absent" if kind == "cough" else "laughing"
        failed = CliRunner().invoke(judges, [*command[:2], "--kind", f"{label}={kind}"])
        assert isinstance(failed.exception, StepeditError) and message in str(failed.exception)


def test_stated_figures_are_those_of_the_cards() -> None:
    told = EventsJudge.validation
    for with_whisper in (True, False):
        card = load_classifier(with_whisper).card
        held, placed = card["held_out_windows"], card["held_out_insertions"]
        present, absent = placed["present"], placed["absent"]
        for row, text in ((present, "heard as what it is in"), (absent, "untouched speech in")):
            count = sum(row.values())
            assert f"{text} {round(100 * row['3'] / count)} % of {count}" in told
        assert f"{100 * held['balanced_accuracy']:.1f} % balanced" in told
        assert f"({held['n']} windows" in told
