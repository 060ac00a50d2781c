"""Vocoders: from mel frames (50 Hz) to a waveform (24 kHz)."""

from __future__ import annotations

from stepedit_core.models.vocoder.bigvgan import BigVGAN
from stepedit_core.models.vocoder.harmonic_noise import HarmonicNoiseVocoder
from stepedit_core.models.vocoder.hift import HiFTGenerator
from stepedit_core.models.vocoder.protocol import (
    SeededSourceNoise,
    SourceNoise,
    Vocoder,
    VocoderStream,
)
from stepedit_core.models.vocoder.source import ConvRNNF0Predictor

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
