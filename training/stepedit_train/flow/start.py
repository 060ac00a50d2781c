"""Begin a run with the weights of a decoder folder, such as that of the public checkpoint."""

from __future__ import annotations

from pathlib import Path

import torch

from stepedit_core.errors import StepeditError
from stepedit_core.models.decoder.checkpoint import read_flow
from stepedit_core.models.decoder.flow import CausalMaskedDiffWithXvec

__all__ = ["take_weights"]


def take_weights(folder: Path, model: CausalMaskedDiffWithXvec) -> None:
    """Copy the weights of a decoder into a model.

    Args:
        folder: with ``cosyvoice.yaml`` and ``flow.pt`` or ``flow.safetensors``, or the checkpoint
            folder around it; read as an engine reads it.
        model: of the same sizes.

    Raises:
        StepeditError: if a file is missing, damaged or refused, or the decoder is of another
            kind or of other sizes.
    """
    flow = read_flow(folder, "cpu", torch.float32)
    if not isinstance(flow, CausalMaskedDiffWithXvec):
        raise StepeditError(f"{folder}: its decoder is of another kind than this stage trains")
    given, wanted = flow.state_dict(), model.state_dict()
    if flow.factor != model.factor or given.keys() != wanted.keys():
        raise StepeditError(f"{folder}: its decoder has other sizes or layers than `sizes` says")
    for name, tensor in given.items():
        if tensor.shape != wanted[name].shape:
            raise StepeditError(
                f"{folder}: its decoder has other sizes than `sizes` says: {name} is "
                f"{tuple(tensor.shape)}, not {tuple(wanted[name].shape)}"
            )
    model.load_state_dict(given)
