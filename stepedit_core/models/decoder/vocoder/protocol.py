"""What every vocoder offers, and the random signals that one of them needs."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from stepedit_core.models.decoder.prosody import Prosody

__all__ = ["SeededSourceNoise", "SourceNoise", "Vocoder", "VocoderStream", "cross_fade"]

SOURCE_STREAM = 2
"""Keeps the source's draws apart from other uses of the same seed."""

CACHED_FRAMES = 8
"""Mel frames that a stream hands from one chunk to the next, so that convolutions see a past."""


@runtime_checkable
class SourceNoise(Protocol):
    """Draws the random part of a harmonic source; one call per vocoder call."""

    def __call__(self, samples: int, harmonics: int) -> Tensor:
        """Return standard normal noise, float32 on the CPU, shape ``(samples, harmonics)``."""
        ...


class SeededSourceNoise:
    """Source noise from a seed, the same on every device.

    Successive calls continue one stream of draws, so one object serves one utterance or stream.
    """

    def __init__(self, seed: int) -> None:
        """Start the stream of draws."""
        self._rng = np.random.default_rng((seed, SOURCE_STREAM))
        self._lock = threading.Lock()

    def __call__(self, samples: int, harmonics: int) -> Tensor:
        """Return the next draws, float32, shape ``(samples, harmonics)``."""
        with self._lock:
            drawn = self._rng.standard_normal((samples, harmonics), dtype=np.float32)
        return torch.from_numpy(drawn)


class VocoderStream(Protocol):
    """The vocoder's side of one streaming session."""

    def push(self, mel: Tensor, last: bool = False, unvoiced: Tensor | None = None) -> Tensor:
        """Turn the next frames ``(bins, frames)`` into samples ``(n,)``, keeping back a tail.

        Args:
            mel: log-mel spectrogram.
            last: whether nothing follows, so that no tail is kept back.
            unvoiced: as of `Vocoder.synthesize`, bool ``(frames,)``.
        """
        ...


@runtime_checkable
class Vocoder(Protocol):
    """From mel spectrograms to waveforms.

    Attributes:
        sample_rate: of the waveform, Hz.
        hop: samples per mel frame.
    """

    sample_rate: int
    hop: int

    def synthesize(
        self,
        mel: Tensor,
        noise: Sequence[SourceNoise],
        unvoiced: Tensor | None = None,
        prosody: Sequence[Prosody | None] | None = None,
    ) -> Tensor:
        """Turn ``(batch, bins, frames)`` into float32 ``(batch, hop * frames)``.

        Args:
            mel: log-mel spectrograms of equal length.
            noise: one per utterance; a vocoder without a random source does not draw from it.
            unvoiced: frames that are to be spoken without voice, as in a whisper, whatever the
                mel says, bool ``(batch, frames)``; None: none. A vocoder that has no excitation
                of its own speaks the mel as it is.
            prosody: what the pitch, level and colour of each are moved to, whatever the mel says;
                None: nothing. A vocoder without a source that can be moved leaves it out.
        """
        ...

    def stream(self, noise: SourceNoise) -> VocoderStream:
        """Open a streaming session."""
        ...

    def fold_weight_norm(self) -> None:
        """Multiply the weight norms out, for inference; cannot be undone."""
        ...


def cross_fade(new: Tensor, old_tail: Tensor) -> Tensor:
    """Fade from the kept-back tail of the last chunk into the start of the new one.

    Args:
        new: samples ``(n,)``; at least as long as the tail.
        old_tail: samples ``(m,)``, which show the same stretch of time as ``new[:m]``.

    Returns:
        ``new`` with its first ``m`` samples replaced by the Hamming-weighted sum.
    """
    overlap = len(old_tail)
    if overlap == 0:
        return new
    window = torch.from_numpy(np.hamming(2 * overlap)).to(new)
    head = new[:overlap] * window[:overlap] + old_tail * window[overlap:]
    return torch.cat([head, new[overlap:]])
