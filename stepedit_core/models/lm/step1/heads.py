"""The output head, or the part of it that a step needs."""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stepedit_core.models.lm.step1.network import WIDEST_ON_CPU, CausalLM
from stepedit_core.models.lm.step1.onnx_graphs import GraphWriter, on_one_core

__all__ = ["Head", "PartHeads", "audio_head", "columns_of", "full_head"]

Head = Callable[[Tensor], Tensor]


def full_head(model: CausalLM) -> Head:
    """Return the output head over the whole vocabulary."""
    head: Head = model.lm_head
    return head


def audio_head(model: CausalLM, audio_base: int, count: int, eot: int) -> Head:
    """Return the output head over ``count`` audio ids and, last, the end of turn.

    Only these rows of the matrix are read: in the public vocabulary 7 percent of it.
    """
    head = model.lm_head
    if type(head) is not nn.Linear:  # an adapter or quantised head: ask it for everything
        return lambda x: _select(head(x), audio_base, count, eot)
    audio, end = head.weight[audio_base : audio_base + count], head.weight[eot : eot + 1]
    return lambda x: torch.cat([F.linear(x, audio), F.linear(x, end)], dim=-1)


class PartHeads:
    """The output head over the audio ids that a step allows, and the end of turn.

    Rows of a batch stand at the same place of a group, so a step needs one codebook's columns.
    """

    def __init__(self, model: CausalLM, audio_base: int, count: int, eot: int) -> None:
        """Take the rows of the matrix; a quantised or adapted head gives all that it has."""
        head = model.lm_head
        self._whole = audio_head(model, audio_base, count, eot)
        self._base, self._eot = audio_base, eot
        self._head = head if type(head) is nn.Linear else None

    def of(self, first: int, stop: int, with_end: bool) -> Head:
        """Return the head over columns ``first`` to before ``stop`` of the audio ids.

        Args:
            first: index of the first one.
            stop: index after the last one.
            with_end: whether the end of turn follows as the last column.
        """
        if self._head is None:
            return lambda x: columns_of(self._whole(x), first, stop, with_end)
        base, end = self._base, self._eot if with_end else None
        product = _product(self._head, base + first, base + stop, end)
        if product is not None:
            return product
        rows = _rows(self._head, base + first, base + stop, end)
        return lambda x: F.linear(x, rows)


def columns_of(logits: Tensor, first: int, stop: int, with_end: bool) -> Tensor:
    """Return some columns of what ``audio_head`` gives; arguments as of ``PartHeads.of``."""
    audio = logits[..., first:stop]
    return torch.cat([audio, logits[..., -1:]], dim=-1) if with_end else audio


def _select(logits: Tensor, audio_base: int, count: int, eot: int) -> Tensor:
    audio = logits[..., audio_base : audio_base + count]
    return torch.cat([audio, logits[..., eot : eot + 1]], dim=-1)


def _rows(head: nn.Linear, first: int, stop: int, end: int | None) -> Tensor:
    """Return rows of the matrix, and one more."""
    audio = head.weight[first:stop]
    return audio if end is None else torch.cat([audio, head.weight[end : end + 1]])


_products: WeakKeyDictionary[nn.Module, tuple[tuple[int, int], dict[object, Head]]] = (
    WeakKeyDictionary()
)


def _product(head: nn.Linear, first: int, stop: int, end: int | None) -> Head | None:
    """Return the product with what `_rows` gives, for small models on a CPU; None for others.

    By onnxruntime, which keeps the matrix as its kernels read it, few rows are multiplied up to
    twice as fast. It is kept until the weights change.
    """
    weight = head.weight
    if weight.device.type != "cpu" or weight.dtype != torch.float32:
        return None
    if weight.shape[1] > WIDEST_ON_CPU or torch.is_autocast_enabled("cpu"):
        return None
    state = (weight.data_ptr(), 0 if weight.is_inference() else weight._version)
    kept = _products.get(head)
    if kept is None or kept[0] != state:
        kept = _products[head] = (state, {})
    key = (first, stop, end)
    if key not in kept[1]:
        kept[1][key] = _graph_of(_rows(head, first, stop, end).detach())
    return kept[1][key]


def _graph_of(rows: Tensor) -> Head:
    """Return the product of ``(n, in)`` with rows of a matrix."""
    graph = GraphWriter()
    inputs = [graph.takes("x", 2), graph.constant("rows", rows.t().numpy())]
    graph.do("MatMul", inputs, "y")
    graph.gives("y", 2)
    session = on_one_core(graph.to_bytes())

    def product(x: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {"x": x.detach().numpy()})[0])

    return product
