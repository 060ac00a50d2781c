from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stepedit_core.models.decoder.vocoder import (
    BigVGAN,
    ConvRNNF0Predictor,
    HiFTGenerator,
    SeededSourceNoise,
    Vocoder,
)
from stepedit_core.models.decoder.vocoder.protocol import cross_fade
from stepedit_core.models.decoder.vocoder.source import HarmonicSource
from tests.models.decoder_parts import Golden, GoldenSource, tiny_bigvgan, tiny_hift

BOTH = [tiny_hift, tiny_bigvgan]


def mels(batch: int, frames: int, seed: int = 0) -> Tensor:
    drawn = np.random.RandomState(seed).standard_normal((batch, 80, frames))
    return torch.from_numpy(drawn).float()


def noises(count: int, first: int = 0) -> list[SeededSourceNoise]:
    return [SeededSourceNoise(first + index) for index in range(count)]


@pytest.mark.parametrize("make", BOTH)
def test_480_samples_per_frame_within_limits(make: type[Vocoder]) -> None:
    vocoder = make()
    assert isinstance(vocoder, Vocoder)
    assert (vocoder.hop, vocoder.sample_rate) == (480, 24000)
    wave = vocoder.synthesize(mels(2, 6), noises(2))
    assert wave.shape == (2, 6 * 480) and wave.dtype is torch.float32
    assert wave.abs().max() <= 1 and wave.std() > 0


@pytest.mark.parametrize("make", BOTH)
def test_a_batch_equals_single_utterances(make: type[Vocoder]) -> None:
    vocoder, mel = make(), mels(3, 7)
    batch = vocoder.synthesize(mel, noises(3))
    for index in range(3):
        single = vocoder.synthesize(mel[index : index + 1], noises(1, index))
        assert torch.allclose(batch[index], single[0], atol=1e-5)


@pytest.mark.parametrize("make", BOTH)
def test_folding_changes_names_not_sound(make: type[Vocoder]) -> None:
    vocoder, mel = make(), mels(1, 8)
    before = vocoder.synthesize(mel, noises(1))
    vocoder.fold_weight_norm()
    assert torch.allclose(vocoder.synthesize(mel, noises(1)), before, atol=1e-5)
    names = vocoder.state_dict()  # type: ignore[attr-defined]
    assert "conv_pre.weight" in names and not any("original" in name for name in names)


@pytest.mark.parametrize("make", BOTH)
def test_unfolded_vocoders_train(make: type[Vocoder]) -> None:
    vocoder, mel = make(), mels(1, 8)
    if isinstance(vocoder, HiFTGenerator):
        wave = vocoder(mel, vocoder.source(mel, vocoder.draw(noises(1), 8)))
    else:
        wave = vocoder(mel)  # type: ignore[operator]
    wave.square().mean().backward()
    silent = [n for n, p in vocoder.named_parameters() if p.grad is None]  # type: ignore[attr-defined]
    assert not silent


def test_source_seeds_count_and_continue() -> None:
    vocoder, mel = tiny_hift(), mels(1, 6)
    first = vocoder.synthesize(mel, noises(1))
    assert torch.equal(vocoder.synthesize(mel, noises(1)), first)
    assert not torch.equal(vocoder.synthesize(mel, noises(1, 1)), first)
    source = SeededSourceNoise(3)
    parts = torch.cat([source(5, 9), source(7, 9)])
    assert torch.equal(parts, SeededSourceNoise(3)(12, 9))


def test_the_source_equals_its_sample_rate_form() -> None:
    """The frame-rate shortcut against F0 held over samples, phases and interpolation and all."""
    source = HarmonicSource(24000, 480, 8, 0.1, 0.003, 10)
    f0 = torch.tensor([[0.0, 110.0, 112.5, 220.0, 5.0, 3000.0]])
    held = f0.repeat_interleave(480, dim=1).unsqueeze(2) * torch.arange(1.0, 10)
    cycles = (held / 24000) % 1
    cycles[:, 0, 1:] += torch.rand(8)  # the public code's initial phase, which nothing reads
    cycles = F.interpolate(cycles.transpose(1, 2), scale_factor=1 / 480, mode="linear")
    phase = torch.cumsum(cycles, dim=2) * 2 * torch.pi
    phase = F.interpolate(phase * 480, scale_factor=480.0, mode="linear").transpose(1, 2)
    assert torch.equal(source.sines(f0), torch.sin(phase) * 0.1)
    noise = torch.ones(1, 6 * 480, 9)
    with torch.no_grad():
        source.l_linear.weight.fill_(1 / 9)
        source.l_linear.bias.zero_()
        wave = torch.atanh(source(f0, noise))[0, 0]
    unvoiced = torch.cat([wave[:480], wave[4 * 480 : 5 * 480]])
    assert torch.allclose(unvoiced, torch.tensor(0.1 / 3), atol=1e-6)
    voiced = (torch.sin(phase) * 0.1).mean(2)[0, 480:960] + 0.003
    assert torch.allclose(wave[480:960], voiced, atol=1e-6)


def test_cross_fade_weights_with_a_hamming_window() -> None:
    faded = cross_fade(torch.ones(6), torch.full((4,), 2.0))
    window = np.hamming(8)
    np.testing.assert_allclose(faded[:4], window[:4] + 2 * window[4:], rtol=1e-6)
    assert faded[4:].tolist() == [1, 1]


@pytest.mark.parametrize("make", BOTH)
@pytest.mark.parametrize("sizes", [[30], [30, 48, 12], [12, 12, 6]])
def test_a_stream_gives_every_frame_once(make: type[Vocoder], sizes: list[int]) -> None:
    vocoder, mel = make(), mels(1, sum(sizes))[0]
    stream = vocoder.stream(SeededSourceNoise(0))
    parts, start = [], 0
    for index, size in enumerate(sizes):
        parts.append(stream.push(mel[:, start : start + size], last=index == len(sizes) - 1))
        start += size
    assert sum(map(len, parts)) == sum(sizes) * 480
    if len(sizes) == 1:
        assert torch.equal(parts[0], vocoder.synthesize(mel[None], noises(1))[0])


def test_a_bigvgan_stream_equals_the_whole_away_from_the_seams() -> None:
    vocoder, mel = tiny_bigvgan(), mels(1, 60)[0]
    stream = vocoder.stream(SeededSourceNoise(0))
    parts = torch.cat([stream.push(mel[:, :30]), stream.push(mel[:, 30:], last=True)])
    whole = vocoder.synthesize(mel[None], noises(1))[0]
    far = torch.ones(len(whole), dtype=torch.bool)
    far[(30 - 3 - 4) * 480 : (30 - 3 + 2) * 480] = False
    assert torch.allclose(parts[far], whole[far], atol=1e-4)
    assert not torch.allclose(parts, whole, atol=1e-4)


def test_the_full_size_vocoder_has_the_published_layout() -> None:
    with torch.device("meta"):
        state = HiFTGenerator(ConvRNNF0Predictor()).state_dict()
    assert len(state) == 328
    assert sum(t.numel() for t in state.values()) * 4 == 83_285_180


def test_other_variants_are_refused() -> None:
    with pytest.raises(ValueError, match="resblock"):
        BigVGAN(resblock="2")
    with pytest.raises(ValueError, match="activation"):
        BigVGAN(activation="relu")


@pytest.mark.parametrize("fold", [True, False])
@pytest.mark.parametrize(("kind", "atol"), [("a", 1e-4), ("b", 2e-2)])
def test_equals_the_public_vocoder(kind: str, atol: float, fold: bool) -> None:
    golden = Golden(kind)
    want, vocoder = golden.load("07_vocoder"), golden.decoder().vocoder
    if fold:
        vocoder.fold_weight_norm()
    wave = vocoder.synthesize(torch.from_numpy(want["mel"]), [GoldenSource(1)])
    np.testing.assert_allclose(wave, want["wav"], rtol=0, atol=atol)


def test_stages_of_the_public_bigvgan() -> None:
    golden = Golden("a")
    want, vocoder = golden.load("07_vocoder"), golden.decoder().vocoder
    assert isinstance(vocoder, BigVGAN)
    with torch.inference_mode():
        first = vocoder.conv_pre(F.pad(torch.from_numpy(want["mel"]), (3, 3), mode="reflect"))
        up = vocoder.ups[0][0](first)  # type: ignore[index]
        for got, name in ((first, "conv_pre_out"), (up, "up0"), (vocoder.resblocks[0](up), "res0")):
            np.testing.assert_allclose(got, want[name], rtol=0, atol=1e-4)


def test_stages_of_the_public_hift() -> None:
    golden = Golden("b")
    want, vocoder = golden.load("07_vocoder"), golden.decoder().vocoder
    assert isinstance(vocoder, HiFTGenerator)
    mel, source = torch.from_numpy(want["mel"]), torch.from_numpy(want["source"])
    noise = torch.from_numpy(want["sine_noise_0"].astype(np.float32))
    assert torch.equal(noise[0], GoldenSource(1)(11520, 9))
    with torch.inference_mode():
        for got, name, atol in (
            (vocoder.f0_predictor(mel), "f0", 1e-3),
            (vocoder.source(mel, noise), "source", 2e-4),
            (vocoder.spectrum(mel, source), "decode_pre_istft", 1e-3),
            (vocoder(mel, source), "wav", 1e-3),
        ):
            np.testing.assert_allclose(got, want[name], rtol=0, atol=atol)
