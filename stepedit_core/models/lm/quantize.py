"""Weight-only int8 and int4 for the language model's linear layers.

Only the linear layers inside the decoder stack are quantised. The embedding and the output
head keep the working precision, as in the published 4-bit variant: they are 13 percent of the
weights, and errors in the head go straight into the choice of a token. The 3B model then
needs about 4.0 GB (int8) or 2.5 GB (int4, groups of 128) instead of 7.1 GB in bfloat16.

The arithmetic is that of the kernels that PyTorch ships (``_weight_int8pack_mm``,
``_weight_int4pack_mm``); where they do not take a shape, type or device, weights are
expanded for the product.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stepedit_core.errors import EngineError

__all__ = ["Int4Linear", "Int8Linear", "Quantization", "WeightOnlyLinear", "quantize_linears"]

Quantization = Literal["int8", "int4"]

_GROUPS = (128, 64, 32)
# Above this many rows (prefill) one expanded product beats the row-wise kernel.
_KERNEL_ROWS = 32
_CUDA_INNER_TILES = 8


# Below it a half-precision scale would be zero.
_LEAST_SCALE = 1e-7
# Elements quantised at a time: bounds the float32 copies of a large weight.
_BLOCK_ELEMENTS = 2**20


def _row_blocks(weight: Tensor) -> list[slice]:
    """Return slices over the rows of ``weight``, about ``_BLOCK_ELEMENTS`` elements each."""
    rows = max(1, _BLOCK_ELEMENTS // weight.shape[1])
    return [slice(start, start + rows) for start in range(0, weight.shape[0], rows)]


class WeightOnlyLinear(nn.Module):
    """A bias-free linear layer whose weight is stored in few bits."""

    def __init__(self, in_features: int, out_features: int) -> None:
        """Note the sizes; ``load`` brings the weight."""
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features

    def load(self, weight: Tensor) -> None:
        """Quantise ``weight`` (``(out, in)``, float) and keep it on its device.

        Activations must have the type of ``weight``.
        """
        raise NotImplementedError

    def dense(self) -> Tensor:
        """Return the weight that the layer stands for, ``(out, in)``."""
        raise NotImplementedError

    def _kernel(self, x: Tensor) -> Tensor | None:
        """Return the product of ``(rows, in)`` by a packed kernel; None if none fits."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(..., in)`` to ``(..., out)``."""
        rows = x.reshape(-1, self.in_features)
        out = self._kernel(rows)
        if out is None:
            out = F.linear(rows, self.dense())
        return out.view(*x.shape[:-1], self.out_features)

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"in_features={self.in_features}, out_features={self.out_features}"


class Int8Linear(WeightOnlyLinear):
    """Symmetric int8 with one scale per output row."""

    weight: Tensor
    scale: Tensor

    def load(self, weight: Tensor) -> None:
        """See ``WeightOnlyLinear.load``."""
        quantised = torch.empty(weight.shape, dtype=torch.int8, device=weight.device)
        scales = torch.empty(weight.shape[0], dtype=weight.dtype, device=weight.device)
        for rows in _row_blocks(weight):
            wide = weight[rows].float()
            scales[rows] = (wide.abs().amax(dim=1) / 127).clamp(min=_LEAST_SCALE)
            steps = wide / scales[rows].float()[:, None]
            quantised[rows] = steps.round().clamp(-127, 127).to(torch.int8)
        self.register_buffer("weight", quantised)
        self.register_buffer("scale", scales)

    def dense(self) -> Tensor:
        """See ``WeightOnlyLinear.dense``."""
        return self.weight.to(self.scale.dtype) * self.scale[:, None]

    def _kernel(self, x: Tensor) -> Tensor | None:
        # The CPU kernel is for 16-bit floats: in float32 it is ten times slower than the
        # expanded product, and it reads past odd shapes.
        fits = self.out_features % 16 == 0 and self.in_features % 32 == 0
        if not fits or x.shape[0] > _KERNEL_ROWS or not _has_int8_kernel(x):
            return None
        return torch._weight_int8pack_mm(x.contiguous(), self.weight, self.scale)


def _has_int8_kernel(x: Tensor) -> bool:
    if x.dtype not in (torch.bfloat16, torch.float16):
        return False
    if x.device.type == "cpu":
        return True
    return x.device.type == "cuda" and torch._C._dispatch_has_kernel_for_dispatch_key(
        "aten::_weight_int8pack_mm", "CUDA"
    )


class Int4Linear(WeightOnlyLinear):
    """Asymmetric int4 with a scale and a zero point per group of inputs.

    The stored nibbles ``q`` stand for ``(q - 8) * scale + zero``. They are laid out for the
    device that they were loaded on.
    """

    packed: Tensor
    scale_and_zero: Tensor

    def __init__(self, in_features: int, out_features: int) -> None:
        """Choose the largest group size that divides ``in_features``.

        Raises:
            ValueError: if none of 128, 64, 32 does.
        """
        super().__init__(in_features, out_features)
        sizes = [size for size in _GROUPS if in_features % size == 0]
        if not sizes:
            raise ValueError(f"int4 needs a multiple of 32 inputs, not {in_features}")
        self.group = sizes[0]
        self._layout = "plain"
        self._device_type = "cpu"

    def load(self, weight: Tensor) -> None:
        """See ``WeightOnlyLinear.load``."""
        groups = self.in_features // self.group
        both = torch.empty(groups, self.out_features, 2, dtype=weight.dtype, device=weight.device)
        nibbles = torch.empty(weight.shape, dtype=torch.int32, device=weight.device)
        for rows in _row_blocks(weight):
            grouped = weight[rows].float().view(-1, groups, self.group)
            low, high = grouped.aminmax(dim=-1)
            # Round the stored constants first, so the nibbles are chosen for what is kept.
            scale = ((high - low) / 15).clamp(min=_LEAST_SCALE).to(weight.dtype).float()
            zero = (low + 8 * scale).to(weight.dtype).float()
            steps = (grouped - zero[..., None]) / scale[..., None] + 8
            nibbles[rows] = steps.round().clamp(0, 15).flatten(1).to(torch.int32)
            both[:, rows] = torch.stack([scale, zero], dim=-1).transpose(0, 1).to(weight.dtype)
        self.register_buffer("scale_and_zero", both)
        self._device_type = weight.device.type
        self._layout, packed = self._pack(nibbles, weight.dtype)
        self.register_buffer("packed", packed)

    def _pack(self, nibbles: Tensor, dtype: torch.dtype) -> tuple[str, Tensor]:
        if nibbles.device.type == "cpu" and self.out_features % 16 == 0:
            return "cpu", torch._convert_weight_to_int4pack_for_cpu(nibbles, 1)
        pairs = nibbles.to(torch.uint8)
        pairs = pairs[:, ::2] << 4 | pairs[:, 1::2]
        tiles = _CUDA_INNER_TILES
        if (
            nibbles.device.type == "cuda"
            and dtype == torch.bfloat16
            and self.out_features % 8 == 0
            and self.in_features % (16 * tiles) == 0
        ):
            return "cuda", torch._convert_weight_to_int4pack(pairs, tiles)
        return "plain", pairs

    def dense(self) -> Tensor:
        """See ``WeightOnlyLinear.dense``."""
        if self._layout != "plain":
            # The packed layouts are private to the kernels: ask them for the columns.
            both = self.scale_and_zero
            unit = torch.eye(self.in_features, dtype=both.dtype, device=both.device)
            product = self._kernel(unit)
            if product is not None:
                return product.T
        nibbles = torch.stack([self.packed >> 4, self.packed & 15], dim=-1)
        grouped = nibbles.view(self.out_features, -1, self.group).to(self.scale_and_zero.dtype)
        scale, zero = self.scale_and_zero.transpose(0, 1).unsqueeze(-2).unbind(-1)
        return ((grouped - 8) * scale + zero).view(self.out_features, self.in_features)

    def _kernel(self, x: Tensor) -> Tensor | None:
        if x.device.type != self._device_type:
            raise EngineError(
                f"int4 weights were packed for {self._device_type} and cannot run on "
                f"{x.device.type}: load the model again with that device"
            )
        if self._layout == "cpu":
            return torch._weight_int4pack_mm_for_cpu(
                x.contiguous(), self.packed, self.group, self.scale_and_zero
            )
        if self._layout == "cuda":
            return torch._weight_int4pack_mm(
                x.contiguous(), self.packed, self.group, self.scale_and_zero
            )
        return None


def quantize_linears(model: nn.Module, kind: Quantization) -> dict[str, str]:
    """Replace the linear layers of a Step1 model's decoder stack, in place.

    On a ``meta`` model the new layers are empty and wait for ``load``. A layer whose number
    of inputs is no multiple of 32 cannot be int4 and becomes int8; the answer says so.

    Args:
        model: a ``Step1ForCausalLM``.
        kind: ``"int8"`` or ``"int4"``.

    Returns:
        The kind that each replaced layer got, by module name; all else is untouched.

    Raises:
        ValueError: if ``kind`` is unknown.
    """
    if kind not in ("int8", "int4"):
        raise ValueError(f"unknown quantisation {kind!r}: use 'int8' or 'int4'")
    kinds: dict[str, str] = {}
    for name, module in list(model.named_modules()):
        if ".layers." not in f".{name}" or not isinstance(module, nn.Linear):
            continue
        sizes = module.in_features, module.out_features
        small = kind == "int4" and module.in_features % _GROUPS[-1] == 0
        layer: WeightOnlyLinear = Int4Linear(*sizes) if small else Int8Linear(*sizes)
        if module.weight.device.type != "meta":
            layer.load(module.weight.detach())
        parent, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, layer)
        kinds[name] = "int4" if small else "int8"
    return kinds
