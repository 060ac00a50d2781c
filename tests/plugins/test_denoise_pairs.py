from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from stepedit_denoise import Denoise
from stepedit_denoise.pairs import DenoisePairs, margin_of_rt60, margin_of_snr

from stepedit_core import BuildContext, CorpusItem, EditPair, Rejected, StepeditError
from stepedit_core.dsp import rooms
from stepedit_core.dsp.noises import snr_db
from stepedit_core.errors import MissingDependencyError
from stepedit_core.recordings import packaged_speech

NAMES = ("surpassed", "office", "garden", "wind")


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> list[CorpusItem]:
    folder = tmp_path_factory.mktemp("corpus")
    return [
        CorpusItem(name, str(packaged_speech(name).write(folder / f"{name}.wav", subtype="FLOAT")))
        for name in NAMES
    ]


def _build(
    items: list[CorpusItem], seed: int = 0, others: bool = True, **options: str
) -> list[EditPair | Rejected]:
    def sample(rng: np.random.Generator, n: int) -> list[CorpusItem]:
        return [items[int(i)] for i in rng.integers(0, len(items), n)] if others else []

    builder = DenoisePairs()
    (job,) = builder.jobs(items[:1], options)
    context = BuildContext(np.random.default_rng(seed), options, sample=sample)
    return list(builder.build(job, context))


@pytest.mark.parametrize("kind", ["white", "pink", "brown", "hum", "clicks", "babble"])
def test_recorded_snr_is_the_measured_one(items: list[CorpusItem], kind: str) -> None:
    for seed in range(3):
        (pair,) = _build(items, seed, degradations="noise", noises=kind)
        assert isinstance(pair, EditPair)
        noise = pair.source.samples.astype(float) - pair.target.samples
        measured = snr_db(pair.target.samples, noise)
        assert measured == pytest.approx(pair.details["snr_db"], abs=0.1)
        assert pair.details["snr_db_asked"] == pytest.approx(measured, abs=0.5)
        assert 0 <= measured <= 10.1
        assert pair.margin == pytest.approx(margin_of_snr(measured), abs=0.05)
        assert np.abs(pair.source.samples).max() <= 1.0
        assert pair.edit == Denoise()
        clean = packaged_speech(NAMES[0]).samples
        assert np.corrcoef(pair.target.samples, clean)[0, 1] > 0.9999
        assert str(pair.details["noise"]).startswith(kind)


def test_rooms_are_recorded_seeded_and_in_time(items: list[CorpusItem]) -> None:
    pytest.importorskip("pyroomacoustics")
    first, again = (
        _build(items, 4, degradations="reverb+both", noises="white", rooms="2") for _ in range(2)
    )
    rooms.simulate_room.cache_clear()
    fresh = _build(items, 4, degradations="reverb+both", noises="white", rooms="2")
    assert [p.source for p in first] == [p.source for p in again] == [p.source for p in fresh]
    wet = first[0]
    assert isinstance(wet, EditPair)
    assert 0.4 < wet.details["rt60"] < 1.6
    assert wet.margin == pytest.approx(margin_of_rt60(wet.details["rt60"]))
    clean, heard = wet.target.samples.astype(float), wet.source.samples.astype(float)
    assert np.argmax(np.correlate(heard, clean[4000:-4000], "valid")) == pytest.approx(4000, abs=5)
    both = first[1]
    assert {"rt60", "snr_db", "noise", "room"} <= set(both.details)


def test_reverberation_time_is_measured_back() -> None:
    rate = 16_000
    time = np.arange(2 * rate) / rate
    noise = np.random.default_rng(0).standard_normal(len(time))
    for rt60 in (0.3, 0.8, 1.4):
        response = noise * 10 ** (-3 * time / rt60)
        assert rooms.measure_rt60(response, rate) == pytest.approx(rt60, rel=0.05)
    with pytest.raises(StepeditError, match="no impulse response"):
        rooms.measure_rt60(np.array([1.0, 0.9, 0.8]), rate)


def test_folders_of_noise_and_responses(items: list[CorpusItem], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for folder in ("noise", "rir"):
        (tmp_path / folder).mkdir()
    sf.write(tmp_path / "noise" / "fan.wav", rng.normal(0, 0.1, 8_000), 16_000)
    decay = np.exp(-6.9 * np.arange(16_000) / 16_000 / 0.9)
    sf.write(tmp_path / "rir" / "hall.wav", 0.3 * rng.standard_normal(16_000) * decay, 16_000)
    noise, wet = _build(
        items,
        degradations="noise+reverb",
        noise_folder=str(tmp_path / "noise"),
        rir_folder=str(tmp_path / "rir"),
    )
    assert noise.details["noise"] == "fan.wav"
    assert wet.details["room"] == "hall.wav"
    assert wet.details["rt60"] == pytest.approx(0.9, rel=0.1)


def test_weak_noise_and_lonely_babble_are_rejected_with_reason(items: list[CorpusItem]) -> None:
    (weak,) = _build(items, degradations="noise", noises="white", snr="15:20")
    assert isinstance(weak, Rejected)
    assert weak.reason == "margin below 6"
    (lonely,) = _build(items, others=False, degradations="noise", noises="babble")
    assert isinstance(lonely, Rejected)
    assert "two other recordings" in lonely.reason


def test_without_pyroomacoustics(items: list[CorpusItem], monkeypatch: pytest.MonkeyPatch) -> None:
    rooms.simulate_room.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "pyroomacoustics", None)
    monkeypatch.setattr("stepedit_denoise.settings.can_simulate", lambda: False)
    noise, wet = _build(items, noises="white")
    assert isinstance(noise, EditPair)
    assert isinstance(wet, Rejected)
    assert "pip install pyroomacoustics" in wet.reason
    with pytest.raises(MissingDependencyError, match="pip install pyroomacoustics"):
        _build(items, degradations="reverb")


@pytest.mark.parametrize(
    "options",
    [
        {"degradations": "fire"},
        {"noises": "loud"},
        {"snr": "5"},
        {"snr": "9:1"},
        {"rt60": "0:1"},
        {"rooms": "0"},
        {"noise_folder": "/nowhere/at/all"},
    ],
)
def test_wrong_options_are_named(items: list[CorpusItem], options: dict[str, str]) -> None:
    with pytest.raises(StepeditError, match=next(iter(options))):
        _build(items, **options)


def test_margins() -> None:
    assert margin_of_snr(-3) == 10
    assert margin_of_snr(25) == 1
    assert margin_of_snr(11.1) == pytest.approx(6, abs=0.01)
    assert margin_of_rt60(0.1) == 1
    assert margin_of_rt60(1.0) == 10


def test_recordings_are_brought_down_to_a_drawn_rate(items: list[CorpusItem]) -> None:
    own = items[0].read().sample_rate
    found = {
        pair.source.sample_rate
        for seed in range(6)
        for pair in _build(items, seed, degradations="noise", rates="8000+96000")
        if isinstance(pair, EditPair) and pair.target.sample_rate == pair.source.sample_rate
    }
    assert found == {8_000, own}
    with pytest.raises(StepeditError, match="rates: Hz from 4000"):
        _build(items, rates="8k")
