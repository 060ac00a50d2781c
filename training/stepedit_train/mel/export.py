"""The ``mel-export`` stage: the decoder's weights and its part of ``cosyvoice.yaml``."""

from __future__ import annotations

from collections.abc import Iterator

from stepedit_train.exporting import PartExportSettings, entry_of, export_part
from stepedit_train.mel.settings import MelSizes
from stepedit_train.mel.stage import CRITIC

__all__ = ["MelExportSettings", "export_mel"]

CLASS = "stepedit.flow.ReferencedMelDecoder"


class MelExportSettings(PartExportSettings):
    """Settings of the mel-export stage."""

    sizes: MelSizes = MelSizes()
    """Of the run's network."""


def export_mel(settings: MelExportSettings) -> Iterator[str]:
    """Write ``flow.safetensors`` and ``flow.yaml``; raises as `export_part` does."""
    sizes = settings.sizes
    entry = entry_of(CLASS, sizes)
    yield from export_part(settings, entry, sizes.build(), "mel", "flow", CRITIC)
