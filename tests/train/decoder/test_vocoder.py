"""The vocoder stage, from a cache of tones to weights that core reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from stepedit_train.corruption import blurred, noise_for
from stepedit_train.data.cache import Array, Cache, CachedItem, block_path, write_block
from stepedit_train.decoder.export import VocoderExportSettings, export_vocoder
from stepedit_train.decoder.vocoder.crops import cut, steady_frames
from stepedit_train.decoder.vocoder.distance import (
    FLOOR,
    background_loss,
    energy_distance,
    spectra_of,
)
from stepedit_train.decoder.vocoder.settings import VocoderSettings, VocoderSizes
from stepedit_train.decoder.vocoder.stage import VocoderTask, train_vocoder
from stepedit_train.journal import read_journal

from stepedit_core.errors import StepeditError
from stepedit_core.models.checkpoint.hyperyaml import read_hyperyaml
from stepedit_core.models.decoder.checkpoint import read_decoder
from stepedit_core.models.decoder.vocoder import HarmonicNoiseVocoder, SeededSourceNoise
from stepedit_core.models.tokenizer.features import MelConfig, prompt_mel
from tests.models.decoder_parts import YAML, tiny_flow

SIZES = {
    "width": 16,
    "mel_blocks": 1,
    "blocks": 1,
    "bands": 24,
    "pitch_width": 16,
    "pitch_blocks": 1,
    "pitch_classes": 48,
}


def settings(folder: Path, **changes: object) -> VocoderSettings:
    fields: dict[str, object] = {
        "cache": folder / "cache",
        "out": folder / "run",
        "steps": 20,
        "budget": 2.0,
        "learning_rate": 5e-3,
        "warmup": 3,
        "log_every": 5,
        "validate_every": 20,
        "tensorboard": False,
        "crop_frames": 25,
        "stft_sizes": [256, 1024],
        "predicted_from": 5,
        "dev_frames": 40,
        "sizes": SIZES,
    }
    return VocoderSettings.model_validate(fields | changes)


def make_voices(folder: Path, count: int = 12, blocks: int = 2) -> None:
    """Write a cache of buzzes, one pitch for each recording, with a silent beginning."""
    rng = np.random.default_rng(0)
    time = np.arange(26_400) / 24_000
    for number in range(blocks):
        audio: dict[str, Array] = {}
        prosody: dict[str, Array] = {}
        items = []
        for row in range(count // blocks):
            pitch = np.full(111, 120.0 + 20 * row)
            pitch[:20] = 0
            waves = [np.cos(2 * np.pi * pitch[-1] * k * time) / k for k in range(1, 30)]
            signal = 0.1 * np.sum(waves, 0) * (time > 0.2) + 0.003 * rng.standard_normal(26_400)
            audio[f"{row}.audio"] = np.round(signal * 32_767).astype(np.int16)
            audio[f"{row}.speech"] = np.zeros(17_600, np.int16)
            prosody[f"{row}.prosody"] = np.stack([pitch, np.full(111, -10.0)]).astype(np.float16)
            split = "dev" if row == 0 else "train"
            items.append(
                CachedItem(
                    f"{number}/{row}", "buzz", f"s{row}", "en", split, None, None, "CC0",
                    24_000, 0.0, 1.1, 1.1,
                )
            )  # fmt: skip
        write_block(block_path(folder, number, "audio"), audio, items)
        write_block(block_path(folder, number, "prosody"), prosody)


def test_the_vocoder_learns_and_core_reads_it(tmp_path: Path) -> None:
    make_voices(tmp_path / "cache")
    lines = list(train_vocoder(settings(tmp_path)))
    assert lines[0].startswith("10 recordings")
    log = read_journal(tmp_path / "run")
    train = [entry for entry in log if entry["part"] == "train"]
    assert train[-1]["log"] < train[0]["log"] and train[-1]["pitch"] < train[0]["pitch"]
    assert log[-1]["part"] == "dev" and log[-1]["voicing_accuracy"] > 0.5
    written = sorted(path.name for path in (tmp_path / "run" / "samples").glob("*/*.wav"))
    assert written == [f"{a}-{b}.wav" for a in ("first", "last") for b in ("recording", "spoken")]

    out = tmp_path / "decoder"
    wanted = VocoderExportSettings(
        run=tmp_path / "run", out=out, sizes=VocoderSizes.model_validate(SIZES)
    )
    assert "step 20" in next(iter(export_vocoder(wanted)))
    (out / "cosyvoice.yaml").write_text(YAML + (out / "hift.yaml").read_text())
    torch.save(tiny_flow().state_dict(), out / "flow.pt")
    _, vocoder, _ = read_decoder(out, "cpu", torch.float32, fold=True)
    assert isinstance(vocoder, HarmonicNoiseVocoder)
    wave = vocoder.synthesize(torch.full((1, 80, 20), -4.0), [SeededSourceNoise(0)])
    assert wave.shape == (1, 9600) and 1e-3 < wave.std() < 0.5


def test_a_run_goes_on_onto_the_same_curve(tmp_path: Path) -> None:
    make_voices(tmp_path / "cache")
    list(train_vocoder(settings(tmp_path, steps=6, log_every=1, validate_every=6)))
    other = settings(
        tmp_path, steps=6, log_every=1, validate_every=6, out=tmp_path / "b", checkpoint_minutes=0
    )
    list(train_vocoder(other))
    last = sorted((tmp_path / "b" / "checkpoints").glob("step-*.pt"))[-1]
    last.unlink()  # as if killed after step 5
    list(train_vocoder(other))
    one, two = read_journal(tmp_path / "run"), read_journal(tmp_path / "b")
    assert [entry.get("loss") for entry in one] == [entry.get("loss") for entry in two]


def test_export_without_a_run_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StepeditError, match="stepedit train vocoder"):
        list(export_vocoder(VocoderExportSettings(run=tmp_path, out=tmp_path / "o")))


def test_export_of_other_sizes_is_refused(tmp_path: Path) -> None:
    make_voices(tmp_path / "cache")
    list(train_vocoder(settings(tmp_path, steps=1)))
    run, out = tmp_path / "run", tmp_path / "o"
    with pytest.raises(StepeditError, match="other sizes"):
        list(export_vocoder(VocoderExportSettings(run=run, out=out, sizes=VocoderSizes())))
    assert not list(out.rglob("hift.*"))
    list(export_vocoder(VocoderExportSettings(run=run, out=out)))  # takes the run's own
    assert read_hyperyaml(out / "hift.yaml")["hift"].arguments["width"] == SIZES["width"]


def test_a_crop_shows_the_mel_of_its_own_samples(tmp_path: Path) -> None:
    make_voices(tmp_path / "cache")
    cache = Cache(tmp_path / "cache", ("audio", "prosody"))
    whole = torch.from_numpy(cache.audio(0))
    frames = len(whole) // 480
    mel = prompt_mel(whole[: frames * 480], 24_000).transpose(1, 2)
    crop = cut(cache, 0, 10 * 480, 20, 1.0, MelConfig())
    assert torch.equal(crop.wave[0], whole[4800:14_400])
    assert torch.allclose(crop.mel, mel[..., 10:30], atol=1e-3)
    assert crop.hz.shape == crop.voicing.shape == (1, 41)
    prosody = cache.read(0, "prosody", "prosody")[0].astype(float)
    place = round((0.2 + 0.2 - cache.items[0].start) / 0.01)
    if prosody[place] > 0:
        assert crop.hz[0, 20].item() == pytest.approx(prosody[place], rel=0.02)
    quiet = cut(cache, 0, 10 * 480, 20, 0.5, MelConfig())
    assert torch.allclose(quiet.mel, crop.mel - np.log(2), atol=1e-2)
    beyond = cut(cache, 0, len(whole), 20, 1.0, MelConfig())
    assert not beyond.wave.any() and not beyond.voicing[:, 1:].any()


def log_distance(
    wanted: torch.Tensor,
    first: torch.Tensor,
    second: torch.Tensor,
    source_rate: float = 24_000.0,
    sizes: tuple[int, ...] = (256, 1024),
) -> float:
    a, b, c = (spectra_of(wave, sizes, MelConfig()) for wave in (wanted, first, second))
    rates = torch.full((len(wanted),), source_rate)
    return float(energy_distance(a, b, c, rates, 24_000)["log"])


def test_the_distance_prefers_noise_for_noise() -> None:
    """Plain distance to the recording prefers a constant spectrum; the energy distance does not."""
    generator = torch.Generator().manual_seed(0)
    wanted, one, two = (torch.randn(1, 24_000, generator=generator) for _ in range(3))
    pulse = torch.zeros(1, 24_000)
    pulse[:, ::64] = 8.0  # flat in every frame, and of the same power
    as_noise, as_buzz = log_distance(wanted, one, two), log_distance(wanted, pulse, pulse)
    assert as_noise < as_buzz - 0.02
    assert as_noise < log_distance(wanted, 0.8 * one, 0.8 * two)
    assert as_noise < log_distance(wanted, 1.25 * one, 1.25 * two)


def test_what_a_source_cannot_hold_does_not_count() -> None:
    generator = torch.Generator().manual_seed(1)
    low = torch.randn(1, 24_000, generator=generator)
    spectrum = torch.fft.rfft(low)
    spectrum[:, len(spectrum[0]) // 3 * 2 :] = 0  # nothing above 8 kHz
    wanted = torch.fft.irfft(spectrum, 24_000)
    assert log_distance(wanted, low, low, 16_000.0) < 0.01 < log_distance(wanted, low, low)


def test_silence_has_spectra_at_the_floor() -> None:
    spectra = spectra_of(torch.zeros(1, 9600), (256,), MelConfig())
    assert torch.allclose(spectra.magnitudes[0], torch.tensor(FLOOR))


def test_blur_keeps_the_level_and_smooths() -> None:
    rng = np.random.default_rng(0)
    mel = torch.from_numpy(rng.standard_normal((4, 80, 50)).astype(np.float32)) - 4
    out = blurred(mel, rng, 0.0)
    assert out.shape == mel.shape
    assert abs(float(out.mean() - mel.mean())) < 0.02 and out.std() < mel.std()


def test_pitch_is_believed_in_runs_without_jumps() -> None:
    f0 = np.array([0, 90, 180, 181, 183, 186, 190, 240, 0, 0, 150, 151, 152, 0], np.float64)
    believed = np.flatnonzero(steady_frames(f0))
    # The first voiced frames jump by an octave, the last by a third; three frames are no run.
    np.testing.assert_array_equal(believed, [])
    f0 = np.array([0, 90, 180, 181, 183, 186, 190, 195, 240, 0], np.float64)
    np.testing.assert_array_equal(np.flatnonzero(steady_frames(f0)), [3, 4, 5, 6])
    assert not steady_frames(np.zeros(5)).any()


def test_noise_ratio() -> None:
    rng = np.random.default_rng(0)
    speech = (0.1 * rng.standard_normal(24_000)).astype(np.float32)
    noise = noise_for(speech, rng, (10.0, 10.0), 24_000)
    assert noise.dtype == np.float32 and noise.shape == speech.shape
    assert 20 * np.log10(speech.std() / noise.std()) == pytest.approx(10.0, abs=0.01)
    assert noise_for(np.zeros(24_000, np.float32), rng, (0.0, 0.0), 24_000).std() < 2e-3


def test_the_background_is_learned_from_what_was_added(tmp_path: Path) -> None:
    make_voices(tmp_path / "cache")
    sizes = SIZES | {"background": True}
    noisy = {"noisy_share": 0.7, "snr_db": [-5.0, 5.0], "background_weight": 5.0}
    chosen = settings(tmp_path, sizes=sizes, steps=80, validate_every=80, **noisy)
    list(train_vocoder(chosen))
    log = [entry for entry in read_journal(chosen.out) if entry["part"] == "train"]
    assert log[-1]["background"] < 0.7 * log[0]["background"]


def test_background_loss() -> None:
    vocoder = HarmonicNoiseVocoder(**SIZES, background=True)
    rng = np.random.default_rng(0)
    noise = torch.from_numpy(rng.standard_normal((1, 4800), dtype=np.float32))
    silent = torch.zeros_like(noise)
    logits = torch.full((1, 481, 21), 6.0)
    assert background_loss(vocoder, logits, noise, noise) < 0.01
    assert background_loss(vocoder, -logits, noise, silent) < 0.01
    assert background_loss(vocoder, logits, noise, silent) > 5


def test_crops_without_noise(tmp_path: Path) -> None:
    make_voices(tmp_path / "cache")
    cache = Cache(tmp_path / "cache", ("audio", "prosody"))
    task = VocoderTask(settings(tmp_path), cache, None)
    crops, _ = task.batch([0, 1], 3)
    assert not crops.noise.any()
    noisy = VocoderTask(settings(tmp_path, noisy_share=1.0), cache, None)
    one, other = noisy.batch([0, 1], 3)[0], noisy.batch([0, 1], 3)[0]
    assert torch.equal(one.wave, other.wave) and (one.noise != 0).any(1).all()
    # Pitch stays that of the recording.
    assert torch.equal(one.hz.isfinite(), torch.ones_like(one.hz, dtype=torch.bool))
