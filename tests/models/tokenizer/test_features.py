from __future__ import annotations

import librosa
import numpy as np
import pytest
import torch

from stepedit_core.errors import AudioError, CheckpointError
from stepedit_core.models.checkpoint.torchaudio_compat import (
    add_noise,
    fftconvolve,
    kaldi_fbank,
    melscale_fbanks,
    resample,
    resample_precise,
)
from stepedit_core.models.tokenizer.features import (
    MelConfig,
    kaldi_frames,
    prompt_mel,
    speaker_fbank,
    whisper_log_mel,
)
from stepedit_core.models.tokenizer.preprocess import limit_peak, preprocess
from tests.models.audio_cases import SETS, golden, recordings, speech_like

KALDI = {"sample_rate": 16_000, "n_mels": 80, "frame_length_ms": 25.0, "frame_shift_ms": 10.0}


def test_log_mel_equals_librosa() -> None:
    signal = speech_like(1.0, 16_000)
    mel = librosa.feature.melspectrogram(
        y=signal, sr=16_000, n_fft=400, hop_length=160, n_mels=128, pad_mode="reflect"
    )[:, :-1]
    want = np.log10(np.maximum(mel, 1e-10))
    want = (np.maximum(want, want.max() - 8) + 4) / 4
    got = whisper_log_mel(torch.from_numpy(signal)).numpy()
    assert got.shape == (128, 100)
    np.testing.assert_allclose(got, want, atol=1e-3)


def test_prompt_mel_equals_librosa() -> None:
    signal = speech_like(0.5, 24_000)
    padded = np.pad(signal, 720, mode="reflect")
    spectrum = librosa.stft(padded, n_fft=1_920, hop_length=480, center=False)
    filters = librosa.filters.mel(sr=24_000, n_fft=1_920, n_mels=80, fmin=0, fmax=8_000)
    want = np.log(np.maximum(filters @ np.sqrt(np.abs(spectrum) ** 2 + 1e-9), 1e-5)).T
    got = prompt_mel(torch.from_numpy(signal), 24_000)
    assert got.shape == (1, 25, 80)
    np.testing.assert_allclose(got[0].numpy(), want, atol=1e-3)


def test_prompt_mel_follows_its_settings_and_resamples() -> None:
    config = MelConfig(16_000, 1_024, 320, 1_024, 40, fmax=None)
    mel = prompt_mel(torch.from_numpy(speech_like(1.0, 8_000)), 8_000, config)
    assert mel.shape == (1, 50, 40)


def test_mel_settings_refuse_unknown_keys() -> None:
    assert MelConfig.from_mapping({"num_mels": 40}).num_mels == 40
    with pytest.raises(CheckpointError, match="hops"):
        MelConfig.from_mapping({"hops": 1})


def test_short_references_are_refused_with_the_length_they_need() -> None:
    with pytest.raises(AudioError, match=r"0\.04 s"):
        prompt_mel(torch.zeros(720), 24_000)
    assert prompt_mel(torch.zeros(721), 24_000).shape[1] == 1
    with pytest.raises(AudioError, match=r"0\.03 s"):
        speaker_fbank(torch.zeros(399), 16_000)


def test_speaker_fbank_has_zero_mean_over_time() -> None:
    fbank = speaker_fbank(torch.from_numpy(speech_like(1.0, 24_000)), 24_000)
    assert fbank.shape == (98, 80)
    assert fbank.mean(0).abs().max() < 1e-4


def test_dither_is_drawn_per_frame_from_the_generator() -> None:
    signal = torch.from_numpy(speech_like(0.5, 16_000))
    plain = kaldi_frames(signal, **KALDI, window="hamming")

    def dithered(seed: int) -> torch.Tensor:
        source = torch.Generator().manual_seed(seed)
        return kaldi_frames(signal, **KALDI, window="hamming", dither=1.0, generator=source)

    assert dithered(1).shape == plain.shape
    assert torch.equal(dithered(1), dithered(1))
    assert not torch.equal(dithered(1), dithered(2))
    # Loud frames hardly move, silent ones become noise instead of the logarithm's floor.
    loud = plain.mean(1) > plain.mean(1).median()
    assert (dithered(1) - plain)[loud].abs().median() < 0.05
    assert dithered(1).min() > plain.min() + 5
    vanishing = kaldi_frames(signal, **KALDI, window="hamming", dither=1e-9)
    torch.testing.assert_close(vanishing[loud], plain[loud], atol=1e-3, rtol=0)


def test_dither_from_the_global_generator_is_refused() -> None:
    with pytest.raises(ValueError, match="generator"):
        kaldi_fbank(torch.zeros(1, 800), dither=1.0)


def test_both_resamplers_agree_and_pass_equal_rates_through() -> None:
    signal = torch.from_numpy(speech_like(0.3, 22_050))
    assert resample(signal, 16_000, 16_000) is signal
    torch.testing.assert_close(
        resample(signal, 22_050, 16_000),
        resample_precise(signal, 22_050, 16_000),
        atol=1e-4,
        rtol=0,
    )


def test_signal_helpers() -> None:
    signal, noise = torch.randn(2, 1_000, generator=torch.Generator().manual_seed(0))
    residue = add_noise(signal, noise, torch.tensor(10.0)) - signal
    ratio = 10 * torch.log10(signal.square().sum() / residue.square().sum())
    assert ratio.item() == pytest.approx(10.0, abs=1e-3)
    impulse = torch.tensor([0.0, 2.0])
    torch.testing.assert_close(fftconvolve(signal, impulse)[1:], 2 * signal, atol=1e-5, rtol=0)
    want = librosa.filters.mel(sr=16_000, n_fft=400, n_mels=80).T
    np.testing.assert_allclose(melscale_fbanks(201, 0.0, 8_000.0, 80, 16_000), want, atol=1e-6)


@pytest.mark.parametrize("name", SETS)
def test_golden_log_mel(name: str) -> None:
    want = golden(name, "03_semantic")
    for case in ("s3", "s11", "zs"):
        samples, rate = recordings()[case]
        mel = whisper_log_mel(torch.from_numpy(preprocess(limit_peak(samples), rate))).numpy()
        assert mel.shape[1] == want[f"{case}_mel_frames"]
        if case == "s3":
            np.testing.assert_allclose(mel, want["s3_logmel"], atol=1e-4)
        if case == "s11":
            np.testing.assert_allclose(mel[:, ::10], want["s11_logmel_every10"], atol=1e-4)


@pytest.mark.parametrize("name", SETS)
def test_golden_reference_features(name: str) -> None:
    want = golden(name, "05_frontend")
    samples, rate = recordings()["s3"]
    limited = torch.from_numpy(limit_peak(samples))
    assert len(limited) == want["s3_len"]
    resampled = resample(limited, rate, 16_000)[::37].numpy()
    np.testing.assert_allclose(resampled, want["s3_resampled16k_every37"], atol=1e-6)
    mel = prompt_mel(limited, rate).numpy()
    np.testing.assert_allclose(mel, want["s3_speech_feat"], atol=2e-4)
    fbank = speaker_fbank(limited, rate).numpy()
    np.testing.assert_allclose(fbank, want["s3_fbank_mean_removed"], atol=2e-3)

    samples, rate = recordings()["zs"]
    assert np.abs(samples).max() == pytest.approx(float(want["zs_peak"]))
    mel = prompt_mel(torch.from_numpy(limit_peak(samples)), rate).numpy()
    assert mel.shape[1] == want["zs_feat_frames"]
    np.testing.assert_allclose(mel[:, ::4], want["zs_speech_feat_every4"], atol=2e-4)
