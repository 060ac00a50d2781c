"""Vocoders: from mel frames (50 Hz) to a waveform (24 kHz)."""

from __future__ import annotations

from stepedit_core.models.decoder.vocoder.bigvgan import BigVGAN
from stepedit_core.models.decoder.vocoder.harmonic_noise import HarmonicNoiseVocoder
from stepedit_core.models.decoder.vocoder.hift import HiFTGenerator
from stepedit_core.models.decoder.vocoder.protocol import (
    SeededSourceNoise,
    SourceNoise,
    Vocoder,
    VocoderStream,
)
from stepedit_core.models.decoder.vocoder.source import ConvRNNF0Predictor

__all__ = [
    "BigVGAN",
    "ConvRNNF0Predictor",
    "HarmonicNoiseVocoder",
    "HiFTGenerator",
    "SeededSourceNoise",
    "SourceNoise",
    "Vocoder",
    "VocoderStream",
]
