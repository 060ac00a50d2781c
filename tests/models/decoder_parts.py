"""Tiny seeded decoder parts, checkpoints written like the public ones, and golden helpers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from stepedit_core.models.decoder.decoder import Decoder, Reference
from stepedit_core.models.decoder.flow import (
    CausalConditionalCFM,
    CausalMaskedDiffWithXvec,
    DiT,
    DualCodebookEmbedding,
    FlowNoise,
    UpsampleConformerEncoderV2,
)
from stepedit_core.models.decoder.vocoder import BigVGAN, ConvRNNF0Predictor, HiFTGenerator
from tests.shared_data import need_shared

SPEAKER_SIZE = 12


def randomise(module: nn.Module, seed: int) -> None:
    """Give every parameter a value of a sensible size that no library version changes."""
    rng = np.random.RandomState(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            noise = torch.from_numpy(rng.standard_normal(tuple(parameter.shape))).float()
            is_gain = name.endswith("original0") or (name.endswith("weight") and noise.ndim == 1)
            if is_gain or (name.endswith("alpha") and ".act." not in name):
                parameter.copy_((0.1 if "conv_post" in name else 1) * (1 + 0.1 * noise))
            elif noise.ndim > 1:
                parameter.copy_(noise / (noise.numel() / noise.shape[0]) ** 0.5)
            else:
                parameter.copy_(0.1 * noise)


def tiny_flow(seed: int = 0, key_bias: bool = True) -> CausalMaskedDiffWithXvec:
    encoder = UpsampleConformerEncoderV2(
        input_size=12,
        output_size=24,
        num_blocks=2,
        num_up_blocks=1,
        attention_heads=3,
        linear_units=20,
        key_bias=key_bias,
    )
    estimator = DiT(
        in_channels=320, out_channels=80, mlp_ratio=2, depth=2, num_heads=3, head_dim=6,
        hidden_size=20,
    )  # fmt: skip
    flow = CausalMaskedDiffWithXvec(
        encoder=encoder,
        decoder=CausalConditionalCFM(estimator),
        input_embedding=DualCodebookEmbedding(5121, 12),
        input_size=12,
        spk_embed_dim=SPEAKER_SIZE,
    )
    randomise(flow, seed)
    return flow.eval()


def tiny_hift(seed: int = 0) -> HiFTGenerator:
    vocoder = HiFTGenerator(
        ConvRNNF0Predictor(cond_channels=8),
        base_channels=16,
        resblock_kernel_sizes=(3, 5),
        resblock_dilation_sizes=((1, 3), (1, 3)),
        source_resblock_kernel_sizes=(3, 3, 3),
        source_resblock_dilation_sizes=((1, 3), (1, 3), (1, 3)),
    )
    randomise(vocoder, seed)
    with torch.no_grad():
        vocoder.f0_predictor.classifier.bias.fill_(150.0)
    return vocoder.eval()


def tiny_bigvgan(seed: int = 0) -> BigVGAN:
    vocoder = BigVGAN(
        upsample_initial_channel=16,
        upsample_rates=(8, 5, 4, 3),
        upsample_kernel_sizes=(16, 11, 8, 7),
        resblock_kernel_sizes=(3,),
        resblock_dilation_sizes=((1, 3),),
    )
    randomise(vocoder, seed)
    return vocoder.eval()


def tokens(groups: int, seed: int = 0) -> npt.NDArray[np.int64]:
    rng = np.random.RandomState(seed)
    rows = [np.r_[rng.randint(0, 1024, 2), rng.randint(1024, 5120, 3)] for _ in range(groups)]
    return np.concatenate(rows) if rows else np.empty(0, np.int64)


def reference(groups: int = 6, seed: int = 0) -> Reference:
    rng = np.random.RandomState(seed)
    return Reference(
        tokens(groups, seed + 1),
        rng.standard_normal((groups * 6 + 3, 80)).astype(np.float32),
        rng.standard_normal(SPEAKER_SIZE).astype(np.float32),
    )


YAML = """
flow: !new:stepvocoder.cosyvoice2.flow.flow.CausalMaskedDiffWithXvec
    input_size: 12
    output_size: 80
    spk_embed_dim: 12
    input_embedding: !new:stepvocoder.cosyvoice2.embedding.dual_codebook.DualCodebookEmbedding
        vocab_size: 5121
        input_size: 12
    encoder: !new:stepvocoder.cosyvoice2.transformer.upsample_encoder_v2.UpsampleConformerEncoderV2
        input_size: 12
        output_size: 24
        num_blocks: 2
        num_up_blocks: 1
        attention_heads: 3
        linear_units: 20
    decoder: !new:stepvocoder.cosyvoice2.flow.flow_matching.CausalConditionalCFM
        inference_cfg_rate: 0.7
        estimator: !new:stepvocoder.cosyvoice2.flow.decoder_dit.DiT
            in_channels: 320
            out_channels: 80
            mlp_ratio: 2
            depth: 2
            num_heads: 3
            head_dim: 6
            hidden_size: 20
"""
HIFT_YAML = """
hift: !new:stepvocoder.cosyvoice2.hifigan.generator.HiFTGenerator
    base_channels: 16
    resblock_kernel_sizes: [3, 5]
    resblock_dilation_sizes: [[1, 3], [1, 3]]
    source_resblock_kernel_sizes: [3, 3, 3]
    source_resblock_dilation_sizes: [[1, 3], [1, 3], [1, 3]]
    f0_predictor: !new:stepvocoder.cosyvoice2.hifigan.f0_predictor.ConvRNNF0Predictor
        cond_channels: 8
"""
BIGVGAN_YAML = """
hift: !new:stepvocoder.cosyvoice2.bigvgan.bigvgan.BigVGAN
    upsample_initial_channel: 16
    upsample_rates: [8, 5, 4, 3]
    upsample_kernel_sizes: [16, 11, 8, 7]
    resblock_kernel_sizes: [3]
    resblock_dilation_sizes: [[1, 3]]
"""


def write_checkpoint(folder: Path, vocoder: HiFTGenerator | BigVGAN | None = None) -> Decoder:
    """Write a checkpoint folder with the public names, and return the decoder it was made from.

    BigVGAN's weight norms are written under their old names, as the public files have them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    flow, vocoder = tiny_flow(), vocoder or tiny_hift()
    is_hift = isinstance(vocoder, HiFTGenerator)
    (folder / "cosyvoice.yaml").write_text(YAML + (HIFT_YAML if is_hift else BIGVGAN_YAML))
    torch.save(flow.state_dict(), folder / "flow.pt")
    state = vocoder.state_dict()
    if not is_hift:
        for new, old in (("original0", "weight_g"), ("original1", "weight_v")):
            state = {k.replace(f"parametrizations.weight.{new}", old): v for k, v in state.items()}
    torch.save(state, folder / "hift.pt")
    return Decoder(flow, vocoder)


class FixedSource:
    """Source noise that no library version changes."""

    def __init__(self, seed: int = 0) -> None:
        self.random = np.random.RandomState(seed)

    def __call__(self, samples: int, harmonics: int) -> Tensor:
        return torch.from_numpy(self.random.standard_normal((samples, harmonics))).float()


def fixed_noise(frames: int, seed: int = 0) -> FlowNoise:
    """Flow noise that no library version changes."""
    drawn = np.random.RandomState(seed).standard_normal((80, frames))
    return FlowNoise(values=torch.from_numpy(drawn))


class GoldenSource:
    """The draws behind the goldens: three per call, of which the second is used."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.RandomState(seed)

    def __call__(self, samples: int, harmonics: int) -> Tensor:
        self.random.rand(1, harmonics)
        noise = self.random.randn(1, samples, harmonics).astype(np.float16)[0]
        self.random.randn(1, samples, 1)
        return torch.from_numpy(noise.astype(np.float32))


class Golden:
    """One tiny checkpoint with its recorded tensors."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.root = need_shared("checkpoints", f"tiny_{kind}")
        self.folder = self.root / "Step-Audio-EditX"

    def load(self, name: str) -> dict[str, npt.NDArray[np.float32]]:
        with np.load(self.root / "goldens" / f"{name}.npz") as data:
            return dict(data)

    def noise(self) -> FlowNoise:
        return FlowNoise(values=torch.from_numpy(self.load("00_cfm_noise")["rand_noise"]))

    def reference(self, prompt_ids: npt.NDArray[np.int64]) -> Reference:
        front = self.load("05_frontend")
        return Reference(prompt_ids[0], front["s3_speech_feat"][0], front["s3_embedding"][0])

    def decoder(self, prompt_dtype: str = "fp32") -> Decoder:
        return Decoder.load(self.folder, prompt_dtype=prompt_dtype)  # type: ignore[arg-type]
