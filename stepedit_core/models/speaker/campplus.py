"""Speaker embeddings of a reference recording."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stepedit_core.errors import CheckpointError
from stepedit_core.models.checkpoint.onnx import OnnxGraph, Provider
from stepedit_core.models.speaker.ge2e import RESEMBLYZER_FILE, ResemblyzerEncoder
from stepedit_core.models.tokenizer.features import speaker_fbank

__all__ = ["OnnxSpeakerEncoder", "SpeakerEncoder", "load_speaker"]

FloatArray = npt.NDArray[np.float32]
GRAPH = "campplus.onnx"


class SpeakerEncoder(Protocol):
    """What turns a reference into a vector of its voice."""

    def embed(self, samples: FloatArray, sample_rate: int) -> Tensor:
        """Return the embedding, float32, shape ``(1, s)``.

        Args:
            samples: float32, shape ``(n,)``, peak limited, untrimmed.
            sample_rate: Hz.
        """
        ...


def load_speaker(folder: Path | str, device: str = "cpu") -> SpeakerEncoder:
    """Load the speaker encoder that a decoder folder brings.

    ``campplus.onnx`` is the published one; a folder with ``resemblyzer.safetensors`` in its
    place has Resemblyzer's encoder. Flow and speaker encoder belong together, so a folder
    holds one of them.

    Args:
        folder: such as ``CosyVoice-300M-25Hz``.
        device: torch device of the rest of the engine.

    Raises:
        CheckpointError: if there is none or two, or the file is damaged.
    """
    folder = Path(folder)
    if not (folder / RESEMBLYZER_FILE).is_file():
        return OnnxSpeakerEncoder.load(folder, device)
    if (folder / GRAPH).is_file():
        raise CheckpointError(
            f"{folder} holds two speaker encoders, {GRAPH} and {RESEMBLYZER_FILE}; remove the "
            "one that the flow was not trained with"
        )
    return ResemblyzerEncoder.load(folder, device)


class OnnxSpeakerEncoder:
    """CAM++ (Wang et al. 2023) as an ONNX graph over mean-removed Kaldi filterbanks."""

    def __init__(self, graph: OnnxGraph) -> None:
        """Wrap a graph with input (batch, frames, bins) float32 and output (batch, s).

        Raises:
            CheckpointError: if the graph has other inputs.
        """
        graph.require_inputs((3,))
        self.graph = graph
        self.bins = graph.input_shapes[0][2] or 80

    @classmethod
    def load(
        cls,
        folder: Path | str,
        device: str = "cpu",
        *,
        provider: Provider = "cpu",
        threads: int | None = None,
    ) -> OnnxSpeakerEncoder:
        """Open ``campplus.onnx`` in a decoder folder.

        Args:
            folder: such as ``CosyVoice-300M-25Hz``.
            device: torch device of the rest of the engine.
            provider: the CPU unless told otherwise: the graph is small.
            threads: CPU threads per call.

        Raises:
            CheckpointError: if the file is missing or damaged.
        """
        return cls(OnnxGraph(Path(folder) / GRAPH, device, provider=provider, threads=threads))

    def embed(self, samples: FloatArray, sample_rate: int) -> Tensor:
        """Return the embedding, float32, shape ``(1, s)``.

        Args:
            samples: float32, shape ``(n,)``, peak limited, untrimmed.
            sample_rate: Hz.

        Raises:
            AudioError: if the reference is shorter than one 25 ms frame.
            CheckpointError: if the embedding is not finite.
        """
        fbank = speaker_fbank(torch.tensor(samples), sample_rate, self.bins)
        embedding = self.graph(fbank[None].numpy()).astype(np.float32).reshape(1, -1)
        if not np.isfinite(embedding).all():
            raise CheckpointError(
                f"{self.graph.path} gives NaN or infinite values: it is damaged, download the "
                "checkpoint again"
            )
        return torch.from_numpy(embedding)
