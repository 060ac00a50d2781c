"""Recorded sounds: the library, the voice they are brought into, and the choice of backend."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from pydantic import ValidationError
from stepedit_paralinguistic import Paralinguistic
from stepedit_paralinguistic.edit import SYNTHESISED
from stepedit_paralinguistic.library import build, median_f0
from stepedit_paralinguistic.recorded import LEVEL, LEVELS, RECORDED, clips, loud_level, perform
from stepedit_paralinguistic.tags import TAGS
from stepedit_paralinguistic.voice import RATE, analyse

from stepedit_core.errors import RouteError, StepeditError
from stepedit_core.recordings import packaged_speech
from stepedit_core.utterance import Utterance
from tests.shared_data import need_shared

SOUNDS = files("stepedit_paralinguistic").joinpath("sounds")
MOST_BYTES = 1_000_000


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_library_is_whole_small_and_free() -> None:
    rows = [json.loads(line) for line in SOUNDS.joinpath("manifest.jsonl").read_text().splitlines()]
    names = {path.name for path in SOUNDS.iterdir() if path.name.endswith(".flac")}
    assert names == {row["file"] for row in rows}
    assert sum(len(path.read_bytes()) for path in SOUNDS.iterdir()) < MOST_BYTES
    for row in rows:
        assert row["tag"] in TAGS["2026"]
        assert row["licence"].startswith(("CC BY 4.0", "Apache-2.0"))
        assert row["credit"] and row["source"] and row["speaker"] and row["changes"]
        samples, rate = sf.read(SOUNDS.joinpath(row["file"]))
        assert rate == RATE and 0.2 <= len(samples) / rate <= 1.7
        assert np.abs(samples).max() == pytest.approx(0.5, abs=0.01)
        assert max(abs(samples[0]), abs(samples[-1])) < 0.01
    tags = {row["tag"] for row in rows}
    assert tags == set(RECORDED) >= {"laugh", "sigh", "breath", "cough", "clears throat", "uhm"}
    assert all(len(clips(tag)) >= 2 for tag in RECORDED)
    people = {row["gender"] for row in rows if row["speaker"].startswith(("sdap", "vctk"))}
    assert people == {"F", "M"}


def test_library_is_made_again_to_the_byte(tmp_path: Path) -> None:
    speech = need_shared("speech", "free", "sdap").parents[1]
    chosen = SOUNDS.joinpath("chosen.jsonl").read_text().splitlines()
    kept = [line for line in chosen if "sigh_meghan" in line or "inhale_p226" in line]
    (tmp_path / "chosen.jsonl").write_text("\n".join(kept), encoding="utf-8")
    rows = build(speech, tmp_path)
    assert len(rows) == len(kept) == 3
    for row in rows:
        assert (tmp_path / row["file"]).read_bytes() == SOUNDS.joinpath(row["file"]).read_bytes()
        assert json.dumps(row, ensure_ascii=False) in SOUNDS.joinpath("manifest.jsonl").read_text()


def test_library_refuses_what_it_may_not_ship(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text(
        "path,set,kind,speaker,gender,licence\nnc/x/a.flac,x,read,a,F,CC BY-NC 4.0\n"
    )
    line = {"tag": "laugh", "name": "laugh_x", "path": "nc/x/a.flac", "start": 0, "end": 1}
    (tmp_path / "chosen.jsonl").write_text(json.dumps(line))
    with pytest.raises(StepeditError, match=r"laugh_x: nc.x.a.flac is not in the manifest"):
        build(tmp_path, tmp_path)


@pytest.mark.parametrize("name", ["wind", "office"])
def test_voiced_sounds_go_to_the_speakers_pitch_and_level(name: str) -> None:
    voice = analyse(packaged_speech(name))
    for tag, low, high in (("laugh", 0.8, 2.2), ("uhm", 0.6, 1.4)):
        sound, facts = perform(tag, voice, rng(3))
        f0 = median_f0(sound)
        assert f0 is not None and low < f0 / voice.f0 < high, (tag, f0, facts)
        told = 20 * np.log10(loud_level(sound) / voice.level)
        assert told == pytest.approx(LEVELS.get(tag, LEVEL), abs=0.2)


def test_breaths_keep_their_spectrum() -> None:
    sound, facts = perform("inhale", analyse(packaged_speech("wind")), rng())
    assert facts["moved"] == {}
    own, _ = sf.read(SOUNDS.joinpath(facts["recording"]))
    assert np.corrcoef(own, sound)[0, 1] > 0.999


def test_band_of_a_narrow_recording_is_kept() -> None:
    wide = packaged_speech("office")
    narrow = wide.resample(8_000).resample(wide.sample_rate)
    voice = analyse(narrow)
    assert 3_000 < voice.highest_hz < 4_400 < analyse(wide).highest_hz
    sound, _ = perform("cough", voice, rng())
    power = np.abs(np.fft.rfft(sound)) ** 2
    hertz = np.fft.rfftfreq(len(sound), 1 / RATE)
    assert power[hertz > 5_500].sum() < 1e-3 * power.sum()


@pytest.mark.parametrize("tag", sorted(RECORDED))
def test_all_other_samples_stay(tag: str) -> None:
    speech = packaged_speech("garden")
    words = (speech.transcript or "").split()
    edit = Paralinguistic(text=" ".join([*words[:3], f"[{tag}]", *words[3:]]))
    rendered = edit.render(speech, rng())
    out, (event,) = rendered.utterance, rendered.details["events"]
    assert event["recording"] in {clip.file for clip in clips(tag)}
    assert event["licence"] and event["credit"]
    assert rendered.details["backend"] == "recordings, WORLD (pyworld)"
    cut, edge = round(event["at"] * speech.sample_rate), round(0.0101 * speech.sample_rate) + 1
    assert np.array_equal(out.samples[: cut - edge], speech.samples[: cut - edge])
    kept = len(speech.samples) - cut - edge
    assert np.array_equal(out.samples[-kept:], speech.samples[-kept:])
    assert np.abs(out.samples).max() <= 1.0
    assert edit.render(speech, rng()).utterance == out


def test_the_seed_draws_among_near_recordings() -> None:
    voice = analyse(packaged_speech("office"))
    drawn = {perform("inhale", voice, rng(seed))[1]["recording"] for seed in range(12)}
    assert len(drawn) >= 3


def test_backends() -> None:
    laugh = "You love your home [laugh] and want it to be beautiful."
    throat = laugh.replace("laugh", "clears throat")
    question = laugh.replace("laugh", "Question-ei")
    speech = packaged_speech("garden")
    for text, backend, source in (
        (laugh, None, "recorded"),
        (laugh, "auto", "recorded"),
        (laugh, "synthesised", "synthesised"),
        (throat, "auto", "recorded"),
        (question, "auto", "synthesised"),
    ):
        edit = Paralinguistic(text=text, backend=backend)
        assert edit.source_of(edit.placed[0].tag) == source
        assert edit.route_problem("dsp") is None
    refused = Paralinguistic(text=throat, backend="synthesised")
    assert "no published recipe" in str(refused.route_problem("dsp"))
    with pytest.raises(RouteError, match=r"\[Question-ei\]: no recording in the library"):
        Paralinguistic(text=question, backend="recorded").render(speech, rng())
    assert "no words for backend=" in str(
        Paralinguistic(text=laugh, backend="auto").route_problem("llm")
    )
    with pytest.raises(ValidationError, match="synthesised"):
        Paralinguistic(text=laugh, backend="sampled")  # type: ignore[arg-type]


def test_prompt_does_not_know_the_backend() -> None:
    text = "You love your home [laugh] and want it to be beautiful."
    speech = packaged_speech("garden")
    plain, chosen = (Paralinguistic(text=text, backend=name) for name in (None, "recorded"))
    assert plain.prompt(speech) == chosen.prompt(speech)
    assert plain.transcript_after(speech) == chosen.transcript_after(speech)


def test_usual_lengths_of_both_sources_are_near() -> None:
    for tag in set(RECORDED) & set(SYNTHESISED):
        assert RECORDED[tag] == pytest.approx(SYNTHESISED[tag], abs=0.55), tag


def test_silence_gets_an_average_voice() -> None:
    silent = Utterance(np.zeros(24_000, np.float32), 24_000)
    rendered = Paralinguistic(text="Well [laugh] then").render(silent, rng())
    assert np.abs(rendered.utterance.samples).max() > 0.01
    assert "average voice" in rendered.details["warning"]
