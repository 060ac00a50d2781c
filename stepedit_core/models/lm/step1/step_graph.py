"""The graph of one decode step of a small model.

It is given embeddings, biases, and what is kept of keys and values; it gives normed hidden states
and each layer's new key and value. Rows lie by place, see ``Places``. Axes below: B blocks, G
groups, M places of a block, P query heads of a group, D size of a head.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from stepedit_core.models.lm.step1.onnx_graphs import CONTRIB, GraphWriter

if TYPE_CHECKING:
    from stepedit_core.models.lm.step1.layers import Step1DecoderLayer
    from stepedit_core.models.lm.step1.network import StackParts

__all__ = ["OUTPUT", "step_graph"]

OUTPUT = "hidden"
_NORM, _NORM_OF_SUM = "SimplifiedLayerNormalization", "SkipSimplifiedLayerNormalization"


def step_graph(stack: StackParts) -> bytes:
    """Return the graph of a stack, with its weights.

    Inputs: ``x`` ``(B, M, hidden)``; ``bias`` ``(B or 1, G, M * P or P, keys)``, the keys being
    those of the prompts, those that rows have of their own, and the new one; ``parts``, how many
    of each; ``flat`` and ``each``, the sizes of the scores of a row's own, ``(B, G, M * P, keys)``
    and ``(B, G, M, P, keys)``. Of each layer, by number: ``0.prompt_keys`` ``(B, G, D, keys)``,
    ``0.prompt_values`` ``(B, G, keys, D)``, ``0.own_keys`` ``(B, G, M, D, keys)``,
    ``0.own_values`` ``(B, G, M, keys, D)``.

    Outputs: ``hidden`` as ``x``; ``0.key`` and ``0.value``, ``(B, G, M, D)``.
    """
    config = stack.config
    groups, size = config.num_attention_groups, config.head_dim
    per_group = config.num_attention_heads // groups
    graph = GraphWriter()
    for name, sizes in (
        ("by_head", [0, 0, groups * (per_group + 2), size]),
        ("by_group", [0, groups, per_group, -1, size]),
        ("for_each", [0, 0, -1, 1, size]),
        ("folded", [0, groups, -1, size]),
        ("unfolded", [0, 0, -1, per_group, size]),
        ("folded_new", [0, 0, -1, 1]),
        ("unfolded_new", [0, 0, -1, per_group, 1]),
        ("by_place", [0, 0, config.hidden_size]),
        ("projections", [groups * per_group, groups, groups]),
        ("halves", [config.intermediate_size] * 2),
        ("last", [-1]),
    ):
        graph.constant(name, np.array(sizes, np.int64))
    graph.constant("ones", np.ones(config.hidden_size, np.float32))
    graph.constant("gain", _floats(stack.norm.weight))
    x = graph.takes("x", 3)
    graph.takes("bias", 4)
    for name in ("parts", "flat", "each"):
        graph.takes(name, 1, np.int64)
    epsilon = float(config.rms_norm_eps)
    normed = graph.do(_NORM, [x, "ones"], "first", axis=-1, epsilon=epsilon)
    layers: list[Step1DecoderLayer] = list(stack.layers)  # type: ignore[arg-type]
    for number, layer in enumerate(layers):
        at, is_last = f"{number}.", number + 1 == len(layers)
        attention, mlp = layer.self_attn, layer.mlp
        query = attention.q_proj.weight * size**-0.5
        qkv = torch.cat([query, attention.k_proj.weight, attention.v_proj.weight])
        gate_up = torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight])
        joined = _product(graph, normed, qkv * layer.input_layernorm.weight, at + "qkv")
        heads = _attention(graph, joined, at, per_group)
        read = _product(graph, heads, attention.o_proj.weight, at + "out")
        normed = graph.do(_NORM_OF_SUM, [x, read, "ones"],
                          [at + "between", "", "", at + "x"], CONTRIB, epsilon=epsilon)  # fmt: skip
        both = _product(graph, normed, gate_up * layer.post_attention_layernorm.weight,
                        at + "gate_up")  # fmt: skip
        graph.do("Split", [both, "halves"], [at + "gate", at + "up"], axis=2)
        graph.do("Sigmoid", [at + "gate"], at + "sigmoid")
        graph.do("Mul", [at + "gate", at + "sigmoid"], at + "silu")
        inner = graph.do("Mul", [at + "silu", at + "up"], at + "inner")
        made = _product(graph, inner, mlp.down_proj.weight, at + "down")
        wanted = [OUTPUT] if is_last else [at + "normed", "", "", at + "end"]
        normed = graph.do(_NORM_OF_SUM, [at + "x", made, "gain" if is_last else "ones"],
                          wanted, CONTRIB, epsilon=epsilon)  # fmt: skip
        x = at + "end"
    graph.gives(OUTPUT, 3)
    return graph.to_bytes()


def _floats(weight: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return weight.detach().float().numpy()


def _product(graph: GraphWriter, x: str, weight: Tensor, name: str) -> str:
    """Multiply by a weight ``(out, in)``."""
    graph.constant(name + ".weight", _floats(weight.t()))
    return graph.do("MatMul", [x, name + ".weight"], name)


def _attention(graph: GraphWriter, joined: str, at: str, per_group: int) -> str:
    """Attend to the prompts, to what rows have of their own, and to the new key."""
    for name in ("prompt_keys", "prompt_values"):
        graph.takes(at + name, 4)
    for name in ("own_keys", "own_values"):
        graph.takes(at + name, 5)
    by_row = graph.do("Reshape", [joined, "by_head"], at + "by_row")
    by_head = graph.do("Transpose", [by_row], at + "by_head", perm=[0, 2, 1, 3])
    parts = [at + part for part in ("query.by_head", "key", "value")]
    query, key, value = parts
    graph.do("Split", [by_head, "projections"], parts, axis=1)
    graph.gives(key, 4)
    graph.gives(value, 4)
    if per_group == 1:  # axis P is not needed where the arithmetic is the same without
        folded = asking = query
        query = graph.do("Reshape", [query, "for_each"], at + "query")
    else:
        grouped = graph.do("Reshape", [query, "by_group"], at + "query.by_group")
        query = graph.do("Transpose", [grouped], at + "query", perm=[0, 1, 3, 2, 4])
        folded = graph.do("Reshape", [query, "folded"], at + "query.folded")
        asking = query
        key, value = (graph.do("Reshape", [one, "for_each"], one + ".for_each")
                      for one in (key, value))  # fmt: skip
    there = graph.do("MatMul", [folded, at + "prompt_keys"], at + "there")
    here = graph.do("MatMul", [query, at + "own_keys"], at + "here.unfolded")
    here = graph.do("Reshape", [here, "flat"], at + "here")
    new = graph.do("Mul", [asking, key], at + "new.products")
    new = graph.do("ReduceSum", [new, "last"], at + "new.unfolded", keepdims=1)
    if per_group > 1:
        new = graph.do("Reshape", [new, "folded_new"], at + "new")
    scores = graph.do("Concat", [there, here, new], at + "scores", axis=3)
    biased = graph.do("Add", [scores, "bias"], at + "biased")
    weights = graph.do("Softmax", [biased], at + "weights", axis=-1)
    graph.do("Split", [weights, "parts"], [f"{at}weights.{part}" for part in "012"], axis=3)
    there = graph.do("MatMul", [at + "weights.0", at + "prompt_values"], at + "read.there")
    here = graph.do("Reshape", [at + "weights.1", "each"], at + "weights.here")
    here = graph.do("MatMul", [here, at + "own_values"], at + "read.here.unfolded")
    here = graph.do("Reshape", [here, "folded"], at + "read.here")
    new = at + "weights.2"
    if per_group > 1:
        new = graph.do("Reshape", [new, "unfolded_new"], at + "weights.new")
    new = graph.do("Mul", [new, value], at + "read.new")
    if per_group > 1:
        new = graph.do("Reshape", [new, "folded"], at + "read.new.folded")
    own = graph.do("Add", [here, new], at + "read.own")
    read = graph.do("Add", [there, own], at + "read")
    if per_group > 1:
        read = graph.do("Reshape", [read, "unfolded"], at + "read.unfolded")
    turned = [0, 2, 1, 3] if per_group == 1 else [0, 2, 1, 3, 4]
    read = graph.do("Transpose", [read], at + "read.by_row", perm=turned)
    return graph.do("Reshape", [read, "by_place"], at + "read.by_place")
