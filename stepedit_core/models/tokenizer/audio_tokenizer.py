"""The audio side of an engine: recordings to dual codes, references to decoder features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stepedit_core.codes import DualCodes
from stepedit_core.models.checkpoint.onnx import Provider
from stepedit_core.models.decoder.recent import Recent
from stepedit_core.models.speaker.campplus import SpeakerEncoder
from stepedit_core.models.tokenizer.features import MelConfig, prompt_mel
from stepedit_core.models.tokenizer.linguistic import LinguisticTokenizer
from stepedit_core.models.tokenizer.linguistic.frontend import WavRounding
from stepedit_core.models.tokenizer.preprocess import check_samples, limit_peak, preprocess_timed
from stepedit_core.models.tokenizer.semantic import OnnxSemanticTokenizer, SemanticTokenizer

__all__ = ["AudioTokenizer", "CodeTokenizer", "PromptFeatures", "ReferenceEncoder"]

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]


class CodeTokenizer(Protocol):
    """What turns preprocessed 16 kHz signals into one stream of codes each."""

    def encode(self, signals: Sequence[FloatArray]) -> list[IntArray]:
        """Return the codes of every signal, int64, shape ``(n,)``."""
        ...


class AudioTokenizer:
    """Both tokenizers behind one preprocessing; safe to call from several threads.

    Attributes:
        linguistic: gives 16.67 codes per second.
        semantic: gives 25 codes per second.
    """

    def __init__(self, linguistic: CodeTokenizer, semantic: SemanticTokenizer) -> None:
        """Join two tokenizers."""
        self.linguistic = linguistic
        self.semantic = semantic

    @classmethod
    def load(
        cls,
        folder: Path | str,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        *,
        provider: Provider = "auto",
        threads: int | None = None,
        wav_rounding: WavRounding = "float32",
        dither: float = 0.0,
        seed: int = 0,
    ) -> AudioTokenizer:
        """Load from a Step-Audio-Tokenizer folder.

        Args:
            folder: the folder.
            device: torch device, such as ``cpu`` or ``cuda:0``.
            dtype: of the linguistic encoder.
            provider: where the semantic ONNX graph runs.
            threads: CPU threads of the ONNX graph; as many as PyTorch takes if None.
            wav_rounding: ``float32`` or ``pcm16``, see ``FrontendConfig``.
            dither: of the linguistic front end, 16-bit steps.
            seed: of the dither.

        Raises:
            CheckpointError: if a file is missing, damaged or foreign.
        """
        semantic = OnnxSemanticTokenizer.load(folder, device, provider=provider, threads=threads)
        linguistic = LinguisticTokenizer.load(
            folder, device, dtype, wav_rounding=wav_rounding, dither=dither, seed=seed
        )
        return cls(linguistic, semantic)

    def encode(self, recordings: Sequence[tuple[FloatArray, int]]) -> list[DualCodes]:
        """Return the dual codes of recordings, batched.

        Args:
            recordings: samples, float32, shape ``(n,)`` or ``(channels, n)``, and their sample
                rate in Hz; any rate, any length above zero.

        Returns:
            One :class:`DualCodes` each; every recording gives at least one complete group.

        Raises:
            AudioError: if a recording is empty or holds NaN or infinite samples.
        """
        prepared = [
            preprocess_timed(limit_peak(check_samples(samples, rate)), rate)
            for samples, rate in recordings
        ]
        signals = [signal for signal, _ in prepared]
        streams = zip(self.linguistic.encode(signals), self.semantic.encode(signals), strict=True)
        return [
            DualCodes(linguistic, semantic, start)
            for (linguistic, semantic), (_, start) in zip(streams, prepared, strict=True)
        ]


@dataclass(frozen=True)
class PromptFeatures:
    """What the decoder needs of a reference besides its codes.

    Attributes:
        mel: float32, shape ``(1, t, 80)``, 50 frames per second.
        embedding: float32, shape ``(1, s)``.
    """

    mel: Tensor
    embedding: Tensor

    def rounded(self) -> PromptFeatures:
        """Return both rounded to bfloat16 and back, as the public system does on the way."""
        return PromptFeatures(self.mel.bfloat16().float(), self.embedding.bfloat16().float())

    def to(self, device: torch.device | str) -> PromptFeatures:
        """Return both on ``device``."""
        return PromptFeatures(self.mel.to(device), self.embedding.to(device))


class ReferenceEncoder:
    """Prompt mel and speaker embedding of a reference; safe to call from several threads.

    Those of the last one are kept: the phrases of a text are all heard in one voice.
    """

    def __init__(self, speaker: SpeakerEncoder, mel: MelConfig | None = None) -> None:
        """Join a speaker encoder and the decoder's mel settings.

        Args:
            speaker: for example :class:`~stepedit_core.models.speaker.campplus.OnnxSpeakerEncoder`.
            mel: from the decoder's ``mel_conf``; published settings if None.
        """
        self.speaker = speaker
        self.mel = mel or MelConfig()
        self._recent: Recent[PromptFeatures] = Recent()

    def forget(self) -> None:
        """Keep nothing of the last reference."""
        self._recent.clear()

    def encode(self, samples: FloatArray, sample_rate: int, start: float = 0.0) -> PromptFeatures:
        """Return the features of one reference, on the CPU.

        Args:
            samples: float32, shape ``(n,)`` or ``(channels, n)``; peak limited here.
            sample_rate: Hz.
            start: second at which the mel begins, for decoders whose reference must lie on its
                tokens' time grid; before 0 there is silence.

        Raises:
            AudioError: if the reference is empty, not finite, or too short for one frame.
        """
        limited = limit_peak(check_samples(samples, sample_rate))
        signal, place = (
            torch.tensor(limited),
            torch.tensor([sample_rate, start], dtype=torch.float64),
        )

        def made() -> PromptFeatures:
            mel = prompt_mel(signal, sample_rate, self.mel, start)
            return PromptFeatures(mel, self.speaker.embed(limited, sample_rate))

        return self._recent.of([signal, place], made)
