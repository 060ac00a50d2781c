from __future__ import annotations

import numpy as np
import pytest
from stepedit_denoise import Denoise
from stepedit_denoise.scorer import DenoiseScorer

from stepedit_core import Case, Prepared, StepeditError, Utterance
from stepedit_core.dsp.noises import SPEECH_BAND, mix, snr_db, synthesise
from stepedit_core.dsp.quality import aligned, pesq, si_sdr, stoi
from stepedit_core.recordings import packaged_speech
from stepedit_core.testing import FakeMeasures


def _prepared(level_db: float = 5.0, name: str = "doctor") -> tuple[Case, Prepared]:
    case = Case(
        id="a",
        edit=Denoise(),
        audio=f"speech:{name}",
        prepare={"noise": "white", "snr_db": level_db},
    )
    return case, DenoiseScorer().prepare(case, packaged_speech(name), np.random.default_rng(0))


def test_known_noise_is_measured_back() -> None:
    for level in (0.0, 5.0, 10.0):
        case, ready = _prepared(level)
        assert ready.reference is not None
        score = DenoiseScorer().score(case, ready, ready.source, FakeMeasures())
        assert score.values["si_sdr_gain"] == pytest.approx(0.0, abs=1e-6)
        assert ready.facts["snr_db"] == pytest.approx(level, abs=0.05)


def test_a_room_and_noise_in_it() -> None:
    pytest.importorskip("pyroomacoustics")
    dry, scorer, rng = packaged_speech("doctor"), DenoiseScorer(), np.random.default_rng(0)
    room = {"rt60": 0.6, "room": 2}
    case = Case(id="a", edit=Denoise(), audio="speech:doctor", prepare=room)
    wet = scorer.prepare(case, dry, rng)
    assert wet.reference == dry and wet.source != dry and "snr_db" not in wet.facts
    assert wet.facts["rt60"] == pytest.approx(0.6, rel=0.35)
    noisy = {**room, "noise": "white", "snr_db": 5}
    both = scorer.prepare(case.model_copy(update={"prepare": noisy}), dry, rng)
    assert both.reference is not None
    scale = np.abs(both.reference.samples).max() / np.abs(dry.samples).max()
    np.testing.assert_allclose(both.reference.samples, dry.samples * scale, atol=1e-6)
    noise = both.source.samples - wet.source.samples * scale
    assert snr_db(wet.source.samples * scale, noise, SPEECH_BAND, dry.sample_rate) == (
        pytest.approx(5.0, abs=0.05)
    )


@pytest.mark.parametrize("rate", [8_000, 24_000])
def test_a_recording_is_brought_to_a_rate(rate: int) -> None:
    dry = packaged_speech("surpassed").resample(16_000)
    prepare = {"sample_rate": rate, "noise": "white", "snr_db": 5, "seed": 1}
    case = Case(id="a", edit=Denoise(), audio="speech:surpassed", prepare=prepare)
    ready = DenoiseScorer().prepare(case, dry, np.random.default_rng(0))
    assert ready.reference is not None
    assert ready.source.sample_rate == ready.reference.sample_rate == rate
    scale = ready.reference.samples.max() / dry.resample(rate).samples.max()
    expected = dry.resample(rate).samples * scale
    np.testing.assert_allclose(ready.reference.samples, expected, atol=1e-6)
    noise = ready.source.samples - ready.reference.samples
    measured = snr_db(ready.reference.samples, noise, SPEECH_BAND, rate)
    assert measured == pytest.approx(5.0, abs=0.05)


def test_the_ratio_holds_in_the_speech_band_at_any_rate() -> None:
    levels = []
    for rate in (8_000, 24_000, 48_000):
        speech = packaged_speech("doctor").resample(rate)
        noise = synthesise("white", len(speech.samples), rate, np.random.default_rng(0))
        noisy, clean, measured = mix(speech, noise, 5.0, SPEECH_BAND)
        assert measured == pytest.approx(5.0, abs=0.01)
        narrow = [sound.resample(8_000).samples[200:-200] for sound in (clean, noisy)]
        levels.append(snr_db(narrow[0], narrow[1] - narrow[0], SPEECH_BAND, 8_000))
    assert levels == pytest.approx([5.0] * 3, abs=0.5)


def test_verdicts() -> None:
    case, ready = _prepared()
    assert ready.reference is not None
    outputs = {
        "untouched": ready.source,
        "edited": Denoise().render(ready.source, np.random.default_rng(0)).utterance,
        "ideal": ready.reference,
        "late and quiet": ready.reference.replace(
            samples=0.3 * np.pad(ready.reference.samples, (300, 0))
        ),
        "low-passed": ready.reference.resample(4_000).resample(24_000),
        "zeros": ready.source.replace(samples=np.zeros_like(ready.source.samples)),
        "half": ready.reference.slice((0.0, ready.reference.seconds / 2)),
    }
    scores = {
        name: DenoiseScorer().score(case, ready, output, FakeMeasures())
        for name, output in outputs.items()
    }
    reached = {name: score.reached for name, score in scores.items()}
    assert reached["untouched"] is False
    assert reached["edited"] is True
    assert reached["ideal"] is True
    assert reached["late and quiet"] is True
    assert not any(reached[name] for name in ("low-passed", "zeros", "half"))
    assert scores["zeros"].values["si_sdr"] == -100.0
    assert scores["ideal"].values["si_sdr"] == 100.0
    assert all(v is None or np.isfinite(v) for s in scores.values() for v in s.values.values())


class _Rated(FakeMeasures):
    """Measures whose background rating is told for each digest."""

    def __init__(self, ratings: dict[str, float]) -> None:
        super().__init__()
        self.ratings = ratings

    def dnsmos(self, utterance: Utterance) -> dict[str, float]:
        if utterance.digest not in self.ratings:
            raise StepeditError("no rating")
        return {"sig": 3.0, "bak": self.ratings[utterance.digest], "ovrl": 3.0}


@pytest.mark.parametrize("anew", [False, True])
def test_one_yardstick_for_every_route(anew: bool) -> None:
    case, ready = _prepared()
    assert ready.reference is not None
    output = ready.reference
    if anew:  # as a vocoder gives it: another waveform, the same sound
        spectrum = np.fft.rfft(output.samples)
        output = output.replace(samples=np.fft.irfft(spectrum * 1j, len(output.samples)))
    unrated = DenoiseScorer().score(case, ready, output, _Rated({ready.source.digest: 2.0}))
    assert unrated.reached is None
    for after, expected in ((2.2, False), (3.4, True)):
        measures = _Rated({ready.source.digest: 2.0, output.digest: after})
        assert DenoiseScorer().score(case, ready, output, measures).reached is expected


def test_without_reference_dnsmos_decides_and_clean_input_is_unscored() -> None:
    speech = packaged_speech("office")
    case = Case(id="a", edit=Denoise(), audio="speech:office")
    ready = DenoiseScorer().prepare(case, speech, np.random.default_rng(0))
    assert ready.reference is None
    clean = _Rated({speech.digest: 4.2})
    assert DenoiseScorer().score(case, ready, speech, clean).reached is None
    noisy = _Rated({speech.digest: 2.0})
    assert DenoiseScorer().score(case, ready, speech, noisy).reached is False


def test_unknown_noise_is_refused() -> None:
    case = Case(id="a", edit=Denoise(), audio="x", prepare={"noise": "thunder", "snr_db": 5})
    with pytest.raises(StepeditError, match="no noise 'thunder'"):
        DenoiseScorer().prepare(case, packaged_speech("office"), np.random.default_rng(0))


def test_si_sdr_of_a_known_mixture() -> None:
    rng = np.random.default_rng(0)
    clean, noise = rng.standard_normal((2, 50_000))
    assert si_sdr(clean, 2 * (clean + 0.1 * noise)) == pytest.approx(20, abs=0.1)
    assert si_sdr(clean, clean) == 100
    assert si_sdr(clean, noise) < -20
    assert si_sdr(np.zeros(10), np.ones(10)) == -100
    assert si_sdr(clean, np.zeros(50_000)) == -100


@pytest.mark.parametrize("shift", [-500, 0, 700])
def test_delay_is_undone(shift: int) -> None:
    speech = packaged_speech("surpassed")
    moved = np.roll(np.pad(speech.samples, 1000), shift)[1000:-1000]
    clean, back = aligned(speech, speech.replace(samples=moved))
    assert len(clean) == len(back) == len(speech.samples)
    inner = slice(1000, -1000)
    np.testing.assert_allclose(back[inner], clean[inner], atol=1e-6)


def test_stoi_and_pesq_fall_with_noise() -> None:
    pytest.importorskip("pystoi")
    pytest.importorskip("pesq")
    _, ready = _prepared(0.0)
    assert ready.reference is not None
    clean, noisy = aligned(ready.reference, ready.source)
    for measure, best in ((stoi, 1.0), (pesq, 4.64)):
        ideal, worse = measure(clean, clean, 24_000), measure(clean, noisy, 24_000)
        assert ideal == pytest.approx(best, abs=0.02)
        assert worse is not None
        assert worse < 0.9 * best
    assert stoi(np.zeros(24_000), np.zeros(24_000), 24_000) is None


@pytest.mark.parametrize("kind", ["street", "babble"])
def test_backends_meet_the_same_noise(kind: str) -> None:
    speech = packaged_speech("garden")
    prepare = {"noise": kind, "snr_db": 5, "seed": 3, "voices": ["doctor", "romance"]}
    ready = [
        DenoiseScorer().prepare(
            Case(id=name, edit=Denoise(), audio="speech:garden", prepare=prepare),
            speech,
            np.random.default_rng(seed),
        )
        for seed, name in enumerate("ab")
    ]
    assert ready[0].source == ready[1].source
    assert ready[0].facts["snr_db"] == pytest.approx(5.0, abs=0.05)


def test_babble_without_voices() -> None:
    case = Case(
        id="a",
        edit=Denoise(),
        audio="speech:garden",
        prepare={"noise": "babble", "snr_db": 5},
    )
    with pytest.raises(StepeditError, match="needs voices"):
        DenoiseScorer().prepare(case, packaged_speech("garden"), np.random.default_rng(0))


def test_the_suite_of_backends() -> None:
    import stepedit_denoise

    cases = list(stepedit_denoise.stepedit_cases(Denoise, "backends") or ())
    assert len({case.id for case in cases}) == len(cases) == 140
    inputs = {(case.audio, str(case.prepare)) for case in cases}
    assert len(inputs) == 20
    assert {case.prepare["snr_db"] for case in cases} == {5}
