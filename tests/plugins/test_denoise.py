from __future__ import annotations

import subprocess
import sys
import tracemalloc
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.signal import stft
from stepedit_denoise import Denoise, dsp

from stepedit_core import Utterance
from stepedit_core.dsp.loudness import active_level
from stepedit_core.dsp.noises import COLOURS, mix, synthesise
from stepedit_core.dsp.quality import si_sdr
from stepedit_core.recordings import packaged, packaged_speech


def _noisy(name: str, kind: str, level_db: float = 5.0) -> tuple[Utterance, Utterance]:
    clean = packaged_speech(name)
    rng = np.random.default_rng(sum(map(ord, name + kind)))
    noise = synthesise(kind, len(clean.samples), clean.sample_rate, rng)
    noisy, target, measured = mix(clean, noise, level_db)
    assert measured == pytest.approx(level_db, abs=0.01)
    return noisy, target


def _by_gate(noisy: Utterance, **params: Any) -> Utterance:
    edit = Denoise(backend="noisereduce", **params)
    return edit.render(noisy, np.random.default_rng(0)).utterance


def _gain(noisy: Utterance, clean: Utterance, out: Utterance) -> float:
    reference = clean.samples.astype(np.float64)
    return si_sdr(reference, out.samples.astype(np.float64)) - si_sdr(
        reference, noisy.samples.astype(np.float64)
    )


def _gains(kind: str, names: Iterable[str]) -> dict[str, float]:
    gains = {}
    for name in names:
        noisy, clean = _noisy(name, kind)
        out = _by_gate(noisy)
        gains[name] = _gain(noisy, clean, out)
    return gains


@pytest.mark.parametrize("kind", list(COLOURS))
def test_gains_4_db_on_stationary_noise_at_5_db(kind: str) -> None:
    gains = _gains(kind, ("garden", "wind", "surpassed"))
    assert min(gains.values()) >= 4.0, gains


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "mean"), [("white", 7.5), ("pink", 5.5), ("brown", 8.5)])
def test_figures_on_every_packaged_recording(kind: str, mean: float) -> None:
    gains = _gains(kind, packaged())
    assert min(gains.values()) >= 4.0, gains
    assert np.mean(list(gains.values())) >= mean


def test_varying_mode_and_strength_work_too() -> None:
    noisy, clean = _noisy("wind", "white")
    render = {
        key: _by_gate(noisy, **params)
        for key, params in {
            "varying": {"noise": "varying"},
            "weak": {"strength": 0.3},
            "full": {},
        }.items()
    }
    gains = {key: _gain(noisy, clean, out) for key, out in render.items()}
    assert gains["varying"] > 3
    assert 0.5 < gains["weak"] < gains["full"]


def test_the_gentler_setting_takes_less_away() -> None:
    gentle = Denoise(backend="noisereduce").gentler()
    assert gentle is not None and gentle.strength < Denoise().strength
    assert gentle.backend == "noisereduce" and gentle.gentler() is None
    assert Denoise(strength=0.3).gentler() is None


def test_clean_speech_is_left_alone() -> None:
    for name in ("doctor", "typography"):
        clean = packaged_speech(name)
        out = _by_gate(clean)
        assert si_sdr(clean.samples.astype(float), out.samples.astype(float)) > 20


@pytest.mark.parametrize(
    ("kind", "name"), [("white", "wind"), ("brown", "garden"), ("hum", "office")]
)
def test_speech_keeps_its_level(kind: str, name: str) -> None:
    noisy, clean = _noisy(name, kind)
    made = Denoise(backend="noisereduce").render(noisy, np.random.default_rng(0))
    before, after = active_level(clean), active_level(made.utterance)
    assert before is not None and after == pytest.approx(before, abs=1.0)
    assert made.details["gain_db"] > 0


def test_the_gate_loads_no_torch() -> None:
    code = (
        "import sys, threading\n"
        "from stepedit_denoise.gate import gate\n"
        "gate()\n"
        "assert 'torch' not in sys.modules and 'noisereduce' in sys.modules\n"
        "import torch\n"
    )
    pytest.importorskip("torch")
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_says_where_the_noise_was_heard_and_repeats() -> None:
    edit = Denoise(backend="noisereduce")
    wordy = packaged_speech("typography")  # what Silero takes for a pause in it holds a word
    for noisy, origin in ((_noisy("garden", "white")[0], "pauses"), (wordy, "quiet frames")):
        first, again = (edit.render(noisy, np.random.default_rng(3)) for _ in range(2))
        assert first.utterance == again.utterance
        assert first.details["noise_from"] == origin
        assert first.details["backend"] == "noisereduce"
        assert len(first.utterance.samples) == len(noisy.samples)
        assert first.utterance.transcript == noisy.transcript


@pytest.mark.parametrize("noise", ["stationary", "varying"])
@pytest.mark.parametrize(
    ("seconds", "rate"), [(0.02, 8_000), (0.1, 16_000), (0.5, 96_000), (3.0, 8_000)]
)
def test_odd_lengths_and_rates(noise: str, seconds: float, rate: int) -> None:
    samples = np.random.default_rng(0).normal(0, 0.3, round(seconds * rate)).clip(-1, 1)
    sound = Utterance(samples.astype(np.float32), rate)
    out = Denoise(noise=noise).render(sound, np.random.default_rng(0)).utterance
    assert len(out.samples) == len(samples)
    assert np.abs(out.samples).max() <= 1.0
    silent = sound.replace(samples=np.zeros_like(samples))
    assert Denoise(noise=noise).render(silent, np.random.default_rng(0)).utterance == silent


@pytest.mark.parametrize(("size", "rate"), [(10, 16_000), (1500, 48_000), (200_001, 8_000)])
def test_spectra_in_pieces_equal_whole_ones(size: int, rate: int) -> None:
    rng = np.random.default_rng(size)
    before = rng.standard_normal(size) * np.linspace(0.1, 1, size)
    after = (0.7 * before).astype(np.float32)
    window = dsp._window(rate)

    def whole(samples: np.ndarray) -> np.ndarray:
        padded = np.pad(samples.astype(np.float64), (0, max(0, 2 * window - size)))
        found = stft(padded, fs=rate, nperseg=window, noverlap=window * 3 // 4)[2]
        return np.asarray(np.abs(found))

    old, new = whole(before), whole(after)
    assert np.array_equal(np.concatenate(list(dsp._blocks(before, rate, window)), axis=1), old)
    sounding = old[:, old.max(axis=0) > 1e-9]
    quiet = dsp._quantile_power(before, rate, window, above=1e-9)
    assert quiet is not None
    np.testing.assert_allclose(quiet, np.quantile(sounding**2, 0.1, axis=1), rtol=1e-12)
    noise = np.full(window // 2 + 1, 1e-6)
    spoken = old**2 > 10 * noise[:, None]
    gain = np.sum(old[spoken] ** 2) / np.sum(old[spoken] * new[spoken])
    assert dsp._makeup(before, after, noise, rate) == pytest.approx(gain, rel=1e-12)


def test_gains_of_long_recordings_take_no_whole_spectrum() -> None:
    rate, rng = 48_000, np.random.default_rng(0)
    long = rng.standard_normal(60 * rate)
    noise = np.full(dsp._window(rate) // 2 + 1, 1e-6)
    tracemalloc.start()
    try:
        dsp._makeup(long, long.astype(np.float32), noise, rate)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1.5e8  # two whole spectra of 60 s are 0.27 GB, and as complex numbers twice that


def test_prompt_to_the_letter() -> None:
    prompt = Denoise().prompt(packaged_speech("office").replace(transcript=None))
    assert prompt.user[0] == (
        "Remove any noise from the given audio while preserving the voice content clearly. "
        "Ensure that the speech quality remains intact with minimal distortion, and eliminate "
        "all noise from the audio.\n\n"
    )
    assert not Denoise().needs_transcript("llm")


def test_parameters_have_no_words() -> None:
    assert Denoise().route_problem("llm") is None
    assert "no words" in str(Denoise(strength=0.5).route_problem("llm"))
    assert Denoise(noise="varying").route_problem("dsp") is None


@pytest.mark.parametrize("params", [{"strength": 0}, {"strength": 1.1}, {"noise": "loud"}])
def test_bad_parameters(params: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Denoise(**params)
