"""A whole tiny checkpoint in the public layout, from seeded random weights."""

from __future__ import annotations

import json
from pathlib import Path

from tests.models.audio_cases import FLOAT, _model, _node, _value, write_semantic_graph
from tests.models.decoder_parts import SPEAKER_SIZE, write_checkpoint
from tests.models.tiny_step1 import tiny_model
from tests.models.tokenizer.test_linguistic_checkpoint import write_checkpoint as write_linguistic

MODEL, TOKENIZER = "Step-Audio-EditX", "Step-Audio-Tokenizer"


def write_speaker(path: Path) -> None:
    """Write a graph that gives twelve numbers: maxima over time and over overlapping bins."""
    nodes = [
        _node("ReduceMax", "input", "loudest", axes=[1], keepdims=1),
        _node("MaxPool", "loudest", "pooled", kernel_shape=[14], strides=[6]),
        _node("ReduceMax", "pooled", "output", axes=[1], keepdims=0),
    ]
    inputs = [_value("input", FLOAT, ["B", "T", 80])]
    path.write_bytes(_model(nodes, inputs, _value("output", FLOAT, ["B", SPEAKER_SIZE])))


def write_engine(folder: Path, encoding: str = "r2") -> Path:
    """Write model, decoder and tokenizer folders side by side; return the folder around them."""
    model, tokenizer = folder / MODEL, folder / TOKENIZER
    tokenizer.mkdir(parents=True)
    write_linguistic(tokenizer)
    write_semantic_graph(tokenizer / "speech_tokenizer_v1.onnx")
    tiny_model().save_pretrained(model)
    config = {"tokenizer_class": "ByteTokenizer", "prompt_encoding": encoding}
    (model / "tokenizer_config.json").write_text(json.dumps(config))
    decoder = model / "CosyVoice-300M-25Hz"
    write_checkpoint(decoder)
    write_speaker(decoder / "campplus.onnx")
    return folder


def write_single(folder: Path) -> Path:
    """Write an engine as one folder, the audio tokenizer inside, as the embedded model lies."""
    parts = write_engine(folder)
    (parts / TOKENIZER).rename(parts / MODEL / TOKENIZER)
    return parts / MODEL


__all__ = ["MODEL", "SPEAKER_SIZE", "TOKENIZER", "write_engine", "write_single"]
