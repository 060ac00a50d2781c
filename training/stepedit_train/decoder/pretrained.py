"""Begin a run with the weights of an engine's decoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stepedit_core.errors import CheckpointError, StepeditError
from stepedit_core.models.checkpoint.hyperyaml import Component, read_hyperyaml
from stepedit_core.models.decoder.checkpoint import read_flow
from stepedit_core.models.decoder.flow import CausalMaskedDiffWithXvec
from stepedit_core.models.decoder.reference.model import ReferencedMelDecoder

__all__ = [
    "entry_in",
    "read_decoder_of",
    "take_decoder",
    "take_weights",
]

_TABLES = ("labels.table.weight", "labels.again.")


def entry_in(folder: Path) -> dict[str, Any]:
    """Return the arguments by which a decoder folder describes its mel decoder.

    Raises:
        StepeditError: if there is no readable ``cosyvoice.yaml``, or it describes another kind.
    """
    found = read_hyperyaml(folder / "cosyvoice.yaml").get("flow")
    if not isinstance(found, Component) or not found.path.endswith(".ReferencedMelDecoder"):
        raise StepeditError(f"{folder}: its decoder is of another kind than the mel stage trains")
    return dict(found.arguments)


def read_decoder_of(folder: Path) -> ReferencedMelDecoder:
    """Return the mel decoder of an engine in float32, in evaluation mode, without bounds.

    Args:
        folder: with ``cosyvoice.yaml`` and ``flow.safetensors``, or the checkpoint folder around
            it.

    Raises:
        StepeditError: if a file is missing, damaged or refused, or the decoder is of another kind.
    """
    decoder = read_flow(folder, "cpu", torch.float32)
    if not isinstance(decoder, ReferencedMelDecoder):
        raise StepeditError(f"{folder}: its decoder is of another kind than the mel stage trains")
    if decoder.labels is not None:
        decoder.labels.bounds = {}
    return decoder


def take_decoder(decoder: ReferencedMelDecoder, model: ReferencedMelDecoder) -> None:
    """Copy the weights of a decoder into one that may have more parts and more labels.

    What it has not keeps its first values, which change next to nothing.

    Args:
        decoder: with the weights.
        model: of the same sizes otherwise; changed in place.

    Raises:
        CheckpointError: if it has other sizes, or lacks parts or labels of the decoder.
    """
    given, own = decoder.state_dict(), model.state_dict()
    if decoder.labels is not None and model.labels is not None:
        for name in [name for name in given if name.startswith(_TABLES)]:
            given[name] = _spread(given[name], own[name], decoder, model)
    try:
        strange = model.load_state_dict(given, strict=False)
    except RuntimeError as error:
        raise CheckpointError("weights: their decoder has other sizes than `sizes`") from error
    if strange.unexpected_keys:
        raise CheckpointError("weights: their decoder has parts that `sizes` does not name")


def _spread(
    given: Tensor, own: Tensor, decoder: ReferencedMelDecoder, model: ReferencedMelDecoder
) -> Tensor:
    """Return a table of vectors with those of known labels at their new rows."""
    assert decoder.labels is not None and model.labels is not None
    lost = set(decoder.labels.names) - set(model.labels.names)
    if lost:
        raise CheckpointError(f"weights: `sizes.labels` lacks {', '.join(sorted(lost))}")
    if given.shape[1] != own.shape[1]:
        return given  # refused with everything else that has another size
    found = own.clone()
    for row, name in enumerate(decoder.labels.names, start=1):
        found[1 + model.labels.names.index(name)] = given[row]
    return found


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
