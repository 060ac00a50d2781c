"""Load a Step1 model from a checkpoint folder, one tensor at a time.

The model is built on the ``meta`` device and every tensor goes straight to its place, type
and device, so the host never holds much more than the model itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from stepedit_core.errors import CheckpointError
from stepedit_core.models.checkpoint.weights import without_weights
from stepedit_core.models.lm.quantize import Quantization, WeightOnlyLinear, quantize_linears
from stepedit_core.models.lm.step1.network import Step1Network, fuse_projections
from stepedit_core.models.lm.step1.packed import check_packed_config, read_packed_int4
from stepedit_core.models.lm.step1.sizes import MODEL_TYPE, Step1Sizes

if TYPE_CHECKING:
    from stepedit_core.models.lm.step1.configuration import Step1Config
    from stepedit_core.models.lm.step1.modeling import Step1ForCausalLM

__all__ = [
    "load_network",
    "load_step1",
    "load_weights",
    "network_without_weights",
    "read_config",
    "read_safetensors",
]

_INDEX = "model.safetensors.index.json"
_SINGLE = "model.safetensors"
_SIZES = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_attention_groups",
    "max_seq_len",
)
_MOST_LAYERS = 1000


C = TypeVar("C")
M = TypeVar("M", bound=nn.Module)


def load_step1(
    folder: str | Path,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
    quantize: Quantization | None = None,
) -> Step1ForCausalLM:
    """Load the language model of a checkpoint folder as a transformers model.

    Args:
        folder: holds ``config.json`` and safetensors files, single or sharded.
        dtype: floating-point type; None is the one that ``config.json`` names.
        device: where the weights go.
        quantize: weight-only quantisation of the decoder stack while loading.

    Returns:
        The model in evaluation mode.

    Raises:
        CheckpointError: if a file is missing, damaged, or of another model.
    """
    from stepedit_core.models.lm.step1.modeling import Step1ForCausalLM

    config, packed = read_config(Path(folder))
    with without_weights():
        model = Step1ForCausalLM(config)
    return _filled(model, packed, Path(folder), dtype, device, quantize)


def load_network(
    folder: str | Path,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
    quantize: Quantization | None = None,
) -> Step1Network:
    """Load the language model for inference alone; arguments and errors as of ``load_step1``."""
    sizes, packed = _read(Step1Sizes.from_dict, Path(folder))
    with without_weights():
        network = Step1Network(sizes)
    _filled(network, packed, Path(folder), dtype, device, quantize).requires_grad_(False)
    fuse_projections(network)
    return network


def network_without_weights(folder: str | Path, dtype: torch.dtype | None) -> Step1Network:
    """Return the language model of a folder as its sizes alone, on the device ``meta``.

    Raises:
        CheckpointError: if ``config.json`` is missing or of another model.
    """
    sizes, _ = _read(Step1Sizes.from_dict, Path(folder))
    with torch.device("meta"):
        return Step1Network(sizes).to(dtype or sizes.dtype or torch.bfloat16)


def _filled(
    model: M,
    packed: dict[str, Any] | None,
    folder: Path,
    dtype: torch.dtype | None,
    device: torch.device | str,
    quantize: Quantization | None,
) -> M:
    """Read a folder's weights into a model without any."""
    config: Any = model.config
    config.dtype = dtype = dtype or config.dtype or torch.bfloat16
    if quantize is not None:
        quantize_linears(model, quantize)
    tensors = read_safetensors(folder)
    if packed is not None:
        check_packed_config(packed, folder / "config.json")
        tensors = read_packed_int4(tensors, source=folder)
    load_weights(model, tensors, dtype=dtype, device=device, source=folder)
    model.train(False)
    return model


def read_config(folder: Path) -> tuple[Step1Config, dict[str, Any] | None]:
    """Return the model's configuration, and the ``quantization_config`` beside it.

    Raises:
        CheckpointError: if ``config.json`` is missing, damaged, or of another model.
    """
    from stepedit_core.models.lm.step1.configuration import Step1Config

    return _read(Step1Config.from_dict, folder)


def _read(make: Callable[[dict[str, Any]], C], folder: Path) -> tuple[C, dict[str, Any] | None]:
    """Return what is made of ``config.json``, and the ``quantization_config`` in it."""
    path = folder / "config.json"
    raw = _read_json(path)
    if raw.get("model_type") != MODEL_TYPE:
        raise CheckpointError(
            f"{path}: model_type is {raw.get('model_type')!r}, not 'step1': "
            "point to the Step-Audio-EditX folder"
        )
    packed = raw.pop("quantization_config", None)
    raw.pop("auto_map", None)
    _check_sizes(raw, path)
    try:
        return make(raw), packed
    except (ValueError, TypeError, ZeroDivisionError) as error:
        raise CheckpointError(f"{path}: {error}: download it again") from error


def _check_sizes(raw: dict[str, Any], path: Path) -> None:
    """Refuse sizes that are no positive whole numbers, or more layers than any model has."""
    for key in _SIZES:
        value = raw.get(key, 1)
        if type(value) is not int or value < 1:
            raise CheckpointError(
                f"{path}: {key} is {value!r}, not a positive whole number: download it again"
            )
    if not isinstance(raw.get("rms_norm_eps", 1e-5), int | float):
        raise CheckpointError(
            f"{path}: rms_norm_eps is {raw['rms_norm_eps']!r}, not a number: download it again"
        )
    if raw.get("num_hidden_layers", 1) > _MOST_LAYERS:
        raise CheckpointError(
            f"{path}: num_hidden_layers {raw['num_hidden_layers']} is more than {_MOST_LAYERS}: "
            "download it again"
        )


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise CheckpointError(f"{path} is missing: download the language model's folder again")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not valid JSON ({error}): download it again") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} does not hold a JSON object: download it again")
    return content


def _weight_files(folder: Path) -> dict[Path, list[str] | None]:
    """Return the safetensors files and the names to read from each; None means all.

    Raises:
        CheckpointError: if there are none, or the index is wrong.
    """
    index = folder / _INDEX
    if not index.is_file():
        found = [folder / _SINGLE] if (folder / _SINGLE).is_file() else []
        found = found or sorted(folder.glob("*.safetensors"))
        if len(found) != 1:
            raise CheckpointError(
                f"{folder} has neither {_INDEX} nor {_SINGLE}: download the language model again"
            )
        return {found[0]: None}
    names = _read_json(index).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise CheckpointError(f"{index} has no weight_map: download it again")
    files: dict[Path, list[str] | None] = {}
    for name, shard in names.items():
        if not isinstance(shard, str) or Path(shard).name != shard:
            raise CheckpointError(f"{index}: {shard!r} is not a file name beside it")
        wanted = files.setdefault(folder / shard, [])
        if wanted is not None:
            wanted.append(name)
    for path in files:
        if not path.is_file():
            raise CheckpointError(f"{path}, named by {_INDEX}, is missing: download it again")
    return files


def read_safetensors(folder: str | Path) -> Iterator[tuple[str, Tensor]]:
    """Yield (name, tensor) of a folder's safetensors; a tensor is valid until the next one.

    The file is mapped anew for every tensor, so that pages already read do not add up.

    Raises:
        CheckpointError: if a file is missing, damaged, or lacks a tensor.
    """
    for path, names in _weight_files(Path(folder)).items():
        try:
            if names is None:
                with safe_open(path, framework="pt") as file:
                    names = list(file.keys())
            for name in names:
                with safe_open(path, framework="pt") as file:
                    yield name, file.get_tensor(name)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f"{path} is damaged, incomplete or not a safetensors file ({error}): "
                "download it again"
            ) from error


def load_weights(
    model: nn.Module,
    tensors: Iterable[tuple[str, Tensor]],
    *,
    dtype: torch.dtype,
    device: torch.device | str = "cpu",
    source: Path | str = "the checkpoint",
) -> None:
    """Put tensors into a model (usually on ``meta``), each copied once.

    Args:
        model: its parameter names are those of the tensors; ``WeightOnlyLinear`` layers take
            the tensor that their plain form would.
        tensors: (name, tensor), in any order; a tensor is not kept.
        dtype: floating-point type of the weights.
        device: where they go.
        source: named in errors.

    Raises:
        CheckpointError: for missing, unknown or repeated names, wrong shapes, or values that
            are not finite.
    """
    expected = {name: tuple(p.shape) for name, p in model.named_parameters()}
    for name, module in model.named_modules():
        if isinstance(module, WeightOnlyLinear):
            expected[f"{name}.weight"] = (module.out_features, module.in_features)
    for name, tensor in tensors:
        shape = expected.pop(name, None)
        if shape is None:
            raise CheckpointError(
                f"{source}: tensor {name!r} is repeated or does not belong to this model: "
                "weights and config.json are of different models, download both again"
            )
        if tuple(tensor.shape) != shape:
            raise CheckpointError(
                f"{source}: tensor {name!r} has shape {tuple(tensor.shape)}, config.json asks for "
                f"{shape}: they are of different models, download both again"
            )
        placed = tensor.to(device=device, dtype=dtype, copy=True)
        if not _all_finite(placed):
            raise CheckpointError(
                f"{source}: tensor {name!r} has values that are not finite in {dtype}: "
                "the file is damaged, download it again"
            )
        _place(model, name, placed)
    if expected:
        some = ", ".join(sorted(expected)[:3])
        raise CheckpointError(
            f"{source}: {len(expected)} tensors are missing ({some}, ...): download it again"
        )


def _all_finite(tensor: Tensor) -> bool:
    # The extremes carry any NaN or infinity along and need no mask as large as the tensor.
    return all(bool(extreme.isfinite()) for extreme in tensor.aminmax())


def _place(model: nn.Module, name: str, tensor: Tensor) -> None:
    parent, _, leaf = name.rpartition(".")
    module = model.get_submodule(parent)
    if isinstance(module, WeightOnlyLinear):
        module.load(tensor)
        return
    trainable = bool(getattr(module, leaf).requires_grad)
    setattr(module, leaf, nn.Parameter(tensor, requires_grad=trainable))
