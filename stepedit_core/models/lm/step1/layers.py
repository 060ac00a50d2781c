"""The decoder layer of Step1 and its parts."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stepedit_core.models.lm.step1.alibi import BlockBias
from stepedit_core.models.lm.step1.fused import FusedLinear
from stepedit_core.models.lm.step1.prefix import SharedPrefixKV
from stepedit_core.models.lm.step1.sizes import Step1Shape

__all__ = ["Step1Attention", "Step1DecoderLayer", "Step1MLP", "Step1RMSNorm"]


class Step1RMSNorm(nn.Module):
    """Scale by the root mean square, measured in float32 (Zhang and Sennrich 2019)."""

    def __init__(self, size: int, eps: float) -> None:
        """Start with unit gains."""
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last axis; the factor is cast before it multiplies, as in training."""
        is_plain = x.dtype == torch.float32 and x.device.type == "cpu"
        if is_plain and not torch.is_grad_enabled():  # the same operations, in one call
            return F.rms_norm(x, self.weight.shape, self.weight, self.eps)
        factor = torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + self.eps)
        return x * factor.to(x.dtype) * self.weight


class Step1MLP(nn.Module):
    """SiLU-gated feed-forward layer."""

    def __init__(self, config: Step1Shape) -> None:
        """Make the three projections."""
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)
        self.fused: FusedLinear | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(..., hidden)`` to ``(..., hidden)``."""
        weight = None if self.fused is None else self.fused.weight()
        if weight is None:
            gate, up = self.gate_proj(x), self.up_proj(x)
        else:
            gate, up = F.linear(x, weight).chunk(2, dim=-1)
        inner = F.silu(gate)
        # In place where nobody asks for gradients: fresh memory costs a large batch 3 percent.
        inner = inner * up if torch.is_grad_enabled() else inner.mul_(up)
        out: Tensor = self.down_proj(inner)
        return out


class Step1Attention(nn.Module):
    """Grouped-query attention; query head ``h`` reads group ``h // (heads / groups)``."""

    def __init__(self, config: Step1Shape, layer_idx: int) -> None:
        """Make the four projections."""
        super().__init__()
        self.layer_idx = layer_idx
        self.groups = config.num_attention_groups
        self.per_group = config.num_attention_heads // config.num_attention_groups
        self.head_dim = config.head_dim
        kv_size = self.groups * self.head_dim
        self.q_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, kv_size, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, kv_size, bias=False)
        self.o_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=False)
        self.fused: FusedLinear | None = None
        self._sizes = (config.hidden_size, kv_size, kv_size)

    def forward(
        self, x: Tensor, bias: BlockBias, past_key_values: Any = None, last: int | None = None
    ) -> Tensor:
        """Attend from ``(batch, rows, hidden)`` to the cached and the new keys.

        Args:
            x: the rows.
            bias: of all rows.
            past_key_values: what is cached, which gets the keys and values of all rows.
            last: attend from so many of the last rows alone, at least one; None: from all.

        Returns:
            ``(batch, last or rows, hidden)``.
        """
        batch, rows, _ = x.shape
        asking = rows if last is None else last
        query, key, value = self._projected(x, asking)
        query = query.view(batch, asking, self.groups, self.per_group, self.head_dim)
        query = query.permute(0, 2, 3, 1, 4)  # (batch, groups, per_group, rows, head_dim)
        key = key.view(batch, rows, self.groups, self.head_dim).transpose(1, 2)
        value = value.view(batch, rows, self.groups, self.head_dim).transpose(1, 2)
        if isinstance(past_key_values, SharedPrefixKV):
            query = query * self.head_dim**-0.5
            out = past_key_values.attend(query, key, value, bias, self.layer_idx)
        else:
            if past_key_values is not None:
                key, value = past_key_values.update(key, value, self.layer_idx)
            out = self._attend(query, key, value, bias, rows)
        out = out.permute(0, 3, 1, 2, 4).reshape(batch, asking, -1)
        projected: Tensor = self.o_proj(out)
        return projected

    def _projected(self, x: Tensor, asking: int) -> tuple[Tensor, ...]:
        """Return queries, keys and values, ``(batch, rows, heads * head_dim)`` each.

        Queries are those of the last ``asking`` rows.
        """
        weight = None if self.fused is None else self.fused.weight()
        rows = x.shape[1]
        if weight is None:
            return self.q_proj(x[:, rows - asking :]), self.k_proj(x), self.v_proj(x)
        if asking == rows:
            parts: tuple[Tensor, ...] = torch.split(F.linear(x, weight), list(self._sizes), dim=-1)
            return parts
        of_query, *of_both = self._sizes
        key, value = torch.split(F.linear(x, weight[of_query:]), of_both, dim=-1)
        return F.linear(x[:, rows - asking :], weight[:of_query]), key, value

    def _attend(
        self, query: Tensor, key: Tensor, value: Tensor, bias: BlockBias, of: int
    ) -> Tensor:
        """Return ``(batch, groups, per_group, rows, head_dim)``, in blocks of rows if long.

        Args:
            query: of the last rows.
            key: all keys.
            value: all values.
            bias: of all rows.
            of: how many rows there are.
        """
        rows, keys = query.shape[3], key.shape[2]
        if rows < of:
            return self._fold(query, key, value, bias.block(of - rows, of, keys))
        step = bias.block_rows(keys)
        if rows <= step:
            return self._fold(query, key, value, bias.whole(keys))
        blocks = []
        for first in range(0, rows, step):
            last = min(first + step, rows)
            # Later keys are hidden from these rows: leave them out where the slot is known.
            seen = min(keys, bias.start + last) if isinstance(bias.start, int) else keys
            part = bias.block(first, last, seen)
            blocks.append(
                self._fold(query[:, :, :, first:last], key[:, :, :seen], value[:, :, :seen], part)
            )
        return torch.cat(blocks, dim=3)

    @staticmethod
    def _fold(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
        batch, groups, per_group, rows, size = query.shape
        folded = query.reshape(batch, groups, per_group * rows, size)
        out = F.scaled_dot_product_attention(folded, key, value, attn_mask=bias)
        return out.view(batch, groups, per_group, rows, size)


class Step1DecoderLayer(nn.Module):
    """One decoder layer: attention and feed-forward, each behind an RMS norm."""

    def __init__(self, config: Step1Shape, layer_idx: int) -> None:
        """Make the two blocks and their norms."""
        super().__init__()
        self.input_layernorm = Step1RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Step1Attention(config, layer_idx)
        self.post_attention_layernorm = Step1RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = Step1MLP(config)

    def forward(
        self, x: Tensor, bias: BlockBias, past_key_values: Any = None, last: int | None = None
    ) -> Tensor:
        """Map ``(batch, rows, hidden)`` to the same shape, or to that of the last rows alone."""
        asking = {} if last is None else {"last": last}  # other attentions know nothing of it
        read = self.self_attn(self.input_layernorm(x), bias, past_key_values, **asking)
        x = (x if last is None else x[:, x.shape[1] - last :]) + read
        out: Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return out
