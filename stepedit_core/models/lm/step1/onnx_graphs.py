"""Write ONNX graphs as the bytes that onnxruntime reads, and open them.

The `onnx` package takes longer to import than a small model to load, and onnxruntime does not need
it. What is written is the part of the format that decode steps need, with the field numbers of
``onnx.proto`` (IR version 9): protocol buffers of lengths and variable-size integers.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import onnxruntime

__all__ = ["CONTRIB", "GraphWriter", "on_one_core"]

_IR_VERSION, _OPSET, _CONTRIB_OPSET = 9, 17, 1
CONTRIB = "com.microsoft"
"""Domain of onnxruntime's own operators."""
_TYPES = {np.dtype(np.float32): 1, np.dtype(np.int64): 7}
Attribute = int | float | Sequence[int]


def _varint(value: int) -> bytes:
    """Return a number, seven bits a byte, negative ones as 64 bits."""
    value %= 1 << 64
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _block(field: int, content: bytes | str) -> bytes:
    data = content.encode() if isinstance(content, str) else content
    return b"".join([_varint(field << 3 | 2), _varint(len(data)), data])


class GraphWriter:
    """A graph in the making: constants, inputs, operations in their order, outputs."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._nodes: list[bytes] = []
        self._constants: list[bytes] = []
        self._inputs: list[bytes] = []
        self._outputs: list[bytes] = []

    def constant(self, name: str, values: npt.ArrayLike) -> str:
        """Add a constant, float32 or int64; return its name."""
        array = np.ascontiguousarray(values)
        dims = b"".join(_number(1, size) for size in array.shape)
        kind = _number(2, _TYPES[array.dtype])
        self._constants.append(b"".join([dims, kind, _block(8, name), _block(9, array.tobytes())]))
        return name

    def takes(self, name: str, axes: int, dtype: npt.DTypeLike = np.float32) -> str:
        """Add an input with so many axes of any size; return its name."""
        self._inputs.append(_value(name, axes, dtype))
        return name

    def gives(self, name: str, axes: int, dtype: npt.DTypeLike = np.float32) -> None:
        """Make a value an output."""
        self._outputs.append(_value(name, axes, dtype))

    def do(
        self,
        operator: str,
        inputs: Sequence[str],
        outputs: str | Sequence[str],
        domain: str = "",
        **attributes: Attribute,
    ) -> str:
        """Add an operation; return the name of its first output.

        Args:
            operator: as ONNX or onnxruntime calls it.
            inputs: names.
            outputs: names; empty ones are not wanted.
            domain: of the operator.
            attributes: of the operator.
        """
        names = [outputs] if isinstance(outputs, str) else list(outputs)
        parts = [_block(1, one) for one in inputs]
        parts += [_block(2, one) for one in names]
        parts += [_block(4, operator)]
        parts += [_block(5, _attribute(key, value)) for key, value in attributes.items()]
        self._nodes.append(b"".join([*parts, _block(7, domain)]))
        return names[0]

    def to_bytes(self) -> bytes:
        """Return the model."""
        fields = (
            (1, self._nodes), (5, self._constants), (11, self._inputs), (12, self._outputs),
        )  # fmt: skip
        graph = [_block(field, one) for field, parts in fields for one in parts]
        opsets = [_block(1, domain) + _number(2, version)
                  for domain, version in (("", _OPSET), (CONTRIB, _CONTRIB_OPSET))]  # fmt: skip
        model = [_number(1, _IR_VERSION), _block(7, b"".join([*graph, _block(2, "graph")]))]
        return b"".join([*model, *(_block(8, one) for one in opsets)])


def on_one_core(graph: bytes) -> onnxruntime.InferenceSession:
    """Return a session that runs a graph in the thread that calls it."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _value(name: str, axes: int, dtype: npt.DTypeLike) -> bytes:
    """Return the type of an input or output: axes have names of their own, so any size."""
    dims = b"".join(_block(1, _block(2, f"{name}.{axis}")) for axis in range(axes))
    tensor = _number(1, _TYPES[np.dtype(dtype)]) + _block(2, dims)
    return _block(1, name) + _block(2, _block(1, tensor))


def _attribute(name: str, value: Attribute) -> bytes:
    if isinstance(value, int):
        content, kind = _number(3, value), 2
    elif isinstance(value, float):
        content, kind = _varint(2 << 3 | 5) + struct.pack("<f", value), 1
    else:
        content, kind = b"".join(_number(8, one) for one in value), 7
    return _block(1, name) + content + _number(20, kind)
