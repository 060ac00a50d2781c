"""Sizes of the flow, named as in the checkpoint's ``cosyvoice.yaml``."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, model_validator
from torch import nn

from stepedit_core.models.checkpoint.hyperyaml import Component, build
from stepedit_core.models.decoder.checkpoint import BUILDERS
from stepedit_core.models.decoder.flow import CausalMaskedDiffWithXvec
from stepedit_core.models.decoder.reference.model import FACTOR
from stepedit_train.export import entry_of
from stepedit_train.settings import Settings

__all__ = [
    "EncoderSizes",
    "EstimatorSizes",
    "FlowSizes",
]

PACKAGE = "stepvocoder.cosyvoice2"
_VARIANT = {
    "up_scale_factor": FACTOR,
    "input_layer": "linear",
    "pos_enc_layer_type": "rel_pos_espnet",
    "selfattention_layer_type": "rel_selfattn",
    "normalize_before": True,
}
"""What is not chosen: the only variant of the encoder that is built."""


class EncoderSizes(Settings):
    """Sizes of `UpsampleConformerEncoderV2`; two mel frames come of a token row."""

    output_size: int = Field(default=512, ge=4, multiple_of=2)
    """Channels."""
    pre_lookahead_len: int = Field(default=3, ge=0)
    """Token rows of 40 ms that a stream's chunk needs beyond its own."""
    num_blocks: int = Field(default=6, ge=1)
    """Layers over token rows."""
    num_up_blocks: int = Field(default=4, ge=1)
    """Layers over mel frames."""
    up_stride: int = Field(default=2, ge=1)
    """Half the reach of the upsampling convolution, mel frames."""
    attention_heads: int = Field(default=8, ge=1)
    """Attention heads of every layer."""
    linear_units: int = Field(default=2048, ge=1)
    """Hidden units of the feed-forward parts."""
    key_bias: bool = True
    """Whether the projection to keys has a bias."""
    dropout_rate: float = Field(default=0.1, ge=0, lt=1)
    """While training, on embeddings and branches."""

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.output_size % self.attention_heads:
            raise ValueError(
                f"output_size {self.output_size} is not a multiple of attention_heads "
                f"{self.attention_heads}"
            )
        return self


class EstimatorSizes(Settings):
    """Sizes of the `DiT` that estimates the velocity."""

    hidden_size: int = Field(default=512, ge=4)
    """Channels."""
    depth: int = Field(default=16, ge=1)
    """Blocks."""
    num_heads: int = Field(default=8, ge=1)
    """Attention heads of every block."""
    head_dim: int = Field(default=64, ge=1)
    """Channels of a head; heads together may be wider than the blocks."""
    mlp_ratio: float = Field(default=4.0, gt=0)
    """Hidden units of the feed-forward parts, in widths of a block."""


class FlowSizes(Settings):
    """Sizes of `CausalMaskedDiffWithXvec`; the defaults are those of Step-Audio-EditX."""

    input_size: int = Field(default=512, ge=2, multiple_of=2)
    """Width of an embedded token row: two codes of half of it."""
    output_size: int = Field(default=80, ge=1)
    """Mel bins."""
    spk_embed_dim: int = Field(default=192, ge=1)
    """Size of the speaker vector: 192 of CAM++, 256 of Resemblyzer."""
    vocab_size: int = Field(default=5121, ge=5121)
    """Rows of the embedding: 1024 linguistic codes, one for none, 4096 semantic codes."""
    inference_cfg_rate: float = Field(default=0.7, ge=0)
    """Guidance in use; training does not need it."""
    start_from_mean: bool = False
    """Whether the solver starts from noise around the encoder's own prediction of the mel
    (Popov et al., "Grad-TTS", 2021), which takes fewer steps. The public checkpoint does not."""
    aligned_reference: bool = True
    """Whether the reference's mel is laid on its codes in use too, as it is in training. The
    public system resizes it instead."""
    encoder: EncoderSizes = EncoderSizes()
    """Sizes of the token encoder."""
    estimator: EstimatorSizes = EstimatorSizes()
    """Sizes of the velocity estimator."""

    def entry(self) -> Component:
        """Return the entry of ``cosyvoice.yaml``; what the public code lacks, only if it is on."""
        own = ("start_from_mean", "aligned_reference")
        flags: dict[str, Any] = {name: True for name in own if getattr(self, name)}
        codes = {"vocab_size": self.vocab_size, "input_size": self.input_size}
        encoder = self.encoder.model_dump(exclude={"base"})
        estimator = self.estimator.model_dump(exclude={"base"})
        bins = self.output_size
        return _new(
            "flow.flow.CausalMaskedDiffWithXvec",
            input_size=self.input_size,
            output_size=bins,
            spk_embed_dim=self.spk_embed_dim,
            output_type="mel",
            vocab_size=self.vocab_size,
            **flags,
            input_embedding=_new("embedding.dual_codebook.DualCodebookEmbedding", **codes),
            encoder=_new(
                "transformer.upsample_encoder_v2.UpsampleConformerEncoderV2",
                input_size=self.input_size,
                **encoder,
                **_VARIANT,
            ),
            decoder=_new(
                "flow.flow_matching.CausalConditionalCFM",
                inference_cfg_rate=self.inference_cfg_rate,
                estimator=_new(
                    "flow.decoder_dit.DiT", in_channels=4 * bins, out_channels=bins, **estimator
                ),
            ),
        )

    def build(self) -> CausalMaskedDiffWithXvec:
        """Return a network of random weights, built from the entry as a checkpoint's is.

        The estimator begins as adaLN-Zero (Peebles and Xie, 2023): every block passes its input
        on, and the velocity is zero.
        """
        flow: CausalMaskedDiffWithXvec = build(self.entry(), BUILDERS)
        estimator = flow.decoder.estimator
        last: list[nn.Module] = [estimator.final_layer.linear]
        for part in (*estimator.blocks, estimator.final_layer):
            last.append(part.adaLN_modulation[-1])
        for layer in last:
            for weight in layer.parameters():
                nn.init.zeros_(weight)
        return flow


def _new(path: str, **arguments: Any) -> Component:
    return entry_of(f"{PACKAGE}.{path}", arguments)
