"""Decode steps of small models on a CPU, in as few operations as they need.

A step of a small model costs more in calls than in arithmetic. Here what is constant is
multiplied into the matrices once: the gains of the norms, their ``sqrt(hidden)``, and the scale of
attention. A column that never changes stands beside the hidden states for the norm's epsilon, so
that a norm is two operations; projections that read one input are one matrix, laid out for few
rows; residual sums are part of the matrix products. Results equal the layers' own up to rounding.
"""

from __future__ import annotations

import math
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stepedit_core.models.lm.step1.alibi import BlockBias
from stepedit_core.models.lm.step1.layers import Step1DecoderLayer
from stepedit_core.models.lm.step1.network import WIDEST_ON_CPU, StackParts
from stepedit_core.models.lm.step1.prefix import SharedPrefixKV

__all__ = ["FoldedStack", "folded_stack"]

_State = tuple[tuple[int, int], ...]


class _Layer(NamedTuple):
    """Matrices ``(in, out)`` of one layer."""

    qkv: Tensor
    out: Tensor
    gate_up: Tensor
    down: Tensor


class FoldedStack:
    """The stack of a float32 model, for one id in each row."""

    def __init__(self, stack: StackParts) -> None:
        """Fold the weights of a stack; they are copied."""
        config = stack.config
        self._hidden, self._groups = config.hidden_size, config.num_attention_groups
        self._head_dim = config.head_dim
        self._root = math.sqrt(config.hidden_size)
        kv_size = self._groups * self._head_dim
        self._sizes = [config.hidden_size, kv_size, kv_size]
        self._embedding = stack.embed_tokens.weight
        with torch.no_grad():
            self._layers = [self._folded(layer) for layer in stack.layers]  # type: ignore[arg-type]
            self._gain = stack.norm.weight * self._root
            floor = self._root * math.sqrt(config.rms_norm_eps)
            self._floor = torch.full((1, 1), floor, dtype=self._embedding.dtype)

    def _folded(self, layer: Step1DecoderLayer) -> _Layer:
        attention, mlp = layer.self_attn, layer.mlp
        query = attention.q_proj.weight * self._head_dim**-0.5
        qkv = torch.cat([query, attention.k_proj.weight, attention.v_proj.weight])
        gate_up = torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight])
        before = layer.input_layernorm.weight * self._root
        between = layer.post_attention_layernorm.weight * self._root
        matrices = (
            qkv * before,
            attention.o_proj.weight,
            gate_up * between,
            mlp.down_proj.weight,
        )
        return _Layer(*(matrix.detach().t().contiguous() for matrix in matrices))

    def run(self, ids: Tensor, bias: BlockBias, kv: SharedPrefixKV) -> Tensor:
        """Return the normed hidden states of ids.

        Args:
            ids: int64 ``(rows, 1)``.
            bias: of the step.
            kv: keys and values.

        Returns:
            ``(rows, 1, hidden)``.
        """
        rows = len(ids)
        known = F.embedding(ids[:, 0], self._embedding)
        wide = torch.cat([known, self._floor.expand(rows, 1)], dim=1)
        x = wide[:, : self._hidden]
        for number, layer in enumerate(self._layers):
            joined = torch.mm(_normed(x, wide), layer.qkv)
            parts: tuple[Tensor, ...] = torch.split(joined, self._sizes, dim=1)
            query, key, value = (part.view(rows, self._groups, -1, 1, self._head_dim)
                                 for part in parts)  # fmt: skip
            out = kv.attend(query, key[:, :, 0], value[:, :, 0], bias, number)
            x.addmm_(out.reshape(rows, -1), layer.out)
            gate, up = torch.mm(_normed(x, wide), layer.gate_up).chunk(2, dim=1)
            x.addmm_(F.silu(gate).mul_(up), layer.down)
        return (_normed(x, wide) * self._gain)[:, None]


def _normed(x: Tensor, wide: Tensor) -> Tensor:
    """Divide rows by their length, which the constant column keeps above zero."""
    length: Tensor = torch.linalg.vector_norm(wide, dim=1, keepdim=True)
    return x / length


_stacks: WeakKeyDictionary[nn.Module, tuple[_State, FoldedStack]] = WeakKeyDictionary()


def folded_stack(stack: StackParts) -> FoldedStack | None:
    """Return the folded stack of a small plain float32 model on a CPU; None for others.

    It is kept until the weights are moved, replaced or changed in place. Under automatic mixed
    precision there is none: its products are made in place, which autocast does not convert.
    """
    if torch.is_autocast_enabled("cpu"):
        return None
    weights = list(stack.parameters())
    if any(one.dtype != torch.float32 or one.device.type != "cpu" for one in weights):
        return None
    if stack.config.hidden_size > WIDEST_ON_CPU or not _is_plain(stack):
        return None
    state = tuple((one.data_ptr(), 0 if one.is_inference() else one._version) for one in weights)
    kept = _stacks.get(stack)
    if kept is None or kept[0] != state:
        kept = (state, FoldedStack(stack))
        _stacks[stack] = kept
    return kept[1]


def _is_plain(stack: StackParts) -> bool:
    """Tell whether all projections are ordinary, neither quantised nor adapted."""
    projections = [one for name, one in stack.named_modules() if name.endswith("_proj")]
    return all(type(one) is nn.Linear for one in projections)
