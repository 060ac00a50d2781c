"""Write a trained part of a decoder: its weights, and its entry of ``cosyvoice.yaml``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import yaml
from torch import nn

from stepedit_core.atomic import write_atomically
from stepedit_core.errors import StepeditError
from stepedit_train.assembly.shrink import save_tensors
from stepedit_train.checkpoints import latest_checkpoint, read_checkpoint
from stepedit_train.settings import Settings, resolve_path

__all__ = ["PartExportSettings", "export_part"]


class PartExportSettings(Settings):
    """Settings of the stages that export a part."""

    run: Path
    """Folder of the part's run; its newest checkpoint is used."""
    out: Path
    """Folder that gets the weights and the entry."""
    half: bool = True
    """Store the weights as float16; they are loaded as float32."""


def export_part(
    settings: PartExportSettings,
    sizes: Settings,
    model: nn.Module,
    stage: str,
    part: str,
    kind: str,
    left_out: str = "",
) -> Iterator[str]:
    """Write the newest weights, and the entry that names them.

    Args:
        settings: of the stage.
        sizes: of the run's network; they become the entry's arguments.
        model: a fresh network of these sizes.
        stage: that made the run.
        part: name of the entry and of both files, such as ``flow``.
        kind: class path of the entry.
        left_out: part of the run's model that served its training alone; empty: none.

    Raises:
        StepeditError: if there is no checkpoint or it has other sizes.
    """
    run, out = resolve_path(settings, settings.run), resolve_path(settings, settings.out)
    found = latest_checkpoint(run / "checkpoints")
    if found is None:
        raise StepeditError(f"{run}: no checkpoint yet; run `stepedit train {stage}` first")
    content = read_checkpoint(found)
    try:
        weights = content["model"]
        if left_out:
            weights = {n: w for n, w in weights.items() if not n.startswith(f"{left_out}.")}
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise StepeditError(f"{found}: has other sizes than the settings") from error
    file = out / f"{part}.safetensors"
    save_tensors(model.state_dict(), file, half=settings.half)
    block = yaml.safe_dump(sizes.model_dump(exclude={"base"}), sort_keys=False)
    lines = "".join(f"  {line}\n" for line in block.splitlines())
    write_atomically(out / f"{part}.yaml", f"{part}: !new:{kind}\n{lines}".encode())
    size = file.stat().st_size / 1e6
    yield f"{file}: step {content['step']}, {size:.1f} MB"
