"""SANM encoder of the streaming Paraformer (Gao et al. 2022; SAN-M: Gao et al. 2020).

Self-attention with a feed-forward sequential memory (a depthwise convolution over the
values), pre-norm, chunk streaming. Module names follow FunASR, so its weights load as is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stepedit_core.models.tokenizer.linguistic.windows import (
    WindowPlan,
    plan_windows,
    uniform_chunks,
)

__all__ = ["SANMConfig", "SANMEncoder", "sinusoid_positions"]

NORM_EPS = 1e-12


@dataclass(frozen=True)
class SANMConfig:
    """Sizes of the encoder; the defaults are the published ones.

    Attributes:
        input_size: values per low-frame-rate frame.
        output_size: model width.
        attention_heads: heads; must divide ``output_size``.
        linear_units: inner width of the feed-forward part.
        num_blocks: layers.
        kernel_size: taps of the memory convolution.
        sanm_shift: taps by which the convolution's window moves into the past.
        dropout: probability, in training.
    """

    input_size: int = 560
    output_size: int = 512
    attention_heads: int = 4
    linear_units: int = 2_048
    num_blocks: int = 50
    kernel_size: int = 11
    sanm_shift: int = 0
    dropout: float = 0.0

    @property
    def conv_padding(self) -> tuple[int, int]:
        """Zeros to the left and right of the memory convolution."""
        left = (self.kernel_size - 1) // 2 + max(self.sanm_shift, 0)
        return left, self.kernel_size - 1 - left


def sinusoid_positions(positions: Tensor, size: int) -> Tensor:
    """Return position vectors, first half sines, second half cosines.

    Args:
        positions: int, shape ``(n,)``, counted from 1.
        size: even number of values.

    Returns:
        float32, shape ``(n, size)``.
    """
    half = size // 2
    step = math.log(10_000.0) / (half - 1)
    inverse = torch.exp(torch.arange(half, device=positions.device).float() * -step)
    angles = positions.float()[:, None] * inverse
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class SANMAttention(nn.Module):
    """Multi-head attention plus a depthwise memory convolution over its values."""

    def __init__(self, config: SANMConfig, input_size: int) -> None:
        super().__init__()
        size = config.output_size
        self.heads = config.attention_heads
        self.padding = config.conv_padding
        self.linear_q_k_v = nn.Linear(input_size, 3 * size)
        self.linear_out = nn.Linear(size, size)
        self.fsmn_block = nn.Conv1d(size, size, config.kernel_size, groups=size, bias=False)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values, each of shape ``(..., d)``."""
        q, k, v = self.linear_q_k_v(x).chunk(3, dim=-1)
        return q, k, v

    def memory(self, values: Tensor) -> Tensor:
        """Return the memory branch, shape ``(c, w, d)``, of values of the same shape."""
        padded = F.pad(values, (0, 0, *self.padding))
        taps = self.fsmn_block.weight[:, 0].t()
        width = values.shape[1]
        # A handful of shifted sums: for windows of nine frames much faster than Conv1d,
        # which would also need both axes swapped.
        out = values.clone()
        for tap, weight in enumerate(taps):
            out = out.addcmul_(padded[:, tap : tap + width], weight)
        return out

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """Return attention outputs, shape ``(c, w, d)``, before the output projection."""
        q, k, v = (t.reshape(*t.shape[:2], self.heads, -1).transpose(1, 2) for t in (q, k, v))
        out: Tensor = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return out.transpose(1, 2).flatten(2)

    def forward(self, x: Tensor, plan: WindowPlan) -> Tensor:
        """Run all windows; ``x`` has shape ``(c, w, d_in)``, the result ``(c, w, d)``."""
        q, k, v = self.project(x)
        own = v.masked_fill(~plan.inside[..., None], 0.0) if plan.ragged else v
        keys = k.flatten(0, 1)[plan.keys]
        values = v.flatten(0, 1)[plan.keys]
        attended: Tensor = self.linear_out(self.attend(q, keys, values, plan.key_mask))
        return attended + self.memory(own)


class FeedForward(nn.Module):
    """Two linear maps with a ReLU between."""

    def __init__(self, config: SANMConfig) -> None:
        super().__init__()
        self.w_1 = nn.Linear(config.output_size, config.linear_units)
        self.w_2 = nn.Linear(config.linear_units, config.output_size)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map the last axis."""
        hidden: Tensor = self.w_2(self.dropout(F.relu(self.w_1(x))))
        return hidden


class SANMLayer(nn.Module):
    """One pre-norm layer; a layer that changes the width has no residual around attention."""

    def __init__(self, config: SANMConfig, input_size: int) -> None:
        super().__init__()
        self.keeps_width = input_size == config.output_size
        self.norm1 = nn.LayerNorm(input_size, eps=NORM_EPS)
        self.norm2 = nn.LayerNorm(config.output_size, eps=NORM_EPS)
        self.self_attn = SANMAttention(config, input_size)
        self.feed_forward = FeedForward(config)
        self.dropout = nn.Dropout(config.dropout)

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """Add the residuals and the feed-forward part to an attention output."""
        hidden = self.dropout(attended)
        if self.keeps_width:
            hidden = x + hidden
        out: Tensor = hidden + self.dropout(self.feed_forward(self.norm2(hidden)))
        return out

    def forward(self, x: Tensor, plan: WindowPlan) -> Tensor:
        """Run all windows of shape ``(c, w, d_in)``."""
        return self.finish(x, self.self_attn(self.norm1(x), plan))


class SANMEncoder(nn.Module):
    """Chunk-streaming encoder, run over whole utterances in one pass.

    Args:
        config: sizes.
    """

    def __init__(self, config: SANMConfig) -> None:
        super().__init__()
        self.config = config
        sizes = [config.input_size] + [config.output_size] * (config.num_blocks - 1)
        layers = [SANMLayer(config, size) for size in sizes]
        self.encoders0 = nn.ModuleList(layers[:1])
        self.encoders = nn.ModuleList(layers[1:])
        self.after_norm = nn.LayerNorm(config.output_size, eps=NORM_EPS)

    @property
    def layers(self) -> list[SANMLayer]:
        """All layers in order."""
        stack = [*self.encoders0, *self.encoders]
        return [layer for layer in stack if isinstance(layer, SANMLayer)]

    def embed(self, frames: Tensor, positions: Tensor) -> Tensor:
        """Scale frames and add their positions.

        Args:
            frames: shape ``(n, input_size)``.
            positions: int, shape ``(n,)``, from 1 at the start of the utterance.
        """
        vectors = sinusoid_positions(positions, frames.shape[-1]).to(frames.dtype)
        return frames * math.sqrt(self.config.output_size) + vectors

    def forward_packed(self, frames: Tensor, plan: WindowPlan) -> Tensor:
        """Encode utterances laid end to end.

        Args:
            frames: shape ``(n, input_size)``.
            plan: of the same ``n`` frames, on the same device.

        Returns:
            Shape ``(n, output_size)``.
        """
        x = F.pad(self.embed(frames, plan.positions), (0, 0, 1, 0))[plan.inputs]
        for layer in self.layers:
            x = layer(x, plan)
        out: Tensor = self.after_norm(x.flatten(0, 1)[plan.outputs])
        return out

    def forward(
        self,
        frames: Tensor,
        lengths: Tensor,
        chunk_sizes: Sequence[Sequence[int]] | None = None,
    ) -> Tensor:
        """Encode a padded batch as the streaming encoder would.

        Args:
            frames: shape ``(b, t, input_size)``.
            lengths: int, shape ``(b,)``, at most ``t``.
            chunk_sizes: frames per chunk of every utterance; chunks of four if None.

        Returns:
            Shape ``(b, t, output_size)``, zero past each length.
        """
        sizes = chunk_sizes or [uniform_chunks(int(n)) for n in lengths.tolist()]
        plan = plan_windows(sizes).to(frames.device)
        inside = torch.arange(frames.shape[1], device=frames.device) < lengths[:, None].to(
            frames.device
        )
        packed = self.forward_packed(frames[inside], plan)
        out = packed.new_zeros(*frames.shape[:2], self.config.output_size)
        return out.masked_scatter(inside[..., None], packed)
