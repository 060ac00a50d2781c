"""Streaming of the harmonic-plus-noise vocoder: what one chunk hands to the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from stepedit_core.models.decoder.vocoder.excitation import phase_of
from stepedit_core.models.decoder.vocoder.pitch import Pitch
from stepedit_core.models.decoder.vocoder.protocol import CACHED_FRAMES, SourceNoise, cross_fade

if TYPE_CHECKING:
    from stepedit_core.models.decoder.vocoder.harmonic_noise import HarmonicNoiseVocoder

__all__ = ["FRAMES_PER_MEL", "HarmonicNoiseStream"]

FRAMES_PER_MEL = 2
"""Transform frames in a mel frame."""
PAST_FRAMES = 3 * CACHED_FRAMES
"""Mel frames that a stream keeps: a third is heard twice, the rest is the network's past."""


@dataclass
class _Past:
    """What a stream hands from one chunk to the next; all of it shows the same frames.

    Attributes:
        mel: ``(1, bins, frames)``.
        unvoiced: frames without voice, bool ``(1, frames)``.
        pitch: of the frames, without the half frame after the last one.
        phase: cycles at the first sample, float64 ``(1, 1)``.
        noise: ``(1, hop * frames)``.
        tail: the samples that were kept back, ``(n,)``.
    """

    mel: Tensor
    unvoiced: Tensor
    pitch: Pitch
    phase: Tensor
    noise: Tensor
    tail: Tensor


class HarmonicNoiseStream:
    """Chunk by chunk synthesis: the same pitch, phase and noise where two chunks overlap.

    Eight frames are kept back, made again with what follows them, and cross-faded.
    """

    def __init__(self, vocoder: HarmonicNoiseVocoder, noise: SourceNoise) -> None:
        """Begin with nothing cached."""
        self.vocoder, self.noise = vocoder, noise
        self.past: _Past | None = None

    @torch.inference_mode()
    def push(self, mel: Tensor, last: bool = False, unvoiced: Tensor | None = None) -> Tensor:
        """Turn the next frames ``(bins, frames)`` into samples; all but the overlap come out."""
        own, past = self.vocoder, self.past
        mel = mel.float()[None]
        silenced = mel.new_zeros(1, mel.shape[2], dtype=torch.bool)
        if unvoiced is not None:
            silenced |= unvoiced
        noise = own.draw([self.noise], mel.shape[2]).to(mel.device)
        start = torch.zeros(1, 1, dtype=torch.float64, device=mel.device)
        if past is not None:
            mel, noise = torch.cat([past.mel, mel], 2), torch.cat([past.noise, noise], 1)
            silenced = torch.cat([past.unvoiced, silenced], 1)
            start = past.phase
        given = silenced if silenced.any() else None
        shaped = own.shaped(mel, given)
        pitch = own.predict_pitch(shaped)
        if past is not None:
            known = past.pitch.hz.shape[1]
            pitch.hz[:, :known], pitch.voicing[:, :known] = past.pitch.hz, past.pitch.voicing
        filters = own.without_voice(own.cleared(own.filters(shaped, pitch), pitch), given)
        wave = own.render(filters, own.pulses(pitch.hz, start), noise)[0]
        wave = wave.clamp(-own.limit, own.limit)
        if past is not None:
            wave = cross_fade(wave[-len(past.tail) - self._fresh(mel, past) :], past.tail)
        if last:
            self.past = None
            return wave
        kept_back = min(CACHED_FRAMES * own.hop, len(wave))
        self.past = self._keep(mel, silenced, pitch, start, noise, wave[len(wave) - kept_back :])
        return wave[: len(wave) - kept_back]

    def _fresh(self, mel: Tensor, past: _Past) -> int:
        """Return the samples of the frames that came with this push."""
        return (mel.shape[2] - past.mel.shape[2]) * self.vocoder.hop

    def _keep(
        self,
        mel: Tensor,
        unvoiced: Tensor,
        pitch: Pitch,
        start: Tensor,
        noise: Tensor,
        tail: Tensor,
    ) -> _Past:
        """Return the last frames of a chunk, with the phase at their beginning."""
        own, frames = self.vocoder, min(PAST_FRAMES, mel.shape[2])
        dropped = mel.shape[2] - frames
        points = FRAMES_PER_MEL * dropped
        if dropped:
            hz = pitch.hz[:, : points + 1]
            phase = phase_of(hz, own.stft_hop, own.sample_rate, start)
            start = (phase[:, -1:] + hz[:, -1:].double() / own.sample_rate) % 1.0
        kept = Pitch(pitch.hz[:, points:-1].clone(), pitch.voicing[:, points:-1].clone())
        return _Past(
            mel[:, :, dropped:].clone(),
            unvoiced[:, dropped:].clone(),
            kept,
            start,
            noise[:, dropped * own.hop :].clone(),
            tail,
        )
