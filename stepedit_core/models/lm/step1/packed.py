"""Read weights packed by compressed-tensors (the published AWQ 4-bit variant).

That repository's single file holds, for each linear layer of the decoder stack, symmetric
int4 in groups of 128 with 16-bit scales; the file's size fits this layout to the byte of the
payload (no zero points, embedding and head unpacked). Layout of ``weight_packed``: int32
``(out, in / 8)``, the k-th nibble from the low end is input ``8 * column + k``, stored with
an offset of 8 (compressed-tensors, ``pack_to_int32``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stepedit_core.errors import CheckpointError

__all__ = ["check_packed_config", "read_packed_int4"]

_BITS = 4
_PER_WORD = 32 // _BITS
_PARTS = ("weight_packed", "weight_scale", "weight_shape")


def check_packed_config(config: Mapping[str, Any], path: Path) -> None:
    """Check that ``quantization_config`` describes what ``read_packed_int4`` reads.

    Raises:
        CheckpointError: if it is another scheme; ``path`` is named.
    """
    groups = config.get("config_groups")
    schemes = list(groups.values()) if isinstance(groups, Mapping) else []
    weights = [scheme.get("weights") or {} for scheme in schemes if isinstance(scheme, Mapping)]
    known = (
        config.get("quant_method") == "compressed-tensors"
        and config.get("format", "pack-quantized") == "pack-quantized"
        and weights
        and all(
            w.get("num_bits") == _BITS and w.get("type", "int") == "int" and w.get("symmetric")
            for w in weights
        )
    )
    if not known:
        raise CheckpointError(
            f"{path}: the weights are quantised in a way that stepedit does not read "
            f"({config.get('quant_method')!r}, format {config.get('format')!r}); only symmetric "
            "int4 of compressed-tensors is. Use the bfloat16 checkpoint with int8 or int4 loading"
        )


def read_packed_int4(
    tensors: Iterable[tuple[str, Tensor]], *, source: Path | str = "the checkpoint"
) -> Iterator[tuple[str, Tensor]]:
    """Yield plain ``.weight`` tensors for packed ones, and all others as they are.

    Only one layer is expanded at a time. Weights come in the type of their scales.

    Args:
        tensors: (name, tensor) as stored.
        source: named in errors.

    Raises:
        CheckpointError: for zero points or reordered groups, wrong shapes, or parts missing.
    """
    waiting: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors:
        layer, _, part = name.rpartition(".")
        if part in ("weight_zero_point", "weight_g_idx"):
            raise CheckpointError(
                f"{source}: {name} means asymmetric or reordered int4 groups, which stepedit does "
                "not read: use the bfloat16 checkpoint"
            )
        if part not in _PARTS:
            yield name, tensor
            continue
        parts = waiting.setdefault(layer, {})
        parts[part] = tensor.clone()  # the reader may close its file behind us
        if len(parts) == len(_PARTS):
            yield f"{layer}.weight", _expand(waiting.pop(layer), f"{source}: {layer}")
    if waiting:
        raise CheckpointError(
            f"{source}: {sorted(waiting)[0]} lacks some of {', '.join(_PARTS)}: download it again"
        )


def _expand(parts: Mapping[str, Tensor], where: str) -> Tensor:
    packed, scale = parts["weight_packed"], parts["weight_scale"]
    shape = parts["weight_shape"].tolist()
    fits = (
        len(shape) == 2
        and packed.dtype == torch.int32
        and list(packed.shape) == [shape[0], -(-shape[1] // _PER_WORD)]
        and scale.dim() == 2
        and scale.shape[0] == shape[0]
        and shape[1] % scale.shape[1] == 0
    )
    if not fits:
        raise CheckpointError(
            f"{where}: packed weight {tuple(packed.shape)}, scale {tuple(scale.shape)} and shape "
            f"{shape} do not fit each other: download it again"
        )
    rows, columns = shape
    nibbles = torch.stack([(packed >> _BITS * k) & 15 for k in range(_PER_WORD)], dim=-1)
    values = (nibbles.view(rows, -1)[:, :columns] - 8).to(scale.dtype)
    return (values.view(rows, scale.shape[1], -1) * scale[..., None]).reshape(rows, columns)
