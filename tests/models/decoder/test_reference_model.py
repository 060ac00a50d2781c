"""The mel decoder that looks its voice up in the reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from stepedit_core.codes import DualCodes
from stepedit_core.models.decoder.decoder import Decoder, Reference
from stepedit_core.models.decoder.flow import FlowInput, FlowNoise, pad_mel
from stepedit_core.models.decoder.reference.attention import RowEmbedding
from stepedit_core.models.decoder.reference.batch import ReferencedStreamCache
from stepedit_core.models.decoder.reference.model import ReferencedMelDecoder
from stepedit_core.models.decoder.streaming import StreamDecoder
from tests.models.decoder_parts import randomise, tiny_hift

SIZES = {"width": 24, "token_blocks": 2, "reference_blocks": 1, "mel_blocks": 2, "heads": 3}


def decoder(seed: int = 0) -> ReferencedMelDecoder:
    made = ReferencedMelDecoder(**SIZES, spk_embed_dim=6, kernel=5)  # type: ignore[arg-type]
    randomise(made, seed)
    return made.eval()


def rows(count: int, seed: int = 0) -> Tensor:
    rng = np.random.default_rng((seed, count))
    linguistic = rng.integers(0, 1024, count)
    linguistic[2::3] = 1024
    return torch.from_numpy(np.stack([linguistic, rng.integers(1025, 5121, count)], axis=1))


def item(prompt: int, count: int, seed: int = 0) -> FlowInput:
    rng = np.random.default_rng((seed, prompt, count))
    mel = torch.from_numpy(rng.normal(-5, 3, (2 * prompt, 80))).float()
    voice = torch.from_numpy(rng.standard_normal(6)).float()
    return FlowInput(rows(prompt, 1), rows(count, 2), mel, voice, FlowNoise(0))


def test_a_batch_gives_what_each_gives_alone() -> None:
    made = decoder()
    items = [item(30, 60), item(45, 90), item(12, 21)]
    for one, together in zip(items, made.generate(items), strict=True):
        alone = made.generate([one])[0]
        assert together.shape == (80, 2 * len(one.rows))
        assert torch.allclose(together, alone, atol=2e-5)
        assert alone.std() > 0.1


def test_only_the_content_of_the_reference_counts() -> None:
    """The reference's blocks see a few neighbours; beyond those its order does not matter."""
    made = decoder()
    first, second, quiet = item(60, 30, 1), item(60, 30, 2), torch.full((60, 80), -11.5)
    gap = torch.tensor([[1024, 1025]]).repeat(30, 1)

    def joined(a: FlowInput, b: FlowInput) -> Tensor:
        prompt = torch.cat([gap, a.prompt_rows, gap, b.prompt_rows, gap])
        mel = torch.cat([quiet, a.prompt_mel, quiet, b.prompt_mel, quiet])
        return made.generate([FlowInput(prompt, first.rows, mel, first.speaker, FlowNoise(0))])[0]

    assert torch.allclose(joined(first, second), joined(second, first), atol=2e-4)
    assert not torch.allclose(joined(first, first), joined(second, second), atol=1e-2)


def streamed(made: ReferencedMelDecoder, one: FlowInput) -> tuple[Tensor, ReferencedStreamCache]:
    """Return the frames of a stream of three chunks, and its cache."""
    known = (one.prompt_mel, one.speaker, one.noise, 0, 9)
    cache = made.open_stream(one.prompt_rows, rows(0), *known, one.source_map)
    parts, begin = [], 0
    for steps in (15, 24):
        chunk = one.rows[begin : begin + steps + made.lookahead]
        parts.append(made.generate_chunk(chunk, cache, one.noise, last=False))
        begin += steps
    parts.append(made.generate_chunk(one.rows[begin:], cache, one.noise, last=True))
    return torch.cat(parts, dim=1), cache


def test_a_stream_gives_the_frames_of_the_whole() -> None:
    made, one = decoder(), item(45, 90)
    frames, cache = streamed(made, one)
    assert torch.allclose(frames, made.generate([one])[0], atol=2e-5)
    assert len(cache.past) <= made.lookahead


def test_a_stream_looks_at_its_reference_once() -> None:
    made, one = decoder(), item(45, 90)
    embedded, seen = [], []
    made.embed.register_forward_hook(lambda _, given, made: embedded.append(given[0].shape[1]))
    once = (made.mel_in, *made.reference_blocks, made.voice, made.copy.key, made.early.key)
    for layer in (*once, made.late.key, *made.conditions):
        layer.register_forward_hook(lambda *given: seen.append(given[0]))
    cache = made.open_stream(one.prompt_rows, rows(0), one.prompt_mel, one.speaker, one.noise, 0, 9)
    assert embedded == [45]
    looked = len(seen)
    for begin in (0, 24, 48):
        chunk = one.rows[begin : begin + 24 + made.lookahead]
        made.generate_chunk(chunk, cache, one.noise, last=False)
    assert len(seen) == looked == len(set(seen))
    assert len(embedded) == 4 and embedded[1] == 24 + made.lookahead


def test_scalar_quantised_codes_are_read_by_their_numbers() -> None:
    embed = RowEmbedding(5, (8, 8, 8, 8))
    code = 3 + 8 * 5 + 64 * 0 + 512 * 7
    made = embed(torch.tensor([[[4, 1025 + code]]]))[0, 0]
    places = [table.weight[digit] for table, digit in zip(embed.places, (3, 5, 0, 7), strict=True)]  # type: ignore[index]
    numbers = embed.numbers(torch.tensor([3, 5, 0, 7]) / 3.5 - 1)
    wanted = embed.linguistic.weight[4] + torch.stack(places).sum(0) + numbers
    assert torch.allclose(made, wanted, atol=1e-6)


def write_folder(folder: Path, made: ReferencedMelDecoder) -> None:
    vocoder = tiny_hift()
    lines = "".join(f"  {name}: {value}\n" for name, value in SIZES.items())
    lines += "  spk_embed_dim: 6\n  kernel: 5\n"
    (folder / "cosyvoice.yaml").write_text(
        f"flow: !new:stepedit.flow.ReferencedMelDecoder\n{lines}"
        "hift: !new:cosyvoice2.hifigan.generator.HiFTGenerator\n"
        "  base_channels: 16\n  resblock_kernel_sizes: [3, 5]\n"
        "  resblock_dilation_sizes: [[1, 3], [1, 3]]\n"
        "  source_resblock_kernel_sizes: [3, 3, 3]\n"
        "  source_resblock_dilation_sizes: [[1, 3], [1, 3], [1, 3]]\n"
        "  f0_predictor: !new:cosyvoice2.hifigan.f0_predictor.ConvRNNF0Predictor\n"
        "    cond_channels: 8\n"
    )
    half = {name: weight.half().contiguous() for name, weight in made.state_dict().items()}
    save_file(half, folder / "flow.safetensors")
    torch.save(vocoder.state_dict(), folder / "hift.pt")


def test_a_folder_decodes_and_streams(tmp_path: Path) -> None:
    write_folder(tmp_path, decoder())
    loaded = Decoder.load(tmp_path)
    assert loaded.flow.dtype is torch.float32
    codes = DualCodes(np.arange(40) % 1024, np.arange(60) * 7 % 4096)
    voice = Reference(
        codes.interleave(), np.full((100, 80), -4, np.float32), np.ones(6, np.float32)
    )
    wave = loaded.decode(codes.interleave(), voice)
    assert wave.shape == (20 * 2880,) and np.isfinite(wave).all()
    # The mel is as long as the tokens: what is missing is silence, not stretched sound.
    _, mel, _ = loaded.prepare(voice)
    assert mel.shape == (120, 80) and float(mel[99, 0]) == -4 and float(mel[100, 0]) < -11
    with StreamDecoder(loaded, voice) as session:
        parts = [session.push(codes.interleave()), *(session.push() for _ in range(3))]
        parts.append(session.push(last=True))
    assert sum(len(part) for part in parts if part is not None) == len(wave)


def test_padding_keeps_the_frames_where_they_are() -> None:
    mel = torch.arange(12.0).reshape(4, 3)
    assert torch.equal(pad_mel(mel, 2), mel[:2])
    longer = pad_mel(mel, 6)
    assert torch.equal(longer[:4], mel)
    assert longer[4:].flatten().tolist() == pytest.approx([-11.512925] * 6)
