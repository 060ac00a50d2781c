"""Conformer layers with relative positions, without convolution and macaron parts.

Relative-position attention: Dai et al., "Transformer-XL", 2019, in the bidirectional form of
ESPnet. Positions enter only as distances, so a cache of earlier keys and values and a left-out
past both work without renumbering.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["ConformerLayer", "LayerCache", "LinearEmbed", "RelativePositions"]


@dataclass
class LayerCache:
    """Keys and values of earlier frames of one layer, each ``(batch, heads, time, head_dim)``."""

    keys: Tensor | None = None
    values: Tensor | None = None

    def extend(self, keys: Tensor, values: Tensor, limit: int | None) -> tuple[Tensor, Tensor]:
        """Append new frames, keep the last ``limit`` for next time, and return all of them."""
        if self.keys is not None and self.values is not None:
            keys = torch.cat([self.keys, keys], dim=2)
            values = torch.cat([self.values, values], dim=2)
        start = 0 if limit is None else max(keys.shape[2] - limit, 0)
        self.keys, self.values = keys[:, :, start:], values[:, :, start:]
        return keys, values

    @property
    def frames(self) -> int:
        """Number of cached frames."""
        return 0 if self.keys is None else self.keys.shape[2]


@dataclass
class RelativePositions:
    """Sinusoids of distances, made on demand and kept per device and dtype.

    The public table is built for 5000 frames; this one has no end.
    """

    width: int
    _tables: dict[tuple[torch.device, torch.dtype], Tensor] = field(default_factory=dict)

    def __call__(self, queries: int, keys: int, like: Tensor) -> Tensor:
        """Return the encodings of the distances ``keys - 1`` down to ``-(queries - 1)``.

        The last query stands at the last key. Sine and cosine are interleaved.

        Returns:
            ``like``'s dtype and device, shape ``(keys + queries - 1, width)``.
        """
        reach = max(queries, keys)
        table = self._tables.get((like.device, like.dtype))
        if table is None or len(table) < 2 * reach - 1:
            with torch.inference_mode(False):  # training may use what generating has made
                table = self._make(max(reach, 1024)).to(device=like.device, dtype=like.dtype)
            self._tables[like.device, like.dtype] = table
        zero = len(table) // 2
        return table[zero - (keys - 1) : zero + queries]

    def _make(self, reach: int) -> Tensor:
        """Make the table of distances ``reach - 1`` down to ``-(reach - 1)``."""
        distance = torch.arange(reach - 1, -reach, -1, dtype=torch.float32).unsqueeze(1)
        rate = torch.exp(
            torch.arange(0, self.width, 2, dtype=torch.float32) * -(math.log(10000.0) / self.width)
        )
        return torch.stack([torch.sin(distance * rate), torch.cos(distance * rate)], -1).flatten(1)


class RelativeAttention(nn.Module):
    """Multi-head attention with a learned bias per distance."""

    def __init__(self, width: int, heads: int, key_bias: bool) -> None:
        """Make the projections; ``width`` must be a multiple of ``heads``."""
        super().__init__()
        if width % heads:
            raise ValueError(f"output_size {width} is not a multiple of attention_heads {heads}")
        self.heads, self.head_dim = heads, width // heads
        self.linear_q = nn.Linear(width, width)
        self.linear_k = nn.Linear(width, width, bias=key_bias)
        self.linear_v = nn.Linear(width, width)
        self.linear_out = nn.Linear(width, width)
        self.linear_pos = nn.Linear(width, width, bias=False)
        self.pos_bias_u = nn.Parameter(torch.zeros(heads, self.head_dim))
        self.pos_bias_v = nn.Parameter(torch.zeros(heads, self.head_dim))

    def _split(self, x: Tensor) -> Tensor:
        """Reshape ``(batch, time, width)`` to ``(batch, heads, time, head_dim)``."""
        return x.reshape(*x.shape[:-1], self.heads, self.head_dim).transpose(1, 2)

    def forward(
        self,
        x: Tensor,
        positions: Tensor,
        key_mask: Tensor | None,
        cache: LayerCache | None,
        limit: int | None,
    ) -> Tensor:
        """Attend.

        Args:
            x: ``(batch, queries, width)``.
            positions: encodings of `RelativePositions` for these queries and all keys.
            key_mask: bool ``(batch, 1, 1, keys)``, true where a key is real; None for all.
            cache: earlier keys and values; extended in place.
            limit: frames kept in the cache.

        Returns:
            ``(batch, queries, width)``.
        """
        query, key, value = map(self._split, (self.linear_q(x), self.linear_k(x), self.linear_v(x)))
        if cache is not None:
            key, value = cache.extend(key, value, limit)
        encoded = self._split(self.linear_pos(positions).unsqueeze(0))
        by_distance = (query + self.pos_bias_v.unsqueeze(1)) @ encoded.transpose(2, 3)
        bias = _shift(by_distance, key.shape[2]) / math.sqrt(self.head_dim)
        if key_mask is not None:
            bias = bias.masked_fill(~key_mask, -math.inf)
        content = query + self.pos_bias_u.unsqueeze(1)
        out = F.scaled_dot_product_attention(content, key, value, attn_mask=bias)
        return self.linear_out(out.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


def _shift(scores: Tensor, keys: int) -> Tensor:
    """Turn scores by distance into scores by key.

    Row ``t`` of the input starts at the largest distance; key ``s`` wants column
    ``queries - 1 - t + s``. Padding one column and reading with a row length one shorter does it.
    """
    batch, heads, queries, distances = scores.shape
    padded = F.pad(scores, (1, 0)).view(batch, heads, distances + 1, queries)
    return padded[:, :, 1:].reshape(batch, heads, queries, distances)[..., :keys]


class FeedForward(nn.Module):
    """Two linear layers with SiLU between."""

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        """Make both layers."""
        super().__init__()
        self.w_1 = nn.Linear(width, hidden)
        self.w_2 = nn.Linear(hidden, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(..., width)`` to the same shape."""
        return self.w_2(self.dropout(F.silu(self.w_1(x))))  # type: ignore[no-any-return]


class ConformerLayer(nn.Module):
    """Pre-norm attention and feed-forward, both residual."""

    def __init__(self, width: int, heads: int, hidden: int, key_bias: bool, dropout: float) -> None:
        """Make the two branches; the norms use an epsilon of 1e-12."""
        super().__init__()
        self.self_attn = RelativeAttention(width, heads, key_bias)
        self.feed_forward = FeedForward(width, hidden, dropout)
        self.norm_mha = nn.LayerNorm(width, eps=1e-12)
        self.norm_ff = nn.LayerNorm(width, eps=1e-12)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: Tensor,
        positions: Tensor,
        key_mask: Tensor | None = None,
        cache: LayerCache | None = None,
        limit: int | None = None,
    ) -> Tensor:
        """Map ``(batch, time, width)`` to the same shape; arguments as in the attention."""
        attended = self.self_attn(self.norm_mha(x), positions, key_mask, cache, limit)
        x = x + self.dropout(attended)
        return x + self.dropout(self.feed_forward(self.norm_ff(x)))  # type: ignore[no-any-return]


class LinearEmbed(nn.Module):
    """Linear layer, layer norm and a factor of ``sqrt(width)``."""

    def __init__(self, width_in: int, width: int, dropout: float) -> None:
        """Make the layers."""
        super().__init__()
        self.out = nn.Sequential(
            nn.Linear(width_in, width), nn.LayerNorm(width, eps=1e-5), nn.Dropout(dropout)
        )
        self.scale = math.sqrt(width)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, time, width_in)`` to ``(batch, time, width)``."""
        return self.out(x) * self.scale  # type: ignore[no-any-return]
