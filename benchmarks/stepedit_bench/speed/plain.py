"""The plain way of running the language model: transformers' loop, attention as usually written.

What a reader of the paper would write, and what the public model's own file does where its closed
kernel is missing: keys and values are repeated for every query head, and each layer builds the
whole matrix of position biases anew at every step.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stepedit_core.models.lm.step1.alibi import alibi_slopes

if TYPE_CHECKING:
    from stepedit_core.models.lm.step1.modeling import Step1ForCausalLM

__all__ = ["plain_generate", "with_plain_attention"]


class PlainAttention(nn.Module):
    """Grouped-query attention with a causal square-root ALiBi matrix, one head at a time's worth.

    Takes the place of a layer's attention and its weights.
    """

    def __init__(self, attention: Any) -> None:
        """Take over the projections."""
        super().__init__()
        self.layer_idx = attention.layer_idx
        self.groups, self.per_group = attention.groups, attention.per_group
        self.head_dim = attention.head_dim
        self.q_proj: nn.Module = attention.q_proj
        self.k_proj: nn.Module = attention.k_proj
        self.v_proj: nn.Module = attention.v_proj
        self.o_proj: nn.Module = attention.o_proj

    def forward(self, x: Tensor, bias: object, past_key_values: Any = None) -> Tensor:
        """Attend from ``(batch, rows, hidden)``; the stack's own bias is not looked at."""
        batch, rows, _ = x.shape

        def heads(projection: nn.Module, count: int) -> Tensor:
            split: Tensor = projection(x).view(batch, rows, count, self.head_dim)
            return split.transpose(1, 2)

        count = self.groups * self.per_group
        query = heads(self.q_proj, count)
        key, value = heads(self.k_proj, self.groups), heads(self.v_proj, self.groups)
        if past_key_values is not None:
            key, value = past_key_values.update(key, value, self.layer_idx)
        key = key.repeat_interleave(self.per_group, dim=1)
        value = value.repeat_interleave(self.per_group, dim=1)
        length = key.shape[2]
        place = torch.arange(length, device=x.device)
        distance = place[:, None] - place
        slopes = alibi_slopes(count).to(x.device)[:, None, None]
        matrix = -slopes * distance.clamp(min=0).float().sqrt()
        matrix = matrix.masked_fill(distance < 0, -torch.inf).to(x.dtype)
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=matrix[:, -rows:])
        projected: Tensor = self.o_proj(out.transpose(1, 2).reshape(batch, rows, -1))
        return projected


class PlainNorm(nn.Module):
    """The root-mean-square norm in its single steps."""

    def __init__(self, norm: Any) -> None:
        """Take over the gains."""
        super().__init__()
        self.weight, self.eps = norm.weight, norm.eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last axis."""
        factor = torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + self.eps)
        scaled: Tensor = x * factor.to(x.dtype) * self.weight
        return scaled


def with_plain_attention(model: Step1ForCausalLM) -> Step1ForCausalLM:
    """Return a model with the same weights whose layers have the plain attention and norms."""
    plain = copy.copy(model)
    plain._modules = dict(model._modules)
    plain.model = copy.copy(model.model)
    plain.model._modules = dict(model.model._modules)
    layers = []
    for layer in model.model.layers:
        own = copy.copy(layer)
        own._modules = dict(layer._modules)
        own.self_attn = PlainAttention(layer.self_attn)
        own.mlp = copy.copy(layer.mlp)  # joining projections later leaves it as it is
        own.input_layernorm = PlainNorm(layer.input_layernorm)
        own.post_attention_layernorm = PlainNorm(layer.post_attention_layernorm)
        layers.append(own)
    plain.model.layers = nn.ModuleList(layers)
    plain.model.norm = PlainNorm(model.model.norm)
    plain.train(False)
    return plain


def plain_generate(
    model: Step1ForCausalLM, ids: Tensor, new_tokens: int, *, greedy: bool = False
) -> list[int]:
    """Generate with transformers: eager mode, dynamic cache, the whole vocabulary.

    Args:
        model: of `with_plain_attention`.
        ids: int64 ``(1, prompt)``.
        new_tokens: exactly so many.
        greedy: take the likeliest id instead of drawing.
    """
    drawing: dict[str, Any] = (
        {"do_sample": False} if greedy else {"do_sample": True, "temperature": 0.7, "top_k": 50}
    )
    out = model.generate(  # type: ignore[misc,unused-ignore]
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=new_tokens,
        min_new_tokens=new_tokens,
        eos_token_id=None,
        pad_token_id=0,
        **drawing,
    )
    return [int(one) for one in out[0, ids.shape[1] :]]
