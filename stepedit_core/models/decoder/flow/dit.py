"""Diffusion transformer that estimates the flow's velocity.

Peebles and Xie, "Scalable Diffusion Models with Transformers", 2023 (adaLN), with a third branch
of two causal convolutions per block. Attention has no positions; the convolutions give the order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["DiT", "DiTCache"]


@dataclass
class BlockCache:
    """One block's past: keys and values (newest chunk first) and both convolutions' inputs."""

    keys: Tensor | None = None
    values: Tensor | None = None
    conv: list[Tensor | None] = field(default_factory=lambda: [None, None])

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Put a new chunk in front of what is cached."""
        if self.keys is not None and self.values is not None:
            keys = torch.cat([keys, self.keys], dim=2)
            values = torch.cat([values, self.values], dim=2)
        self.keys, self.values = keys, values
        return keys, values

    def shorten(self, newest: int, oldest: int) -> None:
        """Keep the first ``newest`` and the last ``oldest`` columns."""
        if self.keys is not None and self.values is not None:
            end = self.keys.shape[2] - oldest
            self.keys, self.values = (
                torch.cat([x[:, :, :newest], x[:, :, end:]], dim=2)
                for x in (self.keys, self.values)
            )


@dataclass
class DiTCache:
    """A stream's past of the whole transformer at one solver step."""

    blocks: list[BlockCache]

    @property
    def frames(self) -> int:
        """Number of cached frames."""
        keys = self.blocks[0].keys if self.blocks else None
        return 0 if keys is None else keys.shape[2]

    def shorten(self, newest: int, oldest: int) -> None:
        """Shorten every block's past once it is longer than both parts together."""
        if self.frames > newest + oldest:
            for block in self.blocks:
                block.shorten(newest, oldest)


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Scale and shift ``(batch, time, width)`` by ``(batch or 1, 1, width)``."""
    return x * (1 + scale) + shift


class TimestepEmbedder(nn.Module):
    """Sinusoid of the solver's time, then a small network."""

    def __init__(self, width: int, frequencies: int = 256) -> None:
        """Make the network."""
        super().__init__()
        self.frequencies = frequencies
        self.mlp = nn.Sequential(nn.Linear(frequencies, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Tensor) -> Tensor:
        """Embed times in 0..1, float ``(batch,)``, as ``(batch, width)``."""
        half = self.frequencies // 2
        rate = torch.exp(
            -math.log(10000.0) * torch.arange(half, dtype=torch.float32, device=t.device) / half
        )
        angle = (t.float() * 1000)[:, None] * rate
        waves = torch.cat([torch.cos(angle), torch.sin(angle)], dim=-1)
        return self.mlp(waves.to(next(self.mlp.parameters()).dtype))  # type: ignore[no-any-return]


class HeadNormAttention(nn.Module):
    """Full attention with a layer norm per head on queries and keys."""

    def __init__(self, width: int, heads: int, head_dim: int) -> None:
        """Make the projections; ``heads * head_dim`` may differ from ``width``."""
        super().__init__()
        self.heads, self.head_dim = heads, head_dim
        inner = heads * head_dim
        self.to_q = nn.Linear(width, inner)
        self.to_k = nn.Linear(width, inner)
        self.to_v = nn.Linear(width, inner)
        self.q_norm = nn.LayerNorm(head_dim)
        self.k_norm = nn.LayerNorm(head_dim)
        self.proj = nn.Linear(inner, width)

    def forward(self, x: Tensor, mask: Tensor | None, cache: BlockCache | None) -> Tensor:
        """Attend over the frames given and cached; ``mask`` is bool ``(batch, 1, 1, time)``."""
        query, key, value = (
            linear(x).reshape(*x.shape[:2], self.heads, self.head_dim).transpose(1, 2)
            for linear in (self.to_q, self.to_k, self.to_v)
        )
        query, key = self.q_norm(query), self.k_norm(key)
        if cache is not None:
            key, value = cache.extend(key, value)
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.proj(out.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class CausalConvBranch(nn.Module):
    """Causal convolution, layer norm, Mish, causal convolution.

    The three layers sit at places 1, 3 and 6 of ``block``: the names in the checkpoint.
    """

    def __init__(self, width: int, kernel: int = 3) -> None:
        """Make the layers."""
        super().__init__()
        self.past = kernel - 1
        self.block = nn.ModuleDict(
            {
                "1": nn.Conv1d(width, width, kernel),
                "3": nn.LayerNorm(width),
                "6": nn.Conv1d(width, width, kernel),
            }
        )

    def _conv(self, x: Tensor, place: str, cache: BlockCache | None, slot: int) -> Tensor:
        """Convolve ``(batch, time, width)`` over the past two frames and the present one."""
        x = x.transpose(1, 2)
        past = None if cache is None else cache.conv[slot]
        x = F.pad(x, (self.past, 0)) if past is None else torch.cat([past, x], dim=2)
        if cache is not None:
            cache.conv[slot] = x[:, :, -self.past :]
        return self.block[place](x).transpose(1, 2)  # type: ignore[no-any-return]

    def forward(self, x: Tensor, cache: BlockCache | None) -> Tensor:
        """Map ``(batch, time, width)`` to the same shape."""
        x = F.mish(self.block["3"](self._conv(x, "1", cache, 0)))
        return self._conv(x, "6", cache, 1)


class Mlp(nn.Module):
    """Two linear layers with the tanh form of GELU."""

    def __init__(self, width: int, hidden: int) -> None:
        """Make both layers."""
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(..., width)`` to the same shape."""
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))  # type: ignore[no-any-return]


class DiTBlock(nn.Module):
    """Attention, convolution and feed-forward, in that order, each modulated by the time."""

    def __init__(self, width: int, heads: int, head_dim: int, mlp_ratio: float) -> None:
        """Make the three branches and their modulation."""
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (
            nn.LayerNorm(width, elementwise_affine=False, eps=1e-6) for _ in range(3)
        )
        self.attn = HeadNormAttention(width, heads, head_dim)
        self.conv = CausalConvBranch(width)
        self.mlp = Mlp(width, int(width * mlp_ratio))
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 9 * width))

    def forward(
        self, x: Tensor, time: Tensor, mask: Tensor | None, cache: BlockCache | None
    ) -> Tensor:
        """Map ``(batch, frames, width)`` to the same shape; ``time`` is ``(batch or 1, width)``."""
        parts = self.adaLN_modulation(time).unsqueeze(1).chunk(9, dim=-1)
        shift, scale, gate = parts[0:3]
        x = x + gate * self.attn(modulate(self.norm1(x), shift, scale), mask, cache)
        shift, scale, gate = parts[6:9]
        x = x + gate * self.conv(modulate(self.norm3(x), shift, scale), cache)
        shift, scale, gate = parts[3:6]
        return x + gate * self.mlp(modulate(self.norm2(x), shift, scale))  # type: ignore[no-any-return]


class FinalLayer(nn.Module):
    """Modulated norm and the projection to mel bins."""

    def __init__(self, width: int, channels: int) -> None:
        """Make the layers."""
        super().__init__()
        self.norm_final = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.linear = nn.Linear(width, channels)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Map ``(batch, frames, width)`` to ``(batch, frames, channels)``."""
        shift, scale = self.adaLN_modulation(time).unsqueeze(1).chunk(2, dim=-1)
        return self.linear(modulate(self.norm_final(x), shift, scale))  # type: ignore[no-any-return]


class DiT(nn.Module):
    """Velocity estimator; names and arguments follow the checkpoint's configuration."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        mlp_ratio: float = 4.0,
        depth: int = 16,
        num_heads: int = 8,
        head_dim: int = 64,
        hidden_size: int = 512,
    ) -> None:
        """Make the transformer; ``in_channels`` counts noise, mean, speaker and condition."""
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.t_embedder = TimestepEmbedder(hidden_size)
        self.in_proj = nn.Linear(in_channels, hidden_size)
        self.blocks = nn.ModuleList(
            DiTBlock(hidden_size, num_heads, head_dim, mlp_ratio) for _ in range(depth)
        )
        self.final_layer = FinalLayer(hidden_size, out_channels)

    def empty_cache(self) -> DiTCache:
        """Return the cache of a stream that has not begun."""
        return DiTCache([BlockCache() for _ in self.blocks])

    def forward(
        self,
        x: Tensor,
        mu: Tensor,
        t: Tensor,
        speaker: Tensor,
        cond: Tensor,
        mask: Tensor | None = None,
        cache: DiTCache | None = None,
    ) -> Tensor:
        """Estimate the velocity.

        Args:
            x: noisy mel, ``(batch, out_channels, frames)``.
            mu: encoder output, same shape.
            t: solver time 0..1, ``(batch,)``, or ``(1,)`` for all.
            speaker: projected speaker vector, ``(batch, out_channels)``.
            cond: prompt mel, then zeros, same shape as ``x``.
            mask: bool ``(batch, frames)``, true where a frame is real; None for all.
            cache: a stream's past, extended in place.

        Returns:
            Same shape as ``x``.
        """
        frames = x.shape[2]
        joined = torch.cat([x, mu, speaker.unsqueeze(2).expand(-1, -1, frames), cond], dim=1)
        hidden = self.in_proj(joined.transpose(1, 2))
        time = self.t_embedder(t)
        key_mask = None if mask is None else mask[:, None, None, :]
        for index, block in enumerate(self.blocks):
            hidden = block(hidden, time, key_mask, None if cache is None else cache.blocks[index])
        return self.final_layer(hidden, time).transpose(1, 2)  # type: ignore[no-any-return]
