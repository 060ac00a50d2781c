"""Read weight files safely and load them into modules with errors that name the cure."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from stepedit_core.errors import CheckpointError

__all__ = ["load_into", "read_state_dict", "without_weights"]

CURE = "download the file again"
NESTING_KEYS = ("state_dict", "model_state_dict", "model", "module", "generator")
BOOKKEEPING_KEYS = frozenset({"epoch", "step", "global_step"})
ZIP_MAGIC = b"PK\x03\x04"
SHOWN = 3


class _NoDraws(TorchFunctionMode):
    """Leave out the drawing of first weights: on the meta device it is slow and for nothing."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Return the tensor of an initialiser as it is; call everything else."""
        given = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else given["tensor"]
        if func in (torch.randn, torch.rand):
            return torch.empty(*args, **{k: v for k, v in given.items() if k != "generator"})
        return func(*args, **given)


@contextmanager
def without_weights() -> Iterator[None]:
    """Build modules on the meta device inside this, to be filled by ``load_into``.

    Weights are not drawn: torch would import its compiler for that, which takes longer than
    to load a small model.
    """
    with torch.device("meta"), _NoDraws():
        yield


def read_state_dict(
    path: Path, *, mmap: bool = True, check_finite: bool = True
) -> dict[str, Tensor]:
    """Read the tensors of a ``.pt``, ``.pth``, ``.bin`` or ``.safetensors`` file onto the CPU.

    Pickles are read with ``weights_only=True``: tensors and plain containers, no code. Tensors
    that are views of larger storages, any floating dtype, and a state dict nested under one of
    the usual keys are accepted.

    Args:
        path: the weight file.
        mmap: map the file instead of reading it, so that nothing is held twice. Leave it on unless
            the tensors are going to be converted on the CPU.
        check_finite: refuse NaN and infinite values.

    Returns:
        Name to tensor, in file order, with the stored dtypes.

    Raises:
        CheckpointError: if the file is missing, truncated, not a weight file, or holds a NaN or an
            infinite value.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; download the whole checkpoint folder")
    if path.stat().st_size == 0:
        raise CheckpointError(f"{path}: is empty; {CURE}")
    state = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path, mmap)
    if check_finite:
        for name, tensor in state.items():
            _check_finite(name, tensor, path)
    return state


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file; its header is checked against its length by the library."""
    try:
        return load_file(path, device="cpu")
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{path}: is truncated or not a safetensors file ({error}); {CURE}"
        ) from error


def _read_torch(path: Path, mmap: bool) -> dict[str, Tensor]:
    """Read a torch file of either format."""
    with path.open("rb") as stream:
        magic = stream.read(8)
    if magic[:4] == ZIP_MAGIC and not zipfile.is_zipfile(path):
        raise CheckpointError(f"{path}: is truncated; {CURE}")
    if magic.startswith(b"version ") or magic.lstrip().startswith((b"<", b"{")):
        raise CheckpointError(
            f"{path}: is a text file (a Git LFS pointer or a web page?), not weights; {CURE}"
        )
    try:
        loaded = torch.load(
            path,
            map_location="cpu",
            weights_only=True,
            mmap=mmap and magic[:4] == ZIP_MAGIC,
        )
    except pickle.UnpicklingError as error:
        # torch's own text advises to run it all the same.
        named = re.search(r"GLOBAL (\S+)", str(error))
        reason = f" ({named.group(1)})" if named else ""
        raise CheckpointError(
            f"{path}: holds something else than tensors{reason}, which is not run; use the "
            f"published file"
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, OSError, AttributeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise CheckpointError(
            f"{path}: is truncated or not a torch weight file ({reason}); {CURE}"
        ) from error
    return _tensors_of(loaded, path)


def _tensors_of(loaded: Any, path: Path) -> dict[str, Tensor]:
    """Return the flat name-to-tensor mapping of a loaded object."""
    if not isinstance(loaded, Mapping):
        raise CheckpointError(
            f"{path}: holds a {type(loaded).__name__}, not named tensors; use the published file"
        )
    for key in NESTING_KEYS:
        if isinstance(loaded.get(key), Mapping):
            return _tensors_of(loaded[key], path)
    state: dict[str, Tensor] = {}
    for key, value in loaded.items():
        if isinstance(value, Tensor):
            state[str(key)] = value.detach()
        elif key not in BOOKKEEPING_KEYS:
            raise CheckpointError(
                f"{path}: entry {key!r} is a {type(value).__name__}, not a tensor; use the "
                f"published file"
            )
    if not state:
        raise CheckpointError(f"{path}: holds no tensors; use the published file")
    return state


def _check_finite(name: str, tensor: Tensor, path: Path) -> None:
    """Refuse NaN and infinity; minimum and maximum carry both without a temporary tensor."""
    if not tensor.is_floating_point() or tensor.numel() == 0:
        return
    if tensor.element_size() == 1:  # 8-bit floats have no reductions
        tensor = tensor.float()
    low, high = torch.aminmax(tensor)
    if not (torch.isfinite(low) and torch.isfinite(high)):
        raise CheckpointError(
            f"{path}: tensor {name} holds NaN or infinite values; the file is damaged, {CURE}"
        )


def load_into(
    module: nn.Module,
    state: MutableMapping[str, Tensor],
    prefix: str = "",
    file: Path | str = "weights",
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> None:
    """Load named tensors into a module, which may live on the meta device.

    Tensors are assigned, not copied, and taken out of ``state`` one by one, so that the peak is
    what the file holds plus one tensor. Weight-norm pairs are accepted in both spellings,
    ``weight_g``/``weight_v`` and ``parametrizations.weight.original0``/``original1``.

    Args:
        module: the module to fill; its ``requires_grad`` flags are kept.
        state: name to tensor; entries under ``prefix`` are taken out.
        prefix: name prefix in ``state``, such as ``"flow."``; empty takes all entries.
        file: the file the tensors came from, for errors.
        dtype: floating dtype to convert to; None keeps the module's own dtype.
        device: where to put the tensors; None leaves them where they are.

    Raises:
        CheckpointError: naming the tensors that are missing, left over, or of another shape.
    """
    wanted = module.state_dict()
    named = {
        _target_name(key[len(prefix) :], wanted): key for key in state if key.startswith(prefix)
    }
    problems = _differences(wanted, {name: state[key] for name, key in named.items()})
    if problems:
        raise CheckpointError(
            f"{file}: does not fit the architecture that the configuration describes: "
            f"{'; '.join(problems)}; the file belongs to another model or version, {CURE}"
        )
    trainable = {name: p.requires_grad for name, p in module.named_parameters()}
    for name, key in named.items():
        tensor = state.pop(key)
        want = dtype if dtype is not None and wanted[name].is_floating_point() else None
        tensor = tensor.to(device=device, dtype=want or wanted[name].dtype)
        owner_name, _, leaf = name.rpartition(".")
        owner = module.get_submodule(owner_name)
        if leaf in owner._parameters:
            owner._parameters[leaf] = nn.Parameter(tensor, requires_grad=trainable[name])
        else:
            owner._buffers[leaf] = tensor


def _target_name(name: str, wanted: Mapping[str, Tensor]) -> str:
    """Translate the old weight-norm names where the module uses the new ones."""
    for old, new in (("weight_g", "original0"), ("weight_v", "original1")):
        if name.endswith(f".{old}"):
            renamed = f"{name.removesuffix(old)}parametrizations.weight.{new}"
            return renamed if renamed in wanted else name
    return name


def _differences(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[str]:
    """List what is missing, left over or of another shape, by name."""
    missing = [name for name in wanted if name not in given]
    extra = [name for name in given if name not in wanted]
    shapes = [
        f"{name} is {tuple(given[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in given and given[name].shape != tensor.shape
    ]
    found = (("missing", missing), ("unexpected", extra), ("wrong shape", shapes))
    return [f"{len(names)} {what} ({_some(names)})" for what, names in found if names]


def _some(names: list[str]) -> str:
    """Join the first few names."""
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
