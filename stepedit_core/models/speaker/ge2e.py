"""Resemblyzer's voice encoder: an LSTM trained with the GE2E loss (Wan et al. 2018).

A light alternative to CAM++: 1.4 M parameters, 256 numbers, weights under Apache-2.0. Network,
front end and windows follow the package Resemblyzer 0.1.4, with two deliberate differences in
what goes in, which training and inference share (``prepare_voice``): silence is not cut out by
a voice detector, and every recording is brought to one level, louder ones too. The front end is
a power mel spectrogram without a logarithm, so that level changes the vector.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from stepedit_core.errors import AudioError, CheckpointError
from stepedit_core.models.checkpoint.torchaudio_compat import resample
from stepedit_core.models.checkpoint.weights import read_state_dict
from stepedit_core.models.tokenizer.features import SPEAKER_RATE, SPEAKER_WINDOW, power_mel

__all__ = ["RESEMBLYZER_FILE", "ResemblyzerEncoder", "partial_starts", "prepare_voice"]

RESEMBLYZER_FILE = "resemblyzer.safetensors"
"""Name of the weights in a decoder folder, beside or instead of ``campplus.onnx``."""
LEVEL_DBFS = -30.0
HOP = 160
PARTIAL_FRAMES = 160  # 1.6 s
PARTIAL_STEP = 77  # frames; 1.3 windows per second
LEAST_COVERAGE = 0.75

FloatArray = npt.NDArray[np.float32]


def prepare_voice(samples: FloatArray, sample_rate: int) -> FloatArray:
    """Return a recording as the encoder reads it: 16 kHz, at -30 dB full scale (RMS).

    Args:
        samples: float32, shape ``(n,)``, full scale 1; any level, untrimmed.
        sample_rate: Hz.

    Returns:
        float32, shape ``(m,)``; digital silence stays as it is.
    """
    signal = torch.tensor(np.asarray(samples, np.float32))
    wave = resample(signal[None], sample_rate, SPEAKER_RATE)[0].numpy()
    rms = float(np.sqrt(np.mean(wave.astype(np.float64) ** 2))) if len(wave) else 0.0
    gain = 10 ** (LEVEL_DBFS / 20) / rms if rms > 0 else 1.0
    return np.asarray(wave * np.float32(gain), np.float32)


def partial_starts(samples: int) -> list[int]:
    """Return the first mel frame of every 1.6 s window over a signal.

    Windows follow each other by 0.77 s. The last one is left out where less than three
    quarters of it are covered, unless it is the only one.

    Args:
        samples: length of the signal at 16 kHz.
    """
    frames = -(-(samples + 1) // HOP)
    steps = max(1, frames - PARTIAL_FRAMES + PARTIAL_STEP + 1)
    starts = list(range(0, steps, PARTIAL_STEP))
    covered = (samples - starts[-1] * HOP) / (PARTIAL_FRAMES * HOP)
    return starts[:-1] if covered < LEAST_COVERAGE and len(starts) > 1 else starts


class ResemblyzerEncoder(nn.Module):
    """Mean over windows of unit vectors, scaled to unit length; safe to call from threads."""

    def __init__(self, bins: int = 40, hidden: int = 256, layers: int = 3, size: int = 256) -> None:
        """Build the network.

        Args:
            bins: mel bands.
            hidden: width of the LSTM.
            layers: of the LSTM.
            size: numbers in the embedding.
        """
        super().__init__()
        self.bins = bins
        self.lstm = nn.LSTM(bins, hidden, layers, batch_first=True)
        self.linear = nn.Linear(hidden, size)

    @classmethod
    def load(cls, folder: Path | str, device: torch.device | str = "cpu") -> ResemblyzerEncoder:
        """Read ``resemblyzer.safetensors`` of a decoder folder; sizes are those of its tensors.

        Weights may be stored in any floating-point type; they are float32 here.

        Args:
            folder: such as ``CosyVoice-300M-25Hz``.
            device: where the network runs.

        Raises:
            CheckpointError: if the file is missing, damaged, or of another network.
        """
        path = Path(folder) / RESEMBLYZER_FILE
        state = read_state_dict(path)
        try:
            size, hidden = state["linear.weight"].shape
            bins = state["lstm.weight_ih_l0"].shape[1]
            layers = sum(name.startswith("lstm.weight_ih_l") for name in state)
            encoder = cls(int(bins), int(hidden), layers, int(size))
            encoder.load_state_dict(state)
        except (KeyError, IndexError, ValueError, RuntimeError) as error:
            raise CheckpointError(
                f"{path} does not hold the weights of Resemblyzer's encoder; "
                "download the checkpoint again"
            ) from error
        return encoder.to(device).eval().requires_grad_(False)

    def forward(self, mels: Tensor) -> Tensor:
        """Return unit vectors, float32, shape ``(b, s)``.

        Args:
            mels: power mel spectrograms, float32, shape ``(b, frames, bins)``.
        """
        _, (hidden, _) = self.lstm(mels)
        raw = self.linear(hidden[-1]).relu()
        unit: Tensor = raw / raw.norm(dim=1, keepdim=True).clamp_min(1e-8)
        return unit

    @torch.no_grad()
    def embed_prepared(self, signal: FloatArray) -> Tensor:
        """Return the embedding of what ``prepare_voice`` gave, float32, shape ``(1, s)``.

        All windows of the recording are one batch.
        """
        starts = partial_starts(len(signal))
        length = (starts[-1] + PARTIAL_FRAMES) * HOP
        padded = np.pad(signal, (0, max(0, length - len(signal))))
        device = self.linear.weight.device
        mel = power_mel(torch.from_numpy(padded).to(device), self.bins).T
        windows = torch.stack([mel[start : start + PARTIAL_FRAMES] for start in starts])
        mean = self(windows).mean(dim=0, keepdim=True)
        unit: Tensor = mean / mean.norm(dim=1, keepdim=True).clamp_min(1e-8)
        return unit.cpu()

    def embed(self, samples: FloatArray, sample_rate: int) -> Tensor:
        """Return the embedding, float32, shape ``(1, s)``.

        Args:
            samples: float32, shape ``(n,)``, untrimmed; its level does not matter.
            sample_rate: Hz.

        Raises:
            AudioError: if the reference is shorter than one 25 ms frame.
        """
        signal = prepare_voice(samples, sample_rate)
        if len(signal) < SPEAKER_WINDOW:
            raise AudioError(
                f"a reference of {len(samples) / sample_rate:.3f} s is too short: give at least "
                "0.03 s"
            )
        return self.embed_prepared(signal)
