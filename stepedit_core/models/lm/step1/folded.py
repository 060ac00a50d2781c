"""Decode steps of small models on a CPU, as one graph that onnxruntime carries out.

A step of a small model costs more in calls than in arithmetic; here it is one call. What is
constant is multiplied into the matrices: the gains of the norms and the scale of attention;
projections that read one input are one matrix. Results equal the layers' own up to rounding.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from stepedit_core.models.lm.step1.alibi import BlockBias
from stepedit_core.models.lm.step1.network import WIDEST_ON_CPU, StackParts
from stepedit_core.models.lm.step1.onnx_graphs import on_one_core
from stepedit_core.models.lm.step1.prefix import SharedPrefixKV
from stepedit_core.models.lm.step1.step_graph import OUTPUT, step_graph

__all__ = ["FoldedStack", "folded_stack"]

_State = tuple[tuple[int, int], ...]
Floats = npt.NDArray[np.float32]
_HIDDEN = np.finfo(np.float32).min


class FoldedStack:
    """The stack of a float32 model, for one id in each row."""

    def __init__(self, stack: StackParts) -> None:
        """Fold the weights of a stack into a graph; they are copied."""
        config = stack.config
        self.hidden, self.layers = config.hidden_size, config.num_hidden_layers
        self.per_group = config.num_attention_heads // config.num_attention_groups
        self._embedding = stack.embed_tokens.weight.detach()
        self.session = on_one_core(step_graph(stack))  # steps are too small to be shared

    def run(self, ids: Tensor, bias: BlockBias, kv: SharedPrefixKV) -> Tensor:
        """Return the normed hidden states of ids, and keep their keys and values.

        Args:
            ids: int64 ``(rows, 1)``.
            bias: of the step.
            kv: keys and values, with room for one more.

        Returns:
            ``(rows, 1, hidden)``.
        """
        bound = kv.attached
        if not isinstance(bound, _Bound) or bound.stack is not self:
            bound = kv.attached = _Bound(self, kv)
        places = kv.places
        ids = ids[:, 0] if places.rows is None else ids[places.rows, 0]
        torch.index_select(self._embedding, 0, ids, out=bound.given)
        bound.hide(kv.bias_by_place(bias, kv.used + 1), kv.used)
        self.session.run_with_iobinding(bound.binding)
        bound.keep(kv.own.used)
        made = bound.made.clone() if places.place is None else bound.made[places.place]
        return made[:, None]


class _Bound:
    """What the graph reads and writes, as long as keys and values stay where they lie.

    Attributes:
        stack: whose graph.
        binding: of the session's inputs and outputs to memory.
        given: ``(places, hidden)``, embeddings.
        made: likewise, what comes out.
    """

    def __init__(self, stack: FoldedStack, kv: SharedPrefixKV) -> None:
        """Bind all but the bias, whose shape is not known yet."""
        self.stack = stack
        self.binding = stack.session.io_binding()
        own, length = kv.own, kv.length
        layers, blocks, groups, most, size, room = own.keys.shape
        queries = most * stack.per_group
        self._per_group, self._most, self._keys = stack.per_group, most, length + room + 1
        self._inputs: dict[str, npt.NDArray[Any]] = {}
        x, y = (np.zeros((blocks, most, stack.hidden), np.float32) for _ in range(2))
        self.given, self.made = (torch.from_numpy(one).flatten(0, 1) for one in (x, y))
        self._input("x", x)
        self._input("parts", np.array([length, room, 1]))
        self._input("flat", np.array([blocks, groups, queries, room]))
        self._input("each", np.array([blocks, groups, most, stack.per_group, room]))
        self._own = own.keys.numpy(), own.values.numpy()
        shape = (layers, blocks, groups, most, size)
        self._new = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        self._output(OUTPUT, y)
        for layer in range(layers):
            prompt_keys, prompt_values = kv.of_prompts(layer)
            self._input(f"{layer}.prompt_keys", prompt_keys.numpy())
            self._input(f"{layer}.prompt_values", prompt_values.numpy())
            self._input(f"{layer}.own_keys", self._own[0][layer])
            self._input(f"{layer}.own_values", self._own[1][layer])
            self._output(f"{layer}.key", self._new[0][layer])
            self._output(f"{layer}.value", self._new[1][layer])
        self._bias: Floats | None = None
        self._end = 0

    def _input(self, name: str, values: npt.NDArray[Any]) -> None:
        """Bind an input to memory, which must stay where it is."""
        self._inputs[name] = values
        self.binding.bind_cpu_input(name, values)

    def _output(self, name: str, values: Floats) -> None:
        self.binding.bind_output(name, "cpu", 0, np.float32, values.shape, values.ctypes.data)

    def hide(self, bias: Tensor, used: int) -> None:
        """Set the bias: slots that nothing stands in are hidden, the new one comes last.

        Args:
            bias: ``(blocks or 1, groups, most or 1, per_group, used + 1)``.
            used: slots that hold tokens.
        """
        blocks, groups, most, _, _ = bias.shape
        rows = most if self._per_group == 1 else self._most
        shape = (blocks, groups, rows, self._per_group, self._keys)
        if self._bias is None or self._bias.shape != shape or used < self._end:
            self._bias = np.full(shape, _HIDDEN, np.float32)
            self._input("bias", self._bias.reshape(blocks, groups, -1, self._keys))
        given = bias.numpy()
        self._bias[..., :used] = given[..., :used]
        self._bias[..., -1] = given[..., used]
        self._end = used

    def keep(self, slot: int) -> None:
        """Keep the new keys and values in a slot of each row's own."""
        self._own[0][..., slot] = self._new[0]
        self._own[1][..., slot, :] = self._new[1]


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
