"""The ``vocoder-export`` stage: the vocoder's weights and its part of ``cosyvoice.yaml``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
import yaml
from safetensors.torch import save_file

from stepedit_core.atomic import replace_file, write_atomically
from stepedit_core.errors import StepeditError
from stepedit_train.checkpoints import latest_checkpoint, read_checkpoint
from stepedit_train.settings import Settings, resolve_path
from stepedit_train.vocoder.sizes import VocoderSizes

__all__ = ["VocoderExportSettings", "export_vocoder"]

CLASS = "stepedit.vocoder.HarmonicNoiseVocoder"
WEIGHTS, BLOCK = "hift.safetensors", "hift.yaml"


class VocoderExportSettings(Settings):
    """Settings of the vocoder-export stage."""

    run: Path
    """Folder of the vocoder stage's run; its newest checkpoint is used."""
    out: Path
    """Folder that gets ``hift.safetensors`` and ``hift.yaml``."""
    sizes: VocoderSizes = VocoderSizes()
    """Of the run's networks."""
    half: bool = True
    """Store the weights as float16; they are loaded as float32."""


def export_vocoder(settings: VocoderExportSettings) -> Iterator[str]:
    """Write the newest weights, and the entry that names them.

    Raises:
        StepeditError: if there is no checkpoint or it has other sizes.
    """
    run, out = resolve_path(settings, settings.run), resolve_path(settings, settings.out)
    found = latest_checkpoint(run / "checkpoints")
    if found is None:
        raise StepeditError(f"{run}: no checkpoint yet; run `stepedit train vocoder` first")
    content = read_checkpoint(found)
    model = settings.sizes.build()
    try:
        model.load_state_dict(content["model"])
    except RuntimeError as error:
        raise StepeditError(f"{found}: has other sizes than the settings") from error
    dtype = torch.float16 if settings.half else torch.float32
    weights = {name: weight.to(dtype).contiguous() for name, weight in model.state_dict().items()}
    replace_file(out / WEIGHTS, lambda partial: save_file(weights, partial))
    block = yaml.safe_dump(settings.sizes.model_dump(exclude={"base"}), sort_keys=False)
    lines = "".join(f"  {line}\n" for line in block.splitlines())
    write_atomically(out / BLOCK, f"hift: !new:{CLASS}\n{lines}".encode())
    size = (out / WEIGHTS).stat().st_size / 1e6
    yield f"{out / WEIGHTS}: step {content['step']}, {size:.1f} MB"
