from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stepedit_core.errors import CheckpointError, MissingDependencyError
from stepedit_core.models.checkpoint.onnx import OnnxGraph, resolve_provider
from stepedit_core.models.tokenizer.features import whisper_log_mel
from stepedit_core.models.tokenizer.preprocess import limit_peak, preprocess
from stepedit_core.models.tokenizer.semantic import OnnxSemanticTokenizer, split_pieces
from tests.models.audio_cases import (
    SETS,
    golden,
    recordings,
    speech_like,
    tokenizer_folder,
    write_semantic_graph,
    write_speaker_graph,
)


@pytest.mark.parametrize(
    ("length", "pieces"),
    [
        (0, []),
        (479, []),
        (480, [480]),
        (480_000, [480_000]),
        (480_479, [480_000]),
        (480_480, [480_000, 480]),
        (1_000_000, [480_000, 480_000, 40_000]),
    ],
)
def test_pieces_of_thirty_seconds(length: int, pieces: list[int]) -> None:
    assert [len(p) for p in split_pieces(np.zeros(length, np.float32))] == pieces


@pytest.mark.parametrize(("batch", "calls"), [(1, 4), ("B", 2)])
def test_codes_come_back_to_their_signals(
    tmp_path: Path, batch: int | str, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = write_semantic_graph(tmp_path / "speech_tokenizer_v1.onnx", batch)
    tokenizer = OnnxSemanticTokenizer.load(tmp_path, threads=1)
    seen: list[int] = []
    run = tokenizer.graph.__class__.__call__

    def counted(self: OnnxGraph, *inputs: np.ndarray) -> np.ndarray:
        seen.append(len(inputs[0]))
        return run(self, *inputs)

    monkeypatch.setattr(OnnxGraph, "__call__", counted)
    signals = [speech_like(s, 16_000, seed=i) for i, s in enumerate((0.5, 0.3, 0.5, 0.5))]
    signals.insert(1, np.zeros(100, np.float32))
    codes = tokenizer.encode(signals)
    assert len(seen) == calls
    assert len(codes[1]) == 0
    for signal, got in zip(signals, codes, strict=True):
        if len(signal) < 480:
            continue
        mel = whisper_log_mel(torch.from_numpy(signal)).numpy()
        want = mel[:, : len(got) * 4].reshape(128, -1, 4).max(2).argmax(0)
        np.testing.assert_array_equal(got, want)
    assert graph.exists()


def test_long_signals_are_normalised_piece_by_piece(tmp_path: Path) -> None:
    write_semantic_graph(tmp_path / "speech_tokenizer_v1.onnx")
    tokenizer = OnnxSemanticTokenizer.load(tmp_path)
    signal = np.tile(speech_like(5.0, 16_000), 7)
    codes = tokenizer.encode([signal])[0]
    assert len(codes) == 875
    pieces = tokenizer.encode([signal[:480_000], signal[480_000:]])
    np.testing.assert_array_equal(codes, np.concatenate(pieces))


def test_bins_are_read_from_the_graph(tmp_path: Path) -> None:
    write_semantic_graph(tmp_path / "speech_tokenizer_v1.onnx", bins=80)
    tokenizer = OnnxSemanticTokenizer.load(tmp_path)
    assert tokenizer.bins == 80
    assert len(tokenizer.encode([speech_like(1.0, 16_000)])[0]) == 25


def test_missing_and_damaged_graphs_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"speech_tokenizer_v1\.onnx is missing"):
        OnnxSemanticTokenizer.load(tmp_path)
    path = write_semantic_graph(tmp_path / "speech_tokenizer_v1.onnx")
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(CheckpointError, match=r"speech_tokenizer_v1\.onnx is not a readable"):
        OnnxSemanticTokenizer.load(tmp_path)
    write_speaker_graph(path)
    with pytest.raises(CheckpointError, match="another graph"):
        OnnxSemanticTokenizer.load(tmp_path)


class OddGraph:
    """A graph of the right inputs that answers wrongly."""

    path = Path("odd.onnx")
    input_shapes = ([1, 128, None], [1])

    def __init__(self, answer: np.ndarray) -> None:
        self.answer = answer

    def require_inputs(self, ranks: object) -> None: ...

    def __call__(self, *inputs: np.ndarray) -> np.ndarray:
        return self.answer


@pytest.mark.parametrize(
    ("answer", "word"),
    [(np.zeros(90), "90 codes for 100 frames"), (np.full(25, 4_096), "outside 0..4095")],
)
def test_impossible_answers_are_refused(answer: np.ndarray, word: str) -> None:
    graph: Any = OddGraph(answer)
    with pytest.raises(CheckpointError, match=word):
        OnnxSemanticTokenizer(graph).encode([speech_like(1.0, 16_000)])


def test_provider_choice(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    available = "stepedit_core.models.checkpoint.onnx.onnxruntime.get_available_providers"
    monkeypatch.setattr(available, lambda: ["CPUExecutionProvider"])
    assert resolve_provider("cpu") == "cpu"
    with caplog.at_level(logging.WARNING):
        assert resolve_provider("cuda:0") == "cpu"
    assert "onnxruntime-gpu" in caplog.text
    with pytest.raises(MissingDependencyError, match="onnxruntime-gpu"):
        resolve_provider("cpu", "cuda")
    monkeypatch.setattr(available, lambda: ["CUDAExecutionProvider"])
    assert resolve_provider("cuda:0") == "cuda"
    assert resolve_provider("cuda:0", "cpu") == "cpu"


@pytest.mark.parametrize("name", SETS)
def test_golden_codes(name: str) -> None:
    want = golden(name, "03_semantic")
    tokenizer = OnnxSemanticTokenizer.load(tokenizer_folder(name))
    np.testing.assert_array_equal(
        tokenizer.encode_log_mel(want["s3_logmel"][None])[0], want["s3_codes"]
    )
    signals = {c: preprocess(limit_peak(s), rate) for c, (s, rate) in recordings().items()}
    for case, codes in zip(signals, tokenizer.encode(list(signals.values())), strict=True):
        np.testing.assert_array_equal(codes, want[f"{case}_codes"])
    repeated = np.tile(signals["s11"], 4)
    for length in (480_479, 496_000):
        codes = tokenizer.encode([repeated[:length]])[0]
        np.testing.assert_array_equal(codes, want[f"split_{length}_codes"])
