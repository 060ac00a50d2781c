"""Model sizes of the speed benchmark, built with random weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from stepedit_core.models.decoder.decoder import Decoder
    from stepedit_core.models.lm.step1.modeling import Step1ForCausalLM
    from stepedit_core.models.tokenizer.linguistic.encoder import SANMEncoder

__all__ = ["FULL", "SIZES", "SMALL", "Sizes", "build_decoder", "build_encoder", "build_model"]


@dataclass(frozen=True)
class Sizes:
    """Sizes of all parts.

    Attributes:
        name: what ``--size`` takes.
        model: changes to the language model's published configuration.
        encoder: changes to the linguistic encoder's.
        flow: width, heads and depth of conformer and DiT.
        vocoder_channels: base channels of HiFT.
    """

    name: str
    model: dict[str, Any]
    encoder: dict[str, Any]
    flow: dict[str, int]
    vocoder_channels: int


FULL = Sizes(
    "full",
    model={},
    encoder={},
    flow={"width": 512, "heads": 8, "blocks": 6, "up": 4, "hidden": 512, "depth": 16},
    vocoder_channels=512,
)
"""The published checkpoint: 3.5 billion parameters in the language model."""
SMALL = Sizes(
    "small",
    model={
        "hidden_size": 256,
        "intermediate_size": 704,
        "num_hidden_layers": 6,
        "num_attention_heads": 8,
        "num_attention_groups": 2,
        "vocab_size": 324 + 5120,
    },
    encoder={"output_size": 192, "attention_heads": 4, "linear_units": 768, "num_blocks": 4},
    flow={"width": 192, "heads": 4, "blocks": 2, "up": 1, "hidden": 192, "depth": 5},
    vocoder_channels=96,
)
"""About the size of a model that a laptop runs in real time."""
SIZES = {sizes.name: sizes for sizes in (FULL, SMALL)}


def build_model(
    sizes: Sizes, device: torch.device, dtype: torch.dtype, seed: int = 0
) -> Step1ForCausalLM:
    """Return a language model with seeded random weights, made in place on the device."""
    import torch

    from stepedit_core.models.lm.step1 import Step1Config, Step1ForCausalLM

    with torch.device("meta"):
        model = Step1ForCausalLM(Step1Config(**sizes.model, torch_dtype=dtype))
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    model.to_empty(device=device)
    generator = torch.Generator(device).manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.02, generator=generator)
            if parameter.ndim == 1:
                parameter.add_(1)
    model.train(False).requires_grad_(False)
    return model


def build_encoder(sizes: Sizes, device: torch.device) -> SANMEncoder:
    """Return a linguistic encoder with seeded random weights."""
    from stepedit_bench.speed.encoder import random_encoder
    from stepedit_core.models.tokenizer.linguistic.encoder import SANMConfig

    return random_encoder(SANMConfig(**sizes.encoder), device=device)


def build_decoder(sizes: Sizes, device: torch.device, *, fold: bool, seed: int = 0) -> Decoder:
    """Return flow and vocoder with seeded random weights.

    Args:
        sizes: which.
        device: where.
        fold: multiply the vocoder's weight norms out, as loading does.
        seed: of the weights; equal seeds give equal weights, folded or not.
    """
    import torch

    from stepedit_core.models.decoder.decoder import Decoder
    from stepedit_core.models.decoder.flow import (
        CausalConditionalCFM,
        CausalMaskedDiffWithXvec,
        DiT,
        DualCodebookEmbedding,
        UpsampleConformerEncoderV2,
    )
    from stepedit_core.models.decoder.vocoder import ConvRNNF0Predictor, HiFTGenerator
    from stepedit_core.models.decoder.vocoder.folding import fold_weight_norm

    s = sizes.flow
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        flow = CausalMaskedDiffWithXvec(
            encoder=UpsampleConformerEncoderV2(
                input_size=s["width"],
                output_size=s["width"],
                num_blocks=s["blocks"],
                num_up_blocks=s["up"],
                attention_heads=s["heads"],
                linear_units=4 * s["width"],
                key_bias=True,
            ),
            decoder=CausalConditionalCFM(
                DiT(
                    in_channels=320,
                    out_channels=80,
                    mlp_ratio=4,
                    depth=s["depth"],
                    num_heads=s["heads"],
                    head_dim=64,
                    hidden_size=s["hidden"],
                )
            ),
            input_embedding=DualCodebookEmbedding(5121, s["width"]),
            input_size=s["width"],
            spk_embed_dim=192,
        )
        vocoder = HiFTGenerator(
            ConvRNNF0Predictor(cond_channels=sizes.vocoder_channels),
            base_channels=sizes.vocoder_channels,
        )
    for part in (flow, vocoder):
        part.to(device).eval().requires_grad_(False)
    if fold:
        fold_weight_norm(vocoder)
    return Decoder(flow, vocoder)
