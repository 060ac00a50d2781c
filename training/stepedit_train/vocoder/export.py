"""The ``vocoder-export`` stage: the vocoder's weights and its part of ``cosyvoice.yaml``."""

from __future__ import annotations

from collections.abc import Iterator

from stepedit_train.exporting import PartExportSettings, entry_of, export_part
from stepedit_train.vocoder.sizes import VocoderSizes

__all__ = ["VocoderExportSettings", "export_vocoder"]

CLASS = "stepedit.vocoder.HarmonicNoiseVocoder"


class VocoderExportSettings(PartExportSettings):
    """Settings of the vocoder-export stage."""

    sizes: VocoderSizes = VocoderSizes()
    """Of the run's networks."""


def export_vocoder(settings: VocoderExportSettings) -> Iterator[str]:
    """Write ``hift.safetensors`` and ``hift.yaml``; raises as `export_part` does."""
    sizes = settings.sizes
    entry = entry_of(CLASS, sizes)
    yield from export_part(settings, entry, sizes.build(), "vocoder", "hift")
