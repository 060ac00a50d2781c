from __future__ import annotations

import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from stepedit_core.errors import CheckpointError, EngineError
from stepedit_core.models.decoder.decoder import DecodeInput, Decoder, Reference
from stepedit_core.models.decoder.flow import (
    CausalConditionalCFM,
    CausalMaskedDiffWithXvec,
    DiT,
    DualCodebookEmbedding,
    FlowNoise,
    UpsampleConformerEncoderV2,
)
from stepedit_core.models.decoder.streaming import StreamDecoder
from stepedit_core.models.decoder.vocoder import BigVGAN
from tests.models.decoder_parts import (
    Golden,
    GoldenSource,
    reference,
    tiny_bigvgan,
    tiny_flow,
    tiny_hift,
    tokens,
    write_checkpoint,
)

VOCODERS = [tiny_hift, tiny_bigvgan]


@pytest.fixture(params=VOCODERS)
def decoder(request: pytest.FixtureRequest) -> Decoder:
    return Decoder(tiny_flow(), request.param(), n_steps=3)


def test_five_tokens_are_2880_samples(decoder: Decoder) -> None:
    wave = decoder.decode(tokens(4), reference())
    assert wave.shape == (4 * 2880,) and wave.dtype == np.float32
    assert decoder.sample_rate == 24000
    assert decoder.decode(tokens(4)[:17], reference()).shape == (4 * 2880,)


def test_the_seed_decides(decoder: Decoder) -> None:
    first = decoder.decode(tokens(3), reference(), seed=1)
    assert np.array_equal(decoder.decode(tokens(3), reference(), seed=1), first)
    assert not np.allclose(decoder.decode(tokens(3), reference(), seed=2), first, atol=1e-4)
    state = torch.get_rng_state()
    decoder.decode(tokens(3), reference())
    assert torch.equal(torch.get_rng_state(), state), "the global generator is not used"


def test_a_batch_equals_single_utterances(decoder: Decoder) -> None:
    items = [
        DecodeInput(tokens(3, 1), reference(6, 1), seed=1),
        DecodeInput(tokens(5, 2), reference(2, 2), seed=2),
        DecodeInput(tokens(3, 3), reference(4, 3), seed=3),
    ]
    for item, wave in zip(items, decoder.decode_batch(items), strict=True):
        alone = decoder.decode(item.tokens, item.reference, seed=item.seed)
        np.testing.assert_allclose(wave, alone, rtol=0, atol=2e-3)
    assert decoder.decode_batch([]) == []


def test_the_reference_is_rounded_as_the_public_system_does(decoder: Decoder) -> None:
    exact = Decoder(decoder.flow, decoder.vocoder, n_steps=3, prompt_dtype="fp32")
    ref = reference()
    rounded = dataclasses.replace(
        ref,
        mel=torch.from_numpy(ref.mel).bfloat16().float().numpy(),
        embedding=torch.from_numpy(ref.embedding).bfloat16().float().numpy(),
    )
    assert decoder.prompt_dtype == "bf16"
    want = decoder.decode(tokens(3), ref)
    assert np.array_equal(exact.decode(tokens(3), rounded), want)
    assert not np.array_equal(exact.decode(tokens(3), ref), want)


def test_steps_can_be_chosen_per_call(decoder: Decoder) -> None:
    other = Decoder(decoder.flow, decoder.vocoder, n_steps=5)
    want = other.decode(tokens(3), reference())
    assert np.array_equal(decoder.decode(tokens(3), reference(), n_steps=5), want)
    assert not np.array_equal(decoder.decode(tokens(3), reference()), want)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"mel": np.zeros((9, 12), np.float32)}, r"\(frames, 80\)"),
        ({"mel": np.full((9, 80), np.nan, np.float32)}, "not finite"),
        ({"embedding": np.zeros(5, np.float32)}, "5 values"),
        ({"tokens": np.array([1, 2, 9999])}, "9999"),
    ],
)
def test_a_reference_that_does_not_fit_is_refused(
    decoder: Decoder, change: dict[str, object], said: str
) -> None:
    with pytest.raises(EngineError, match=said):
        decoder.decode(tokens(2), dataclasses.replace(reference(), **change))  # type: ignore[arg-type]


def test_nothing_to_decode_is_refused(decoder: Decoder) -> None:
    with pytest.raises(EngineError, match="no audio tokens"):
        decoder.decode([], reference())


def test_a_voice_without_recording_still_speaks(decoder: Decoder) -> None:
    empty = Reference(tokens(0), np.zeros((0, 80), np.float32), reference().embedding)
    assert decoder.decode(tokens(2), empty).shape == (2 * 2880,)


def test_threads_may_share_a_decoder(decoder: Decoder) -> None:
    want = [decoder.decode(tokens(3, k), reference(2 + k, k), seed=k) for k in range(4)]
    with ThreadPoolExecutor(4) as pool:
        got = pool.map(
            lambda k: decoder.decode(tokens(3, k), reference(2 + k, k), seed=k), range(4)
        )
        for mine, alone in zip(got, want, strict=True):
            np.testing.assert_allclose(mine, alone, rtol=0, atol=1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize("compiled", [False, True])
def test_cuda_equals_the_cpu(tmp_path: Path, compiled: bool) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    write_checkpoint(tmp_path, tiny_bigvgan())
    host, device = Decoder.load(tmp_path, n_steps=3), Decoder.load(tmp_path, "cuda", n_steps=3)
    if compiled:
        device.compile()
    items = [DecodeInput(tokens(n, n), reference(n, n), seed=n) for n in (3, 5, 4)]
    for got, want in zip(device.decode_batch(items), host.decode_batch(items), strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=2e-2)
    stream, ids = StreamDecoder(device, reference()), tokens(12)
    stream.push(ids[:5])
    outs = [stream.push(ids[5:]), stream.push(last=True)]
    assert sum(len(out) for out in outs if out is not None) == 12 * 2880


# ---- loading ----------------------------------------------------------------------------------


@pytest.mark.parametrize("vocoder", VOCODERS)
@pytest.mark.parametrize("fold", [True, False])
def test_loading_gives_the_saved_decoder(
    tmp_path: Path, vocoder: Callable[[], object], fold: bool
) -> None:
    folder = tmp_path / "editx" / "CosyVoice-300M-25Hz"
    saved = write_checkpoint(folder, vocoder())  # type: ignore[arg-type]
    want = saved.decode(tokens(3), reference(), n_steps=2)
    for path in (folder, folder.parent):
        loaded = Decoder.load(path, fold=fold, n_steps=2)
        np.testing.assert_allclose(loaded.decode(tokens(3), reference()), want, rtol=0, atol=1e-4)
        normed = any("original" in name for name in loaded.vocoder.state_dict())  # type: ignore[attr-defined]
        assert normed is not fold
        assert not loaded.flow.training
        assert {p.device.type for p in loaded.flow.parameters()} == {"cpu"}


def test_folded_vocoders_and_safetensors_load(tmp_path: Path) -> None:
    saved = write_checkpoint(tmp_path)
    want = saved.decode(tokens(3), reference(), n_steps=2)
    saved.vocoder.fold_weight_norm()
    save_file(saved.vocoder.state_dict(), tmp_path / "hift.safetensors")  # type: ignore[attr-defined]
    (tmp_path / "hift.pt").unlink()
    for fold in (True, False):
        got = Decoder.load(tmp_path, fold=fold, n_steps=2).decode(tokens(3), reference())
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-4)


def test_stored_half_precision_and_a_half_precision_flow(tmp_path: Path) -> None:
    saved = write_checkpoint(tmp_path, tiny_bigvgan())
    want = saved.decode(tokens(3), reference(), n_steps=2)
    for name in ("flow.pt", "hift.pt"):
        state = torch.load(tmp_path / name, weights_only=True)
        torch.save({k: v.half() for k, v in state.items()}, tmp_path / name)
    loaded = Decoder.load(tmp_path, n_steps=2)
    assert loaded.flow.dtype is torch.float32
    assert np.corrcoef(loaded.decode(tokens(3), reference()), want)[0, 1] > 0.99
    half = Decoder.load(tmp_path, dtype=torch.bfloat16, n_steps=2)
    assert half.flow.dtype is torch.bfloat16
    assert next(half.vocoder.parameters()).dtype is torch.float32  # type: ignore[attr-defined]
    assert np.isfinite(half.decode(tokens(3), reference())).all()


def refused(folder: Path, said: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        Decoder.load(folder)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_swapped_truncated_and_missing_files_are_named(tmp_path: Path) -> None:
    write_checkpoint(tmp_path)
    flow, hift = (tmp_path / name for name in ("flow.pt", "hift.pt"))
    good = flow.read_bytes(), hift.read_bytes()
    flow.write_bytes(good[1])
    refused(tmp_path, "flow.pt: does not fit")
    flow.write_bytes(good[0][: len(good[0]) // 2])
    refused(tmp_path, "flow.pt: is truncated")
    flow.unlink()
    refused(tmp_path, "flow.pt: no such file")
    flow.write_bytes(good[0])
    hift.write_bytes(good[0])
    refused(tmp_path, "hift.pt: does not fit")
    refused(tmp_path / "elsewhere", "holds neither cosyvoice.yaml")


def test_another_configuration_is_refused(tmp_path: Path) -> None:
    write_checkpoint(tmp_path)
    file = tmp_path / "cosyvoice.yaml"
    text = file.read_text()
    for old, new, said in (
        ("hidden_size: 20", "hidden_size: 24", "wrong shape"),
        ("num_up_blocks: 1", "num_up_blocks: 2", "missing"),
        ("decoder_dit.DiT", "decoder_dit.UNet", "decoder_dit.UNet"),
        ("attention_heads: 3", "attention_heads: 5", "multiple of attention_heads"),
        ("linear_units: 20", "linear_units: 20\n        input_layer: conv2d", "input_layer"),
        ("hift:", "other:", "'hift'"),
        ("flow:", "flow: !!python/object/apply:os.system [id]\nx:", "os.system"),
        ("flow:", "unused: !new:os.system\n  command: id\nflow:", "!new:os.system is not a known"),
        ("flow:", "unused: [{deep: !apply:os.system [id]}]\nflow:", "!apply:os.system"),
        ("flow:", "unused: !name:os.system\nflow:", "!name:os.system"),
        ("flow:", "unused: !ref <gone>\nflow:", "gone"),
        ("flow:", "mel_conf: 5\nflow:", "'mel_conf'"),
    ):
        assert old in text
        file.write_text(text.replace(old, new))
        refused(tmp_path, said)


def test_the_full_size_flow_has_the_published_layout() -> None:
    with torch.device("meta"):
        encoder = UpsampleConformerEncoderV2(
            512, 512, num_blocks=6, num_up_blocks=4, attention_heads=8
        )
        flow = CausalMaskedDiffWithXvec(
            encoder=encoder,
            decoder=CausalConditionalCFM(DiT(320, 80)),
            input_embedding=DualCodebookEmbedding(5121, 512),
        )
    state = flow.state_dict()
    assert len(state) == 605
    assert sum(t.numel() for t in state.values()) * 4 == 615_016_384


# ---- goldens ----------------------------------------------------------------------------------


def agree(kind: str, got: np.ndarray, want: np.ndarray, loose: float = 5e-2) -> None:
    """Compare as the goldens' notes say: HiFT's float32 phase makes its waveforms noisier."""
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=0, atol=5e-4 if kind == "a" else loose)
    assert np.corrcoef(got, want)[0, 1] > 0.9999


@pytest.mark.parametrize("kind", ["a", "b"])
def test_whole_decode_equals_the_public_one(kind: str) -> None:
    golden = Golden(kind)
    want, noise = golden.load("08_nonstream"), golden.noise()
    ref, ids = golden.reference(want["prompt_ids"]), want["gen_ids"][0]
    exact, upstream = golden.decoder("fp32"), golden.decoder("bf16")
    for decoder, given, seed, name in (
        (exact, ids, 2, "wav_f32"),
        (upstream, ids, 2, "wav_bf16prompt"),
        (exact, ids[:17], 3, "wav_tail17"),
    ):
        wave = decoder.decode(given, ref, flow_noise=noise, source_noise=GoldenSource(seed))
        agree(kind, wave, want[name][0])
    assert isinstance(exact.vocoder, BigVGAN) is (kind == "a")
    assert exact.mel_config["n_fft"] == 1920


@pytest.mark.parametrize("kind", ["a", "b"])
@pytest.mark.parametrize("case", ["edit_r1_rep", "clone_r2_plain"])
def test_greedy_tokens_decode_to_the_public_waveform(kind: str, case: str) -> None:
    golden = Golden(kind)
    want = golden.load("12_pipeline")
    wave = golden.decoder("bf16").decode(
        want[f"ids_{case}"],
        golden.reference(want["prompt_ids"]),
        flow_noise=golden.noise(),
        source_noise=GoldenSource(int(want[f"hift_seed_{case}"])),
    )
    agree(kind, wave, want[f"wav_{case}"][0])


@pytest.mark.parametrize("kind", ["a", "b"])
def test_a_golden_batch_equals_its_singles(kind: str) -> None:
    golden = Golden(kind)
    want, decoder = golden.load("08_nonstream"), golden.decoder()
    ref, ids = golden.reference(want["prompt_ids"]), want["gen_ids"][0]
    noise: FlowNoise = golden.noise()
    items = [
        DecodeInput(ids, ref, flow_noise=noise, source_noise=GoldenSource(2)),
        DecodeInput(ids[:17], ref, flow_noise=noise, source_noise=GoldenSource(3)),
    ]
    waves = decoder.decode_batch(items)
    agree(kind, waves[0], want["wav_f32"][0])
    agree(kind, waves[1], want["wav_tail17"][0])
