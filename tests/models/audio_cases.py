"""Recordings, golden tensors and small ONNX graphs that the audio tokenizer tests share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

from tests.shared_data import need_shared

SETS = ("tiny_a", "tiny_b")
FLOAT, INT64, INT32 = 1, 7, 6


def golden(name: str, number: str) -> Mapping[str, npt.NDArray[Any]]:
    return np.load(need_shared("checkpoints", name, "goldens", f"{number}.npz"))


def tokenizer_folder(name: str) -> Path:
    return need_shared("checkpoints", name, "Step-Audio-Tokenizer")


def decoder_folder(name: str) -> Path:
    return need_shared("checkpoints", name, "Step-Audio-EditX", "CosyVoice-300M-25Hz")


def recordings() -> dict[str, tuple[npt.NDArray[np.float32], int]]:
    """Return the recordings of the goldens by case name, before the peak limit."""
    data = need_shared("checkpoints", "data")
    happy, rate = soundfile.read(data / "en_happy_prompt.wav", dtype="float32")
    zero, zero_rate = soundfile.read(data / "zero_shot_en_prompt.wav", dtype="float32")
    return {
        "s3": (happy[: int(3.2 * rate)], rate),
        "s11": (np.concatenate([happy, happy[: int(3.9 * rate)]]), rate),
        "zs": (zero, zero_rate),
    }


def speech_like(seconds: float, rate: int, seed: int = 0) -> npt.NDArray[np.float32]:
    """Return noise bursts over a hum, with silence at both ends; peak about 0.5."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * rate)) / rate
    envelope = np.clip(np.sin(2 * np.pi * 3 * t), 0, 1) * (t > 0.1) * (t < seconds - 0.1)
    tone = np.sin(2 * np.pi * 180 * t) + 0.3 * rng.standard_normal(len(t))
    return (0.3 * envelope * tone).astype(np.float32)


# A few lines of protobuf stand in for the onnx package, which is needed nowhere else.


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _field(number: int, value: int | bytes | str) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _attribute(name: str, value: int | Sequence[int]) -> bytes:
    if isinstance(value, int):
        return _field(1, name) + _field(3, value) + _field(20, 2)
    return _field(1, name) + b"".join(_field(8, v) for v in value) + _field(20, 7)


def _node(op: str, source: str, target: str, **attributes: int | Sequence[int]) -> bytes:
    parts = [_field(1, source), _field(2, target), _field(4, op)]
    parts += [_field(5, _attribute(name, value)) for name, value in attributes.items()]
    return b"".join(parts)


def _value(name: str, kind: int, shape: Sequence[int | str]) -> bytes:
    dims = b"".join(_field(1, _field(1 if isinstance(s, int) else 2, s)) for s in shape)
    return _field(1, name) + _field(2, _field(1, _field(1, kind) + _field(2, dims)))


def _model(nodes: Sequence[bytes], inputs: Sequence[bytes], output: bytes) -> bytes:
    graph = b"".join(_field(1, node) for node in nodes) + _field(2, "graph")
    graph += b"".join(_field(11, value) for value in inputs) + _field(12, output)
    return _field(1, 8) + _field(7, graph) + _field(8, _field(1, "") + _field(2, 13))


def write_semantic_graph(path: Path, batch: int | str = 1, bins: int = 128) -> Path:
    """Write a graph that gives the loudest bin of every four frames."""
    pool = _node("MaxPool", "feats", "pooled", kernel_shape=[4], strides=[4])
    pick = _node("ArgMax", "pooled", "indices", axis=1, keepdims=0)
    inputs = [_value("feats", FLOAT, [batch, bins, "T"]), _value("length", INT32, [batch])]
    path.write_bytes(_model([pool, pick], inputs, _value("indices", INT64, [batch, "N"])))
    return path


def write_speaker_graph(path: Path, bins: int = 80) -> Path:
    """Write a graph that gives the maximum of every bin over time."""
    node = _node("ReduceMax", "input", "output", axes=[1], keepdims=0)
    inputs = [_value("input", FLOAT, ["B", "T", bins])]
    path.write_bytes(_model([node], inputs, _value("output", FLOAT, ["B", bins])))
    return path
