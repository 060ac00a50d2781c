"""The ``mel-export``, ``flow-export`` and ``vocoder-export`` stages."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Self

import torch
from pydantic import Field, model_validator

from stepedit_core.atomic import replace_file, write_atomically
from stepedit_core.errors import StepeditError
from stepedit_core.models.checkpoint.hyperyaml import read_hyperyaml
from stepedit_core.models.speaker.campplus import GRAPH
from stepedit_core.models.speaker.ge2e import RESEMBLYZER_FILE
from stepedit_train.decoder.flow.sizes import FlowSizes
from stepedit_train.decoder.mel.settings import MelSizes
from stepedit_train.decoder.mel.stage import CRITIC, READER
from stepedit_train.decoder.pretrained import read_decoder_of
from stepedit_train.decoder.vocoder.settings import VocoderSizes
from stepedit_train.export import (
    PartExportSettings,
    configuration,
    entry_of,
    export_part,
    export_weights,
    newest_run,
    run_sizes,
    save_tensors,
    without_parts,
)
from stepedit_train.settings import resolve_path

__all__ = [
    "FlowExportSettings",
    "MelExportSettings",
    "VocoderExportSettings",
    "export_flow",
    "export_mel",
    "export_vocoder",
]

MEL_CLASS = "stepedit.flow.ReferencedMelDecoder"
VOCODER_CLASS = "stepedit.vocoder.HarmonicNoiseVocoder"
CONFIGURATION = "cosyvoice.yaml"
KEPT = ("hift.safetensors", "hift.pt", GRAPH, RESEMBLYZER_FILE, "FLOW_VERSION")
"""Other files that a decoder folder may hold."""


class FlowExportSettings(PartExportSettings):
    """Settings of the flow-export stage; the sizes are the run's."""

    inference_cfg_rate: float | None = Field(default=None, ge=0)
    """Guidance in use; None: as the run's sizes say."""
    decoder: Path | None = None
    """Decoder folder whose vocoder and speaker encoder are copied, so that a whole decoder folder
    is made, with ``cosyvoice.yaml``. None: weights and ``flow.yaml``, for assemble."""


def export_flow(settings: FlowExportSettings) -> Iterator[str]:
    """Write ``flow.safetensors`` and its entry; yield a line that says what was done.

    Raises:
        StepeditError: if the run has no checkpoint, or the other decoder cannot be read.
    """
    found, content = newest_run(settings, "flow")
    if "estimator" not in json.loads(content["settings"]).get("sizes", {}):
        raise StepeditError(f"{found}: is not of the flow stage")
    changes = {"inference_cfg_rate": settings.inference_cfg_rate}
    sizes = run_sizes(None, FlowSizes, (found, content), changes=changes)
    entry = {"flow": sizes.entry()}
    out = resolve_path(settings, settings.out)
    name, text = "flow.yaml", configuration(entry)
    if settings.decoder is not None:
        other = resolve_path(settings, settings.decoder)
        if other == out:
            raise StepeditError(f"{out}: out and decoder must be two folders")
        name, text = CONFIGURATION, configuration(read_hyperyaml(other / CONFIGURATION) | entry)
        _copy(other, out)
    line = export_weights(settings, found, content, sizes.build(), "flow")
    write_atomically(out / name, text)
    yield line


def _copy(source: Path, target: Path) -> None:
    """Copy what of a decoder folder is not the flow."""
    for name in KEPT:
        if (source / name).is_file():
            replace_file(target / name, partial(shutil.copyfile, source / name))


class MelExportSettings(PartExportSettings):
    """Settings of the mel-export stage."""

    sizes: MelSizes | None = None
    """Sizes of the network; None: as the run's settings say."""
    bounds: dict[str, tuple[float, float, float]] | None = None
    """Bounds of labels in use; see the sizes."""
    unvoiced: tuple[str, ...] | None = None
    """Labels that are spoken without voice in use; see the sizes."""
    prosody: dict[str, dict[str, float]] | None = None
    """What labels usually do, in use; see the sizes."""
    placed_as: str | None = None
    """Label of known places in use; see the sizes."""
    label: str | None = None
    """Label whose edits alone these weights decode, beside those of `decoder`. None: all edits."""
    decoder: Path | None = None
    """Decoder folder that the run began with: what is as there is left out. With `label` alone."""

    @model_validator(mode="after")
    def _is_whole_or_beside(self) -> Self:
        if (self.label is None) != (self.decoder is None):
            raise ValueError("label and decoder go together")
        return self


def export_mel(settings: MelExportSettings) -> Iterator[str]:
    """Write ``flow.safetensors`` and ``flow.yaml``; of a label, ``flow-LABEL.safetensors`` alone.

    Raises as `export_part` does.
    """
    run = newest_run(settings, "mel")
    if settings.label is not None and settings.decoder is not None:
        yield _export_label(settings, run, settings.label, settings.decoder)
        return
    names = ("bounds", "unvoiced", "prosody", "placed_as")
    changes = {name: getattr(settings, name) for name in names}
    sizes = run_sizes(settings.sizes, MelSizes, run, changes=changes)
    entry = entry_of(MEL_CLASS, sizes)
    yield from export_part(settings, run, entry, sizes.build(), "flow", (CRITIC, READER))


def _export_label(
    settings: MelExportSettings, run: tuple[Path, dict[str, Any]], label: str, decoder: Path
) -> str:
    """Write what of a run's weights is other than a decoder's."""
    found, content = run
    known = read_decoder_of(resolve_path(settings, decoder)).state_dict()
    weights = without_parts(content["model"], (CRITIC, READER))
    # What was frozen is not among a run's weights.
    if other := sorted(weights.keys() - known.keys()):
        raise StepeditError(f"{found}: has other parts than {decoder}: {', '.join(other[:3])}")
    changed = {name: one for name, one in weights.items() if not torch.equal(one, known[name])}
    if not changed:
        raise StepeditError(f"{found}: has the weights of {decoder}")
    file = resolve_path(settings, settings.out) / f"flow-{label.replace(':', '-')}.safetensors"
    save_tensors(changed, file, half=settings.half)
    return f"{file}: step {content['step']}, {file.stat().st_size / 1e6:.1f} MB"


class VocoderExportSettings(PartExportSettings):
    """Settings of the vocoder-export stage."""

    sizes: VocoderSizes | None = None
    """Sizes of the networks; None: as the run's settings say."""
    voiced_noise: float | None = Field(default=None, ge=0, le=1)
    """Factor of the noise where speech is voiced, in use; None: as the sizes say."""


def export_vocoder(settings: VocoderExportSettings) -> Iterator[str]:
    """Write ``hift.safetensors`` and ``hift.yaml``; raises as `export_part` does."""
    run = newest_run(settings, "vocoder")
    changes = {"voiced_noise": settings.voiced_noise}
    sizes = run_sizes(settings.sizes, VocoderSizes, run, changes=changes)
    entry = entry_of(VOCODER_CLASS, sizes)
    yield from export_part(settings, run, entry, sizes.build(), "hift")
