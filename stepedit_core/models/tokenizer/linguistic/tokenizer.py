"""Linguistic codes: 16.67 per second, the nearest centroid of every encoder frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stepedit_core.models.tokenizer.linguistic.checkpoint import (
    CENTROIDS,
    find_funasr,
    read_centroids,
    read_cmvn,
    read_encoder,
)
from stepedit_core.models.tokenizer.linguistic.chunked import encode_chunked
from stepedit_core.models.tokenizer.linguistic.encoder import SANMEncoder
from stepedit_core.models.tokenizer.linguistic.frontend import Frontend, WavRounding
from stepedit_core.models.tokenizer.linguistic.windows import plan_windows

__all__ = ["LinguisticTokenizer", "nearest_centroid"]

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

MAX_WINDOWS = 2_048


def nearest_centroid(frames: Tensor, centroids: Tensor, squares: Tensor | None = None) -> Tensor:
    """Return the index of the centroid at the smallest Euclidean distance.

    Args:
        frames: shape ``(n, d)``.
        centroids: shape ``(k, d)``, same dtype.
        squares: squared norms of the centroids, shape ``(k,)``; computed if None.

    Returns:
        int64, shape ``(n,)``.
    """
    squares = centroids.square().sum(1) if squares is None else squares
    # |x - c|^2 without |x|^2, which is the same for every centroid.
    return torch.addmm(squares, frames, centroids.t(), alpha=-2.0).argmin(dim=1)


class LinguisticTokenizer:
    """Front end, SANM encoder and k-means codebook; keeps no state between calls.

    Attributes:
        frontend: signal to low-frame-rate frames, on the CPU.
        encoder: in evaluation mode.
        centroids: float32, shape ``(k, d)``, on the encoder's device.
        seed: of the dither, where the front end has any.
    """

    def __init__(
        self, frontend: Frontend, encoder: SANMEncoder, centroids: FloatArray, *, seed: int = 0
    ) -> None:
        """Join the parts; the encoder is switched to evaluation mode."""
        self.frontend = frontend
        self.encoder = encoder.eval()
        weight = encoder.after_norm.weight
        self.device, self.dtype = weight.device, weight.dtype
        self.centroids = torch.tensor(centroids, dtype=torch.float32, device=self.device)
        self._squares = self.centroids.square().sum(1)
        self.seed = seed

    @classmethod
    def load(
        cls,
        folder: Path | str,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        *,
        wav_rounding: WavRounding = "float32",
        dither: float = 0.0,
        seed: int = 0,
    ) -> LinguisticTokenizer:
        """Load from a Step-Audio-Tokenizer folder.

        Args:
            folder: with ``linguistic_tokenizer.npy`` and the FunASR model folder.
            device: of the encoder.
            dtype: of the encoder; distances are computed in float32 always.
            wav_rounding: see :class:`FrontendConfig`.
            dither: standard deviation in 16-bit steps; the public system has 1.0.
            seed: of the dither, used afresh for every utterance.

        Raises:
            CheckpointError: if a file is missing, damaged or foreign.
        """
        root = Path(folder)
        files = find_funasr(root)
        encoder, config = read_encoder(files, device, dtype)
        cmvn = read_cmvn(files.cmvn, config.output_size)
        centroids = read_centroids(root / CENTROIDS, encoder.config.output_size)
        config = replace(config, wav_rounding=wav_rounding, dither=dither)
        return cls(Frontend(config, cmvn), encoder, centroids, seed=seed)

    def features(self, signal: FloatArray) -> tuple[Tensor, list[int]]:
        """Return the encoder's input frames of one signal, and the chunk sizes."""
        return self.frontend(signal, torch.Generator().manual_seed(self.seed))

    @torch.inference_mode()
    def hidden(self, signals: Sequence[FloatArray]) -> list[Tensor]:
        """Return the encoder output of every signal, shape ``(n, d)``, in one batched pass.

        Args:
            signals: float32 at 16 kHz, shape ``(m,)`` each.
        """
        features = [self.features(signal) for signal in signals]
        outputs: list[Tensor] = []
        for group in _groups(features):
            outputs.extend(self._hidden_group(group))
        return outputs

    def _hidden_group(self, group: Sequence[tuple[Tensor, list[int]]]) -> list[Tensor]:
        lengths = [len(frames) for frames, _ in group]
        if not sum(lengths):
            size = self.encoder.config.output_size
            return [torch.zeros(0, size, dtype=self.dtype, device=self.device) for _ in group]
        plan = plan_windows([sizes for _, sizes in group]).to(self.device)
        packed = torch.cat([frames for frames, _ in group]).to(self.device, self.dtype)
        return list(torch.split(self.encoder.forward_packed(packed, plan), lengths))

    @torch.inference_mode()
    def hidden_chunked(self, signal: FloatArray) -> Tensor:
        """Return the encoder output of one signal by the plain chunk-by-chunk loop."""
        frames, sizes = self.features(signal)
        return encode_chunked(self.encoder, frames.to(self.device, self.dtype), sizes)

    @torch.inference_mode()
    def quantise(self, hidden: Tensor) -> IntArray:
        """Return the codes of encoder frames, int64, shape ``(n,)``."""
        codes = nearest_centroid(hidden.float(), self.centroids, self._squares)
        array: IntArray = codes.cpu().numpy()
        return array

    def encode(self, signals: Sequence[FloatArray]) -> list[IntArray]:
        """Return the linguistic codes of preprocessed signals.

        Args:
            signals: float32 at 16 kHz, shape ``(m,)`` each, from
                :func:`stepedit_core.models.tokenizer.preprocess.preprocess`.

        Returns:
            int64, shape ``(n,)`` each; empty for signals below 55 ms.
        """
        hidden = self.hidden(signals)
        if not hidden:
            return []
        codes = self.quantise(torch.cat(hidden))
        ends = np.cumsum([len(part) for part in hidden])[:-1]
        return list(np.split(codes, ends))

    def encode_chunked(self, signal: FloatArray) -> IntArray:
        """Return the codes of one signal by the plain chunk-by-chunk loop."""
        return self.quantise(self.hidden_chunked(signal))


def _groups(
    features: Sequence[tuple[Tensor, list[int]]],
) -> Iterator[list[tuple[Tensor, list[int]]]]:
    """Cut a batch where its windows would take too much memory in one pass."""
    group: list[tuple[Tensor, list[int]]] = []
    windows = 0
    for item in features:
        if group and windows + len(item[1]) > MAX_WINDOWS:
            yield group
            group, windows = [], 0
        group.append(item)
        windows += len(item[1])
    if group:
        yield group
