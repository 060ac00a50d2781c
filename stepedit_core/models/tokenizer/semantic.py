"""Semantic codes: 25 per second, from a log-mel spectrogram."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from stepedit_core.codes import SEMANTIC_SIZE
from stepedit_core.errors import CheckpointError
from stepedit_core.models.checkpoint.onnx import OnnxGraph, Provider
from stepedit_core.models.tokenizer.features import whisper_log_mel

__all__ = ["OnnxSemanticTokenizer", "SemanticTokenizer", "split_pieces"]

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

PIECE_SAMPLES = 480_000  # 30 s, what the network's positions cover
SHORTEST_PIECE = 480
CODE_TOLERANCE = 2
MAX_BATCH = 16
GRAPH = "speech_tokenizer_v1.onnx"


class SemanticTokenizer(Protocol):
    """What turns preprocessed 16 kHz signals into semantic codes."""

    def encode(self, signals: Sequence[FloatArray]) -> list[IntArray]:
        """Return the codes of every signal, int64, shape ``(n,)``, 25 per second.

        Args:
            signals: float32 at 16 kHz, shape ``(m,)`` each.
        """
        ...


def split_pieces(signal: FloatArray) -> list[FloatArray]:
    """Cut a signal every 30 s; a remainder below 30 ms is dropped, as the public system does.

    Args:
        signal: float32 at 16 kHz, shape ``(m,)``.
    """
    pieces = (signal[at : at + PIECE_SAMPLES] for at in range(0, len(signal), PIECE_SAMPLES))
    return [piece for piece in pieces if len(piece) >= SHORTEST_PIECE]


class OnnxSemanticTokenizer:
    """The published semantic tokenizer: an ONNX graph over a Whisper log-mel spectrogram."""

    def __init__(self, graph: OnnxGraph) -> None:
        """Wrap a graph with inputs (batch, bins, frames) float32 and (batch,) int32.

        Raises:
            CheckpointError: if the graph has other inputs.
        """
        graph.require_inputs((3, 1))
        self.graph = graph
        batch, bins, _ = graph.input_shapes[0]
        self.bins = bins or 128
        # A graph exported for one item says so in its first axis.
        self.max_batch = MAX_BATCH if batch is None else batch

    @classmethod
    def load(
        cls,
        folder: Path | str,
        device: str = "cpu",
        *,
        provider: Provider = "auto",
        threads: int | None = None,
    ) -> OnnxSemanticTokenizer:
        """Open ``speech_tokenizer_v1.onnx`` in a Step-Audio-Tokenizer folder.

        Args:
            folder: the folder.
            device: torch device of the rest of the engine.
            provider: see :func:`stepedit_core.models.checkpoint.onnx.resolve_provider`.
            threads: CPU threads per call.

        Raises:
            CheckpointError: if the file is missing or damaged.
        """
        path = Path(folder) / GRAPH
        return cls(OnnxGraph(path, device, provider=provider, threads=threads))

    def encode(self, signals: Sequence[FloatArray]) -> list[IntArray]:
        """Return the semantic codes of preprocessed signals.

        Pieces of equal length share a call where the graph takes batches: only those give
        exactly what single calls give.

        Args:
            signals: float32 at 16 kHz, shape ``(m,)`` each.

        Returns:
            int64, shape ``(n,)`` each.

        Raises:
            CheckpointError: if the graph gives codes that it cannot give.
        """
        pieces = [(item, piece) for item, s in enumerate(signals) for piece in split_pieces(s)]
        by_length: defaultdict[int, list[int]] = defaultdict(list)
        for place, (_, piece) in enumerate(pieces):
            by_length[len(piece)].append(place)
        codes: dict[int, IntArray] = {}
        for places in by_length.values():
            for at in range(0, len(places), self.max_batch):
                chosen = places[at : at + self.max_batch]
                rows = self._encode_equal([pieces[place][1] for place in chosen])
                codes.update(zip(chosen, rows, strict=True))
        parts: list[list[IntArray]] = [[np.zeros(0, dtype=np.int64)] for _ in signals]
        for place, (item, _) in enumerate(pieces):
            parts[item].append(codes[place])
        return [np.concatenate(part) for part in parts]

    def encode_log_mel(self, log_mel: FloatArray) -> IntArray:
        """Return the codes of log-mel spectrograms of equal length.

        Args:
            log_mel: float32, shape ``(b, bins, t)``.

        Returns:
            int64, shape ``(b, n)``.
        """
        batch, _, frames = log_mel.shape
        lengths = np.full(batch, frames, dtype=np.int32)
        codes = self.graph(np.ascontiguousarray(log_mel, dtype=np.float32), lengths)
        codes = codes.reshape(batch, -1).astype(np.int64, copy=False)
        if abs(codes.shape[1] - frames / 4) > CODE_TOLERANCE:
            raise CheckpointError(
                f"{self.graph.path} gives {codes.shape[1]} codes for {frames} frames: it is "
                "another graph, download the checkpoint again"
            )
        if codes.size and not 0 <= codes.min() <= codes.max() < SEMANTIC_SIZE:
            raise CheckpointError(
                f"{self.graph.path} gives codes outside 0..{SEMANTIC_SIZE - 1}: it is damaged or "
                "another graph, download the checkpoint again"
            )
        return codes

    def _encode_equal(self, pieces: Sequence[FloatArray]) -> IntArray:
        """Return the codes of pieces of equal length, shape ``(b, n)``."""
        mels = [whisper_log_mel(torch.from_numpy(piece), self.bins) for piece in pieces]
        return self.encode_log_mel(torch.stack(mels).numpy())
