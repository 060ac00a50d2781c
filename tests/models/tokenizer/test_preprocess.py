from __future__ import annotations

import numpy as np
import pytest
import torch

from stepedit_core.errors import AudioError
from stepedit_core.models.checkpoint.torchaudio_compat import resample_precise
from stepedit_core.models.tokenizer.preprocess import (
    check_samples,
    limit_peak,
    normalise_energy,
    pad_trimmed,
    preprocess,
    trim_bounds,
)
from tests.models.audio_cases import SETS, golden, recordings, speech_like


def test_mono_mix_is_the_mean_and_float32() -> None:
    stereo = np.stack([np.full(10, 0.2), np.full(10, 0.4)])
    mono = check_samples(stereo, 16_000)
    assert mono.dtype == np.float32
    np.testing.assert_allclose(mono, 0.3, atol=1e-7)


@pytest.mark.parametrize(
    ("samples", "rate", "word"),
    [
        (np.zeros(0, np.float32), 16_000, "no samples"),
        (np.array([0.1, np.nan], np.float32), 16_000, "NaN"),
        (np.array([0.1, np.inf], np.float32), 16_000, "infinite"),
        (np.zeros(10, np.int16), 16_000, "int16"),
        (np.zeros((2, 2, 2), np.float32), 16_000, "shape"),
        (np.zeros(10, np.float32), 0, "0 Hz"),
    ],
)
def test_unusable_samples_are_refused(samples: np.ndarray, rate: int, word: str) -> None:
    with pytest.raises(AudioError, match=word):
        check_samples(samples, rate)


def test_peak_limit_changes_loud_signals_only() -> None:
    soft = np.array([0.1, -0.6], np.float32)
    assert limit_peak(soft) is soft
    loud = limit_peak(np.array([0.5, -1.5], np.float32))
    np.testing.assert_allclose(loud, [0.2, -0.6], atol=1e-7)
    np.testing.assert_array_equal(limit_peak(loud), loud)


def test_energy_norm_reaches_full_scale_but_not_from_silence() -> None:
    assert np.abs(normalise_energy(np.array([0.02, -0.2], np.float32))).max() == pytest.approx(
        0.999
    )
    faint = normalise_energy(np.array([0.001], np.float32))
    assert faint[0] == pytest.approx(0.0999)
    assert not normalise_energy(np.zeros(5, np.float32)).any()


@pytest.mark.parametrize("start", [0, 1, 799, 800, 801, 5_000])
@pytest.mark.parametrize("speech", [1, 240, 241, 7_000])
def test_padding_puts_speech_at_sample_800(start: int, speech: int) -> None:
    total = start + speech + 2_000
    signal = np.arange(1, total + 1, dtype=np.float32)
    padded = pad_trimmed(signal, start, start + speech)
    assert len(padded) == -(-speech // 240) * 240 + 4_320
    assert padded[800] == start + 1
    lead = min(start, 800)
    assert not padded[: 800 - lead].any()
    np.testing.assert_array_equal(padded[800 - lead : 800], np.arange(start - lead, start) + 1)
    # What follows the speech is kept as far as it exists, then zeros.
    after = padded[800:]
    kept = min(len(after), total - start)
    np.testing.assert_array_equal(after[:kept], signal[start : start + kept])
    assert not after[kept:].any()


def test_trim_finds_the_loud_part() -> None:
    signal = np.zeros(16_000, np.float32)
    signal[4_000:9_000] = 0.5 * np.sin(np.arange(5_000) * 0.3)
    start, stop = trim_bounds(signal)
    assert 3_500 <= start <= 4_000
    assert 9_000 <= stop <= 9_500
    assert trim_bounds(np.zeros(3_000, np.float32)) == (0, 3_000)


@pytest.mark.parametrize(
    ("level_db", "kept"), [(-12, True), (-19, True), (-21, False), (-40, False)]
)
def test_trim_keeps_what_is_within_20_db_in_steps_of_128_samples(
    level_db: float, kept: bool
) -> None:
    rng = np.random.default_rng(1)
    envelope = np.zeros(16_000)
    envelope[2_000:5_000] = 10 ** (level_db / 20)
    envelope[5_000:12_000] = 1.0
    signal = (envelope * np.sign(rng.standard_normal(16_000))).astype(np.float32)
    # Frames of 512 samples are centred on multiples of 128, with zeros before the signal.
    padded = np.pad(signal.astype(np.float64), 256)
    power = np.array([np.mean(padded[at : at + 512] ** 2) for at in range(0, 16_001, 128)])
    loud = np.flatnonzero(10 * np.log10(np.maximum(power, 1e-10) / power.max()) > -20)
    start, stop = trim_bounds(signal)
    assert (start, stop) == (loud[0] * 128, (loud[-1] + 1) * 128)
    assert (start < 4_000) == kept


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000])
def test_every_rate_gives_the_same_speech(rate: int) -> None:
    out = preprocess(speech_like(1.0, rate), rate)
    assert (len(out) - 4_320) % 240 == 0
    assert np.abs(out).max() == pytest.approx(0.999, abs=1e-4)
    assert len(out) == pytest.approx(0.8 * 16_000 + 4_320, abs=4_000)


def test_resampling_keeps_a_tone() -> None:
    t8, t16 = np.arange(8_000) / 8_000, np.arange(16_000) / 16_000
    tone = torch.from_numpy(np.sin(2 * np.pi * 440 * t8).astype(np.float32))
    out = resample_precise(tone, 8_000, 16_000).numpy()
    np.testing.assert_allclose(out[500:-500], np.sin(2 * np.pi * 440 * t16)[500:-500], atol=5e-3)


def test_rates_without_a_small_ratio_are_refused_with_a_cure() -> None:
    with pytest.raises(AudioError, match=r"15991 Hz.*24000"):
        preprocess(np.zeros(4_000, np.float32), 15_991)


@pytest.mark.parametrize("length", [1, 100, 800])
def test_very_short_and_silent_signals_work(length: int) -> None:
    for value in (0.0, 0.3):
        out = preprocess(np.full(length, value, np.float32), 16_000)
        assert np.isfinite(out).all()
        assert len(out) >= 4_560


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("case", ["s3", "s11", "zs"])
def test_golden_signal(name: str, case: str) -> None:
    want = golden(name, "11_preprocess")
    samples, rate = recordings()[case]
    limited = limit_peak(check_samples(samples, rate))
    assert np.abs(limited).max() == pytest.approx(float(want[f"{case}_peak_in"]), abs=1e-7)
    resampled = resample_precise(torch.from_numpy(limited), rate, 16_000).numpy()
    normal = normalise_energy(resampled)
    np.testing.assert_allclose(normal[::37], want[f"{case}_norm_every37"], atol=1e-6)
    np.testing.assert_array_equal(trim_bounds(normal), want[f"{case}_trim_index"])
    out = preprocess(limited, rate)
    assert len(out) == want[f"{case}_out_len"]
    np.testing.assert_allclose(out[::37], want[f"{case}_pre_every37"], atol=1e-6)
    if case == "s3":
        np.testing.assert_allclose(out, want["s3_pre"], atol=1e-6)


@pytest.mark.parametrize("name", SETS)
def test_golden_trim_of_synthetic_signals(name: str) -> None:
    want = golden(name, "11_preprocess")
    source = np.random.RandomState(5)
    first = np.zeros(16_000)
    first[4_000:9_000] = source.randn(5_000) * 0.2
    first[9_000:9_600] = source.randn(600) * 0.001
    second = np.zeros(6_000)
    second[100:5_900] = source.randn(5_800) * 0.3
    for number, signal in ((1, first), (2, second)):
        samples = signal.astype(np.float32)
        out = pad_trimmed(samples, *trim_bounds(samples))
        assert len(out) == want[f"trim_syn{number}_len"]
        assert np.flatnonzero(out)[0] == want[f"trim_syn{number}_first_nonzero"]
