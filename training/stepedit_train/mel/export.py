"""The ``mel-export`` stage: the decoder's weights and its part of ``cosyvoice.yaml``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
import yaml
from safetensors.torch import save_file

from stepedit_core.atomic import replace_file, write_atomically
from stepedit_core.errors import StepeditError
from stepedit_train.checkpoints import latest_checkpoint, read_checkpoint
from stepedit_train.mel.stage import MelSizes
from stepedit_train.settings import Settings, resolve_path

__all__ = ["MelExportSettings", "export_mel"]

CLASS = "stepedit.flow.ReferencedMelDecoder"


class MelExportSettings(Settings):
    """Settings of the mel-export stage."""

    run: Path
    """Folder of the mel stage's run; its newest checkpoint is used."""
    out: Path
    """Folder that gets ``flow.safetensors`` and ``flow.yaml``."""
    sizes: MelSizes = MelSizes()
    """Of the run's network."""
    half: bool = True
    """Store the weights as float16; they are loaded as float32."""


def export_mel(settings: MelExportSettings) -> Iterator[str]:
    """Write the newest weights.

    Raises:
        StepeditError: if there is no checkpoint or it has other sizes.
    """
    run, out = resolve_path(settings, settings.run), resolve_path(settings, settings.out)
    found = latest_checkpoint(run / "checkpoints")
    if found is None:
        raise StepeditError(f"{run}: no checkpoint yet; run `stepedit train mel` first")
    content = read_checkpoint(found)
    model = settings.sizes.build()
    try:
        model.load_state_dict(content["model"])
    except RuntimeError as error:
        raise StepeditError(f"{found}: has other sizes than the settings") from error
    dtype = torch.float16 if settings.half else torch.float32
    weights = {name: weight.to(dtype).contiguous() for name, weight in model.state_dict().items()}
    replace_file(out / "flow.safetensors", lambda partial: save_file(weights, partial))
    sizes = settings.sizes.model_dump(exclude={"base"})
    block = yaml.safe_dump(sizes, sort_keys=False)
    lines = "".join(f"  {line}\n" for line in block.splitlines())
    write_atomically(out / "flow.yaml", f"flow: !new:{CLASS}\n{lines}".encode())
    size = (out / "flow.safetensors").stat().st_size / 1e6
    yield f"{out / 'flow.safetensors'}: step {content['step']}, {size:.1f} MB"
