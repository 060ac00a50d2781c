from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from stepedit_emotion import Emotion
from stepedit_masked import Masked
from stepedit_pitch.measuring import pitch_track
from stepedit_voice import Voice
from stepedit_voice.conversion import SHOWN_SHARE, convert
from stepedit_voice.measured import (
    Measured,
    cepstra,
    measured,
    measured_target,
    shared_classes,
)
from stepedit_voice.pairs import VoicePairs, margin_of
from stepedit_voice.scorer import VoiceScorer
from stepedit_voice.spectra import towards_voice, vocal_tract
from stepedit_voice.voices import named_voices

from stepedit_core import (
    BuildContext,
    Case,
    Chain,
    CorpusItem,
    EditPair,
    Prepared,
    Rejected,
    Span,
    StepeditError,
    Utterance,
    packaged_speech,
)
from stepedit_core.dsp.loudness import active_level
from stepedit_core.llm_route.carrying_out import apply_by_llm
from stepedit_core.testing import FakeEngine, FakeMeasures
from tests.listening_engine import AlignedEngine, ListeningEngine

SAYS = 'speaker = "A"\nlicence = "CC0"\nconsent = "Given."\n'


def test_own_codes_in_the_other_voice() -> None:
    engine, speech = ListeningEngine(), packaged_speech("garden")
    step = Chain([Voice(reference="lewis")])(speech, engine=engine).steps[0]
    assert engine.requests == []  # the language model is not asked
    (request,) = engine.decoded
    assert request.reference == packaged_speech("wind")
    assert request.source_map is None
    (codes,) = engine.encode([speech])
    assert np.array_equal(request.codes.interleave(), codes.interleave())
    assert step.details["voice"] == packaged_speech("wind").digest
    assert step.utterance.seconds == pytest.approx(speech.seconds, abs=1e-3)
    assert step.utterance.transcript == speech.transcript


def test_a_decoder_that_looks_up_places_is_shown_the_source_moved_towards_the_voice() -> None:
    engine, speech = AlignedEngine(), packaged_speech("garden")
    edit = Voice(reference="lewis")
    Chain([edit])(speech, engine=engine)
    (request,) = engine.decoded
    moved, _ = convert(speech, packaged_speech("wind"), SHOWN_SHARE)
    assert request.reference == moved
    assert request.voice == packaged_speech("wind")
    assert request.source_map is not None
    places = request.source_map.positions
    assert places is not None and len(places) == 3 * request.codes.groups


def test_a_voice_of_whispers_is_the_reference_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: Utterance, target: Utterance, share: float) -> None:
        raise StepeditError("no voice is heard")

    monkeypatch.setattr("stepedit_voice.conversion.convert", refuse)
    engine, speech = AlignedEngine(), packaged_speech("garden")
    Chain([Voice(reference="lewis")])(speech, engine=engine)
    assert engine.decoded[0].reference == packaged_speech("wind")
    assert engine.decoded[0].source_map is None


def test_beside_an_edit_that_asks_the_model() -> None:
    engine, speech = ListeningEngine(), packaged_speech("garden")
    edits = [Voice(reference="lewis"), Emotion(to="sad"), Voice(reference="lily")]
    apply_by_llm(edits, [speech] * 3, engine, [1, 2, 3])
    assert [request.plan.label for request in engine.requests] == ["emotion:sad"]
    assert [one.reference == speech for one in engine.decoded] == [False, True, False]


def test_inside_a_mask() -> None:
    engine, speech = ListeningEngine(), packaged_speech("garden")
    edit = Masked(inner=Voice(reference="lewis"), spans=(Span(1.0, 2.0),))
    out = Chain([edit])(speech, engine=engine).utterance
    assert engine.requests == []
    assert engine.decoded[0].reference == packaged_speech("wind")
    rate = speech.sample_rate
    np.testing.assert_array_equal(out.samples[: round(0.95 * rate)], speech.samples[:22_800])
    assert not np.array_equal(out.samples[rate : 2 * rate], speech.samples[rate : 2 * rate])


def test_files_names_and_what_they_lack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    speech = packaged_speech("garden")
    path = speech.write(tmp_path / "ada.wav")
    assert Voice(reference=str(path)).voice().seconds == pytest.approx(speech.seconds, abs=1e-3)
    assert Voice(reference="ada").problem(speech) is not None
    monkeypatch.setenv("STEPEDIT_VOICES", str(tmp_path))
    (tmp_path / "ada.toml").write_text(SAYS)
    assert Voice(reference="ada").problem(speech) is None
    assert {"ada", "linda", "lewis"} <= {voice.name for voice in named_voices()}
    assert all(voice.licence and voice.consent for voice in named_voices())
    (tmp_path / "ada.toml").write_text(SAYS.replace('consent = "Given."', ""))
    assert "consent" in str(Voice(reference="ada").problem(speech))
    (tmp_path / "ada.toml").write_text(SAYS + 'audio = "gone.wav"\n')
    assert "gone.wav" in str(Voice(reference="ada").problem(speech))
    monkeypatch.setenv("STEPEDIT_VOICES", str(tmp_path / "absent"))
    assert "is no folder" in str(Voice(reference="linda").problem(speech))


@pytest.mark.parametrize(
    ("seconds", "says"), [(0.5, "lasts 0.5 s"), (40.0, "lasts 40.0 s"), (0.0, "absent")]
)
def test_unfit_recordings(tmp_path: Path, seconds: float, says: str) -> None:
    path = tmp_path / "absent.wav"
    if seconds:
        noise = np.random.default_rng(0).normal(0, 0.1, round(seconds * 16_000))
        Utterance(noise.astype(np.float32), 16_000).write(path)
    problem = Voice(reference=str(path)).problem(packaged_speech("garden"))
    assert problem is not None
    assert says in problem
    assert "\n" not in problem


def test_signal_processing_moves_pitch_and_keeps_level_and_length() -> None:
    assert Voice.routes() == ("llm", "dsp")
    speech, low = packaged_speech("garden"), packaged_speech("wind")
    chain = Chain([Voice(reference="lewis")])
    step = chain(speech).steps[0]
    out = step.utterance
    assert step.route == "dsp" and out == chain(speech, seed=9).utterance
    assert len(out.samples) == len(speech.samples) and out.transcript == speech.transcript
    assert active_level(out) == pytest.approx(active_level(speech), abs=0.5)
    tracks = (pitch_track(one) for one in (speech, out, low))
    before, after, wanted = (float(np.median(track[track > 0])) for track in tracks)
    assert before > 1.4 * wanted
    assert after == pytest.approx(wanted, rel=0.12)
    assert step.details["pitch_octaves"] < -0.4 and step.details["vocal_tract"] < 1.0


@pytest.mark.parametrize("mains", [50, 60])
def test_hum_is_no_voice(mains: int) -> None:
    speech = packaged_speech("garden")
    time = np.arange(len(speech.samples)) / speech.sample_rate
    hum = 0.02 * np.sin(2 * np.pi * mains * time).astype(np.float32)
    plain, hummed = measured(speech), measured(speech.replace(samples=speech.samples + hum))
    assert plain.pitch is not None and hummed.pitch is not None
    assert hummed.pitch[0] == pytest.approx(plain.pitch[0], abs=0.15)


@pytest.mark.parametrize("name", ["office", "doctor"])
def test_low_noise_moves_no_pitch_by_an_octave(name: str) -> None:
    speech = packaged_speech(name)
    low = np.random.default_rng(0).normal(size=len(speech.samples)).cumsum()
    low -= np.convolve(low, np.ones(400) / 400, "same")
    low *= np.sqrt(np.mean(speech.samples**2) / np.mean(low**2)) * 10 ** (-15 / 20)
    noisy = speech.replace(samples=speech.samples + low.astype(np.float32))
    plain, heard = measured(speech), measured(noisy)
    assert plain.pitch is not None and heard.pitch is not None
    assert heard.pitch[0] == pytest.approx(plain.pitch[0], abs=0.15)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_spectra_take_the_form_of_the_voice_and_frames_keep_their_power(share: float) -> None:
    own, target = measured(packaged_speech("garden")), measured_target(packaged_speech("wind"))
    moved = towards_voice(own, target, vocal_tract(own, target), share)
    here, there = (10 * np.log10(np.exp(2 * one).sum(axis=1)) for one in (own.logs, moved))
    np.testing.assert_allclose(there[own.spoken], here[own.spoken], atol=0.1)
    mine, theirs = next(iter(shared_classes(own, target)))  # with voice

    def apart(coded: npt.NDArray[np.float64]) -> float:
        one, other = (np.cov(rows[:, 1:].T) for rows in (coded[mine], target.cepstra[theirs]))
        return float(np.abs(one - other).sum() / np.abs(other).sum())

    assert apart(cepstra(moved)) < 0.8 * apart(own.cepstra)


def test_a_voice_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[float] = []

    def counting(utterance: Utterance) -> Measured:
        counted.append(utterance.seconds)
        return measured(utterance)

    monkeypatch.setattr("stepedit_voice.measured.measured", counting)
    measured_target.cache_clear()
    for name in ("garden", "books"):
        convert(packaged_speech(name), packaged_speech("wind"))
    assert counted == [packaged_speech("wind").seconds]


def test_vocal_tracts_fit_the_difference_in_pitch() -> None:
    high, low = packaged_speech("garden"), packaged_speech("wind")
    same, longer, shorter = (
        convert(*pair)[1]["vocal_tract"] for pair in ((high, high), (high, low), (low, high))
    )
    assert longer < 0.95 < same < 1.05 < shorter


def test_a_voice_that_is_none(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.05, 32_000).astype(np.float32)
    path = Utterance(noise, 16_000).write(tmp_path / "noise.wav")
    with pytest.raises(StepeditError, match="no voice is heard in the recording"):
        Chain([Voice(reference=str(path))])(packaged_speech("garden"))
    hiss = Utterance((noise[:16_000] / 10).astype(np.float32), 16_000)
    result = Chain([Voice(reference="lewis")])(hiss)
    assert np.array_equal(result.utterance.samples, hiss.samples)
    assert any("no voice is heard" in note for note in result.notes)


@pytest.mark.parametrize("spans", [None, (Span(0.3, 0.8),)])
@pytest.mark.parametrize("engine", [ListeningEngine(), AlignedEngine(), None])
def test_a_recording_without_a_voice_is_said_on_both_routes(
    engine: FakeEngine | None, spans: tuple[Span, ...] | None
) -> None:
    click = np.zeros(24_000, np.float32)
    click[9_600:9_700] = 0.5
    edit: Voice | Masked = Voice(reference="lewis")
    edit = edit if spans is None else Masked(inner=edit, spans=spans)
    result = Chain([edit])(Utterance(click, 24_000), engine=engine)
    assert result.steps[0].route == ("dsp" if engine is None else "llm")
    assert [note for note in result.notes if "no voice is heard" in note]
    spoken = Chain([edit])(packaged_speech("garden"), engine=engine)
    assert not [note for note in spoken.notes if "no voice is heard" in note]


class _Voices(FakeMeasures):
    """Similarities by the digests of the two sides."""

    def __init__(self, near: float, far: float, between: float = 0.5, error: float = 0.0) -> None:
        super().__init__()
        self.near, self.far, self.between, self.error = near, far, between, error
        self.source, self.target = packaged_speech("garden"), packaged_speech("wind")

    def speaker_similarity(self, first: Utterance, second: Utterance) -> float:
        if {first.digest, second.digest} == {self.source.digest, self.target.digest}:
            return self.between
        return self.near if first == self.target else self.far

    def word_error(self, expected: str, utterance: Utterance) -> float:
        return 0.0 if utterance == self.source else self.error


def test_verdicts() -> None:
    speech = packaged_speech("garden")
    case = Case(id="a", edit=Voice(reference="lewis"), audio="speech:garden")
    output = speech.replace(samples=speech.samples * np.float32(0.5))

    def reached(measures: _Voices, sound: Utterance = output) -> bool | None:
        return VoiceScorer().score(case, Prepared(speech), sound, measures).reached

    assert reached(_Voices(0.8, 0.6)) is True
    assert reached(_Voices(0.6, 0.8)) is False
    assert reached(_Voices(0.8, 0.6, error=0.3)) is False
    assert reached(_Voices(0.8, 0.6, between=0.97)) is None
    other = packaged_speech("books")  # neither the words nor the course of the source
    assert reached(_Voices(0.9, 0.5), other) is False


def test_pairs(tmp_path: Path) -> None:
    items = []
    for name, speaker, text in (
        ("garden", "a", "the same"),
        ("wind", "b", "The same."),
        ("romance", "b", "other words"),
        ("books", "c", "alone"),
    ):
        path = packaged_speech(name).write(tmp_path / f"{name}.wav")
        items.append(CorpusItem(name, str(path), text, speaker))
    builder = VoicePairs()
    jobs = list(builder.jobs(items, {}))
    made = [next(iter(builder.build(job, _context()))) for job in jobs]
    pairs = [one for one in made if isinstance(one, EditPair)]
    assert [job.key for job in jobs if len(job.items) == 3] == ["garden->wind", "wind->garden"]
    assert pairs[0].edit == Voice(reference=str(tmp_path / "romance.wav"))
    assert pairs[0].margin == margin_of(items[0].read(), items[1].read())
    assert pairs[0].margin >= builder.min_margin
    lonely = [one for one in made if isinstance(one, Rejected)]
    assert {one.reason for one in lonely} >= {"the words are said by no other speaker"}
    with pytest.raises(StepeditError, match="each: a whole number"):
        list(builder.jobs(items, {"each": "0"}))


def test_margin_of_one_voice() -> None:
    same, other = packaged_speech("doubt"), packaged_speech("hardware")
    assert margin_of(same, same) == 1.0
    assert margin_of(same, other) < margin_of(same, packaged_speech("wind"))


def _context() -> BuildContext:
    return BuildContext(np.random.default_rng(0), {})


def test_the_plan_keeps_its_codes() -> None:
    plan = Voice(reference="lewis").plan(packaged_speech("garden"))
    assert plan.keeps_codes
    assert plan.voice == packaged_speech("wind")
