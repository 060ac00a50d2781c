"""Store weights in half the bytes: safetensors, ONNX graphs and centroids as float16."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from stepedit_core.atomic import replace_file, write_atomically
from stepedit_core.errors import MissingDependencyError, StepeditError

__all__ = ["halve_tensors", "save_centroids", "save_graph", "save_tensors", "without_traces"]

LEAST_VALUES = 1024
"""Smaller tensors of a graph stay as they are: they weigh nothing."""


def halve_tensors(state: dict[str, Tensor], source: Path | str) -> dict[str, Tensor]:
    """Return a state dict whose floating-point tensors are float16.

    Raises:
        StepeditError: if a value is too large for float16.
    """
    halved = {}
    for name, tensor in state.items():
        small = tensor.half() if tensor.is_floating_point() else tensor
        if small.is_floating_point() and not bool(small.isfinite().all()):
            raise StepeditError(f"{source}: {name} has values that float16 cannot hold")
        halved[name] = small
    return halved


def save_tensors(state: dict[str, Tensor], path: Path, *, half: bool) -> None:
    """Write a safetensors file, as float16 where asked; raises as ``halve_tensors``."""
    kept = halve_tensors(state, path) if half else state
    # The format refuses tensors that share memory.
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in kept.items()}
    replace_file(path, lambda partial: save_file(plain, partial, {"format": "pt"}))


def save_centroids(source: Path, path: Path, *, half: bool) -> None:
    """Copy a table of centroids, as float16 where asked."""
    table = np.load(source, allow_pickle=False)

    def write(partial: Path) -> None:
        with partial.open("wb") as file:
            np.save(file, table.astype(np.float16) if half else table, allow_pickle=False)

    replace_file(path, write)


def without_traces(model: Any) -> Any:
    """Take out of an ONNX model where each node comes from: stack traces, with folders in them."""
    graph = model.graph
    parts = [model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info]
    parts += graph.initializer
    for function in model.functions:
        parts += [function, *function.node]
    for part in parts:
        del part.metadata_props[:]
        part.doc_string = ""
    return model


def save_graph(source: Path, path: Path, *, half: bool) -> None:
    """Copy an ONNX graph; where asked, its large weights are float16 and cast when it is opened.

    The arithmetic stays float32: runtimes fold the casts of constants away.

    Raises:
        MissingDependencyError: if the onnx package is absent.
    """
    if not half:
        write_atomically(path, source.read_bytes())
        return
    try:
        import onnx
        from onnx import TensorProto, helper, numpy_helper
    except ImportError as error:
        raise MissingDependencyError(
            "changing a graph needs onnx: pip install 'stepedit[train]'"
        ) from error
    model = without_traces(onnx.load(str(source)))
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < LEAST_VALUES:
            continue
        name, stored = tensor.name, f"{tensor.name}.float16"
        small = halve_tensors(
            {name: torch.from_numpy(numpy_helper.to_array(tensor).copy())}, source
        )
        tensor.CopyFrom(numpy_helper.from_array(small[name].numpy(), stored))
        casts.append(helper.make_node("Cast", [stored], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    replace_file(path, lambda partial: onnx.save(model, str(partial)))
