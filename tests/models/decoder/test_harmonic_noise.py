"""The harmonic-plus-noise vocoder: its signals, its filters, and what it says untrained."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from stepedit_core.models.decoder.checkpoint import read_decoder
from stepedit_core.models.decoder.vocoder import HarmonicNoiseVocoder, SeededSourceNoise, Vocoder
from stepedit_core.models.decoder.vocoder.envelope import envelope_of_mel, minimum_phase
from stepedit_core.models.decoder.vocoder.excitation import phase_of, pulse_train
from stepedit_core.models.decoder.vocoder.harmonic_noise import Filters
from stepedit_core.models.decoder.vocoder.pitch import Pitch, decode_pitch, pitch_place
from stepedit_core.models.tokenizer.features import MelConfig, prompt_mel
from tests.models.decoder_parts import YAML, tiny_flow

RATE, HOP = 24_000, 480
SIZES = {
    "width": 16,
    "mel_blocks": 1,
    "blocks": 1,
    "bands": 24,
    "pitch_width": 8,
    "pitch_blocks": 1,
    "pitch_classes": 48,
}


def tiny(seed: int = 0) -> HarmonicNoiseVocoder:
    torch.manual_seed(seed)
    return HarmonicNoiseVocoder(**SIZES).eval()


def untaught() -> HarmonicNoiseVocoder:
    """A vocoder whose network says nothing, so that only the mel and the pitch speak."""
    vocoder = tiny()
    torch.nn.init.zeros_(vocoder.head.weight)
    return vocoder


def constant(hz: float, frames: int, voicing: float = 1.0) -> Pitch:
    points = torch.ones(1, 2 * frames + 1)
    return Pitch(points * hz, points * voicing)


def mel_of(wave: Tensor) -> Tensor:
    return prompt_mel(wave, RATE).transpose(1, 2)


@pytest.mark.parametrize("hz", [80.0, 200.0, 400.0])
def test_pulses_have_all_harmonics_and_the_power_of_noise(hz: float) -> None:
    points = torch.full((1, 101), hz)
    pulses = pulse_train(phase_of(points, 240, RATE), points, 240, RATE)[0]
    assert pulses.var().item() == pytest.approx(1.0, rel=0.05)
    magnitude = torch.fft.rfft(pulses.double()).abs() / len(pulses)
    count = math.ceil(RATE / 2 / hz) - 1
    harmonics = magnitude[[round(hz * (k + 1)) for k in range(count)]]
    wanted = math.sqrt(4 * hz / RATE) / 2
    assert torch.allclose(harmonics, torch.full_like(harmonics, wanted), rtol=0.02)
    magnitude[:: round(hz)] = 0
    assert magnitude.max() < 0.01 * wanted


def test_phase_follows_a_glide_and_goes_on_from_a_start() -> None:
    points = torch.linspace(100, 200, 101)[None]
    phase = phase_of(points, 240, RATE)
    assert phase.shape == (1, 24_000)
    assert phase[0, -1].item() == pytest.approx(150.0, abs=0.02)  # 1 s at 150 Hz on average
    later = phase_of(points[:, 50:], 240, RATE, phase[:, 12_000:12_001])
    assert torch.allclose(later, phase[:, 12_000:], atol=1e-9)


def test_minimum_phase_of_a_pole() -> None:
    angle = torch.linspace(0, math.pi, 257, dtype=torch.float64)
    filtered = 1 / (1 - 0.8 * torch.polar(torch.ones_like(angle), -angle))
    found = minimum_phase(filtered.abs().log()[None, :, None])
    assert torch.allclose(found[0, :, 0], filtered.angle(), atol=1e-6)


def test_envelope_gives_noise_the_mel_it_was_taken_from() -> None:
    torch.manual_seed(0)
    noise = 0.1 * torch.randn(20 * RATE)
    envelope = envelope_of_mel(mel_of(noise), MelConfig(), 960)
    assert envelope.shape == (1, 481, 2001)
    mean = envelope[0, :300].mean(1)  # up to 7.5 kHz; mean of the log of few bins lies lower
    assert (mean - math.log(0.1)).abs().max() < 0.35
    assert (mean[100:] - math.log(0.1)).abs().max() < 0.1


@pytest.mark.parametrize(("voicing", "hz"), [(0.0, 160.0), (1.0, 160.0)])
def test_an_untaught_network_speaks_the_mel(voicing: float, hz: float) -> None:
    torch.manual_seed(1)
    frames = 100
    source = torch.randn(frames * HOP)
    if voicing:
        points = torch.full((1, 2 * frames + 1), hz)
        source = pulse_train(phase_of(points, 240, RATE), points, 240, RATE)[0]
    spectrum = torch.fft.rfft(source)
    slope = torch.linspace(0, -4, len(spectrum)).exp()
    mel = mel_of(0.1 * torch.fft.irfft(spectrum * slope, len(source)))
    vocoder, pitch = untaught(), constant(hz, frames, voicing)
    with torch.inference_mode():
        wave = vocoder.render(
            vocoder.filters(mel, pitch), vocoder.pulses(pitch.hz), torch.randn(1, frames * HOP)
        )
    assert wave.shape == (1, frames * HOP)
    # Band by band over time: narrow bands see single harmonics, which an envelope cannot follow.
    off = (mel_of(wave[0]) - mel)[0, 45:].mean(1)
    assert off.abs().max() < 0.6


def test_pitch_is_read_from_classes_and_goes_on_where_unvoiced() -> None:
    count, hz = 240, torch.tensor([100.0, 400.0, 200.0]).repeat_interleave(9)
    place = pitch_place(hz, count)[:, None]
    classes = -0.5 * (torch.arange(count) - place).square()[None]
    voicing = torch.tensor([[9.0, -9.0, 9.0]]).repeat_interleave(9, dim=1)
    pitch = decode_pitch(classes, voicing)
    heard = pitch.hz[0]
    voiced = [*range(9), *range(18, 27)]
    assert torch.allclose(heard[voiced], hz[voiced], rtol=5e-3)
    assert heard[13].item() == pytest.approx(math.sqrt(100 * 200), rel=0.12)  # not the 400 Hz
    assert pitch.voicing[0, 10] < 0.01 < 0.99 < pitch.voicing[0, 20]


def test_single_frames_do_not_break_the_voice() -> None:
    hz = torch.full((21,), 120.0)
    hz[10] = 126.0
    classes = -0.5 * (torch.arange(240) - pitch_place(hz, 240)[:, None]).square()[None]
    heard = decode_pitch(classes, torch.full((1, 21), 9.0)).hz[0]
    assert float(heard[10]) < 122.5 and float(heard[0]) == pytest.approx(120, rel=5e-3)


def test_synthesis_is_deterministic_and_does_not_depend_on_the_batch() -> None:
    vocoder = tiny()
    assert isinstance(vocoder, Vocoder)
    mel = torch.randn(2, 80, 30) - 4
    both = vocoder.synthesize(mel, [SeededSourceNoise(1), SeededSourceNoise(2)])
    assert both.shape == (2, 30 * HOP) and both.dtype == torch.float32
    assert both.abs().max() <= vocoder.limit
    again = vocoder.synthesize(mel[1:], [SeededSourceNoise(2)])
    assert torch.allclose(both[1], again[0], atol=1e-4)
    assert not torch.allclose(vocoder.synthesize(mel[1:], [SeededSourceNoise(3)]), again, atol=1e-3)


def test_loud_and_silent_mels_stay_finite() -> None:
    vocoder = tiny()
    for level in (-11.5, 8.0):
        wave = vocoder.synthesize(torch.full((1, 80, 20), level), [SeededSourceNoise(0)])
        assert torch.isfinite(wave).all()
    silent = vocoder.synthesize(torch.full((1, 80, 20), -11.5), [SeededSourceNoise(0)])
    assert silent.abs().max() < 1e-3


@pytest.mark.parametrize("voiced_noise", [1.0, 0.5])
@pytest.mark.parametrize("chunks", [[90], [30, 20, 40], [15] * 6, [50, 40]])
def test_a_stream_gives_what_one_call_gives(
    chunks: list[int], voiced_noise: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    vocoder = tiny()
    vocoder.voiced_noise = voiced_noise
    glide = torch.linspace(120, 180, 2 * 90 + 1)[None]
    begun = [0]

    def known(mel: Tensor) -> Pitch:
        """Pitch by the frames' own places, as a predictor with enough context gives."""
        end = begun[0] + mel.shape[2]
        hz = glide[:, 2 * begun[0] : 2 * end + 1].clone()
        return Pitch(hz, torch.ones_like(hz))

    torch.manual_seed(3)
    mel = torch.cumsum(0.1 * torch.randn(1, 80, 90), dim=2) - 4
    monkeypatch.setattr(vocoder, "predict_pitch", known)
    whole = vocoder.synthesize(mel, [SeededSourceNoise(5)])[0]
    stream = vocoder.stream(SeededSourceNoise(5))
    parts, end = [], 0
    for size in chunks:
        kept = 0 if stream.past is None else stream.past.mel.shape[2]
        begun[0] = end - kept
        end += size
        parts.append(stream.push(mel[0, :, end - size : end], last=end == 90))
    wave = torch.cat(parts)
    assert wave.shape == whole.shape
    assert sum(len(part) for part in parts[:-1]) == max(0, 90 - chunks[-1] - 8) * HOP
    error = (wave - whole).var() / whole.var()
    assert 10 * torch.log10(error) < -20  # the network's right context is all that is missing


def test_a_stream_holds_a_bounded_past() -> None:
    vocoder = tiny()
    stream = vocoder.stream(SeededSourceNoise(5))
    for _ in range(10):
        stream.push(torch.randn(80, 40) - 4)
        assert stream.past is not None and stream.past.mel.shape[2] == 24


def test_a_checkpoint_with_half_weights_loads(tmp_path: Path) -> None:
    vocoder = tiny(7)
    lines = "".join(f"    {name}: {value}\n" for name, value in SIZES.items())
    block = f"hift: !new:stepedit.vocoder.HarmonicNoiseVocoder\n{lines}"
    (tmp_path / "cosyvoice.yaml").write_text(YAML + block)
    torch.save(tiny_flow().state_dict(), tmp_path / "flow.pt")
    half = {name: weight.half() for name, weight in vocoder.state_dict().items()}
    save_file(half, tmp_path / "hift.safetensors")
    _, loaded, _ = read_decoder(tmp_path, "cpu", torch.float32, fold=True)
    assert isinstance(loaded, HarmonicNoiseVocoder)
    assert {weight.dtype for weight in loaded.parameters()} == {torch.float32}
    vocoder.load_state_dict({name: weight.float() for name, weight in half.items()})
    mel = torch.randn(1, 80, 20) - 4
    assert torch.equal(
        loaded.synthesize(mel, [SeededSourceNoise(1)]),
        vocoder.synthesize(mel, [SeededSourceNoise(1)]),
    )


def test_synthesis_does_not_spoil_later_training() -> None:
    vocoder, mel = HarmonicNoiseVocoder(**SIZES | {"bands": 23}), torch.full((1, 80, 10), -4.0)
    vocoder.synthesize(mel, [SeededSourceNoise(0)])  # fills the caches, in inference mode
    pitch = constant(150.0, 10)
    filters = vocoder.filters(mel, pitch)
    wave = vocoder.render(filters, vocoder.pulses(pitch.hz), torch.zeros(1, 4800))
    wave.sum().backward()
    assert vocoder.enter.weight.grad is not None


def test_an_odd_hop_is_refused() -> None:
    with pytest.raises(ValueError, match="hop_size 481"):
        HarmonicNoiseVocoder(hop_size=481)


def test_less_noise_in_voice_keeps_the_power_and_spares_what_is_unvoiced() -> None:
    vocoder, mel = tiny(), torch.full((1, 80, 6), -4.0)
    for voicing in (1.0, 0.0):
        pitch = constant(120.0, 6, voicing)
        with torch.inference_mode():
            full = vocoder.filters(mel, pitch)
            vocoder.voiced_noise = 0.3
            less = vocoder.cleared(full, pitch)
        power = full.harmonic.abs().square() + full.noise.square()
        torch.testing.assert_close(less.harmonic.abs().square() + less.noise.square(), power)
        torch.testing.assert_close(less.noise, full.noise * (0.3 if voicing else 1.0))
        torch.testing.assert_close(less.harmonic.angle(), full.harmonic.angle())


def test_noise_is_lowered_where_voicing_is_believed_alone() -> None:
    vocoder = HarmonicNoiseVocoder(voiced_noise=0.2, clear_from=0.9)
    full = Filters(torch.ones(1, 5, 13, dtype=torch.complex64), torch.ones(1, 5, 13))
    for voicing, kept in ((0.5, 1.0), (0.9, 1.0), (0.95, 0.6), (1.0, 0.2)):
        less = vocoder.cleared(
            full, Pitch(torch.full((1, 13), 120.0), torch.full((1, 13), voicing))
        )
        torch.testing.assert_close(less.noise, torch.full_like(less.noise, kept))
    with pytest.raises(ValueError, match=r"clear_from 1\.0"):
        HarmonicNoiseVocoder(clear_from=1.0)


def test_voiced_noise_beyond_a_share_is_refused() -> None:
    with pytest.raises(ValueError, match=r"voiced_noise 1\.5"):
        HarmonicNoiseVocoder(voiced_noise=1.5)


def with_background(seed: int = 0) -> HarmonicNoiseVocoder:
    torch.manual_seed(seed)
    return HarmonicNoiseVocoder(**SIZES, voiced_noise=0.3, background=True).eval()


def test_the_background_is_not_lowered_where_speech_is_voiced() -> None:
    vocoder, mel, pitch = with_background(), torch.full((1, 80, 6), -4.0), constant(120.0, 6)
    assert vocoder.background is not None
    torch.nn.init.constant_(vocoder.background.bias, 0.0)
    with torch.inference_mode():
        full, logits = vocoder.filters_and_background(mel, pitch)
        less = vocoder.cleared(full, pitch)
        vocoder.background = None
        without = vocoder.filters(mel, pitch)
    assert full.background is not None and less.background is full.background
    assert logits is not None and logits.shape == full.noise.shape
    torch.testing.assert_close(less.noise, 0.3 * full.noise)
    # It takes its share of the power from the voice; the whole stays.
    power = full.harmonic.abs().square() + full.all_noise.square()
    whole = without.harmonic.abs().square() + without.all_noise.square()
    torch.testing.assert_close(power, whole, rtol=1e-4, atol=0)
    share = full.background.square() / power
    torch.testing.assert_close(share, torch.sigmoid(logits), rtol=1e-4, atol=1e-6)


def test_a_vocoder_without_background_has_the_weights_that_it_had() -> None:
    assert set(with_background().state_dict()) - set(tiny().state_dict()) == {
        "background.weight",
        "background.bias",
    }


def harmonic_mel(hz: float, frames: int) -> Tensor:
    """Return the mel of a pulse train, ``(1, bins, frames)``."""
    points = torch.full((1, 2 * frames + 1), hz)
    return mel_of(0.1 * pulse_train(phase_of(points, 240, RATE), points, 240, RATE)[0])


def periodicity(wave: Tensor, hz: float) -> float:
    """Return the autocorrelation of a waveform at a period, 1 where it repeats itself."""
    lag = round(RATE / hz)
    one, other = wave[:-lag], wave[lag:]
    return float((one * other).sum() / (one.norm() * other.norm()))


def test_frames_without_voice_have_no_pitch_and_keep_their_power(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vocoder, frames = untaught(), 100
    mel = harmonic_mel(150.0, frames)
    monkeypatch.setattr(vocoder, "predict_pitch", lambda mel: constant(150.0, mel.shape[2], 1.0))
    unvoiced = torch.zeros(1, frames, dtype=torch.bool)
    unvoiced[:, 50:] = True
    noise = [SeededSourceNoise(1)]
    wave = vocoder.synthesize(mel, noise, unvoiced)[0]
    spoken = vocoder.synthesize(mel, [SeededSourceNoise(1)])[0]
    half = 50 * HOP
    assert torch.equal(wave[: half - 2 * HOP], spoken[: half - 2 * HOP])
    assert periodicity(spoken[half:], 150.0) > 0.9
    assert abs(periodicity(wave[half:], 150.0)) < 0.2
    change = 20 * torch.log10(wave[half:].std() / spoken[half:].std())
    assert abs(float(change)) < 2.0


@pytest.mark.parametrize("sizes", [[90], [30, 20, 40]])
def test_a_stream_without_voice_gives_what_one_call_gives(
    sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    vocoder = tiny()
    monkeypatch.setattr(vocoder, "predict_pitch", lambda mel: constant(150.0, mel.shape[2], 1.0))
    torch.manual_seed(3)
    mel = torch.cumsum(0.1 * torch.randn(1, 80, 90), dim=2) - 4
    unvoiced = torch.arange(90)[None] >= 40
    whole = vocoder.synthesize(mel, [SeededSourceNoise(5)], unvoiced)[0]
    stream, parts, end = vocoder.stream(SeededSourceNoise(5)), [], 0
    for size in sizes:
        end += size
        given = unvoiced[0, end - size : end] if end > 40 else None
        parts.append(stream.push(mel[0, :, end - size : end], end == 90, given))
    error = (torch.cat(parts) - whole).var() / whole.var()
    assert 10 * torch.log10(error) < -20
