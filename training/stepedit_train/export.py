"""Write trained parts: weights and graphs as float16, and entries of ``cosyvoice.yaml``."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor, nn

from stepedit_core.atomic import replace_file, write_atomically
from stepedit_core.errors import CheckpointError, MissingDependencyError, StepeditError
from stepedit_core.models.checkpoint.hyperyaml import Component, NodeReference
from stepedit_train.checkpoints import latest_checkpoint, read_checkpoint
from stepedit_train.settings import Settings, check_settings, resolve_path

__all__ = [
    "ExportSettings",
    "PartExportSettings",
    "configuration",
    "entry_of",
    "export_part",
    "export_weights",
    "halve_tensors",
    "load_encoder",
    "newest_run",
    "run_sizes",
    "save_centroids",
    "save_graph",
    "save_pretrained",
    "save_tensors",
    "without_parts",
    "without_traces",
]

S = TypeVar("S", bound=Settings)
M = TypeVar("M", bound=nn.Module)

LEAST_VALUES = 1024
"""Smaller tensors of a graph stay as they are: they weigh nothing."""


class ExportSettings(Settings):
    """Settings of the stages that export what a run has trained."""

    run: Path
    """Folder of the run; its newest checkpoint is used."""
    out: Path
    """Folder that gets what is exported."""


class PartExportSettings(ExportSettings):
    """Settings of the stages that export a part of a decoder."""

    half: bool = True
    """Store the weights as float16; they are loaded as float32."""


class _Dumper(yaml.SafeDumper):
    """Writes the tags that `read_hyperyaml` reads."""


def _component(dumper: yaml.SafeDumper, made: Component) -> yaml.Node:
    tag = f"!{made.verb}:{made.path}"
    if made.positional:
        return dumper.represent_sequence(tag, list(made.positional))
    return dumper.represent_mapping(tag, dict(made.arguments))


def _reference(dumper: yaml.SafeDumper, named: NodeReference) -> yaml.Node:
    first, *rest = named.keys
    return dumper.represent_scalar("!ref", f"<{first}{''.join(f'[{key}]' for key in rest)}>")


_Dumper.add_representer(Component, _component)
_Dumper.add_representer(NodeReference, _reference)


def entry_of(kind: str, arguments: Settings | Mapping[str, Any]) -> Component:
    """Return an entry of a configuration.

    Args:
        kind: class path.
        arguments: of the class, by name; sizes of a stage count as such.
    """
    given = arguments
    if isinstance(given, Settings):
        given = given.model_dump(exclude={"base"})
    return Component("new", kind, (), given, "")


def configuration(entries: Mapping[str, Any]) -> str:
    """Return the text of a configuration; `read_hyperyaml` gives the entries again."""
    return yaml.dump(dict(entries), Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def newest_run(settings: ExportSettings, stage: str) -> tuple[Path, dict[str, Any]]:
    """Return the file and the content of a run's newest checkpoint.

    Raises:
        StepeditError: if there is none, or it is damaged.
    """
    run = resolve_path(settings, settings.run)
    found = latest_checkpoint(run / "checkpoints")
    if found is None:
        raise StepeditError(f"{run}: no checkpoint yet; run `stepedit train {stage}` first")
    return found, read_checkpoint(found)


def run_sizes(
    given: S | None,
    kind: type[S],
    run: tuple[Path, Mapping[str, Any]],
    name: str = "sizes",
    changes: Mapping[str, Any] | None = None,
) -> S:
    """Return the sizes of a run's network: those that are given, or the run's own.

    Args:
        given: in the settings of the export.
        kind: class of the sizes.
        run: file and content of its checkpoint.
        name: of the run's setting that holds them.
        changes: values that the export sets; None among them changes nothing.

    Raises:
        StepeditError: if the checkpoint says nothing of such sizes.
    """
    if given is None:
        known = json.loads(run[1]["settings"]).get(name)
        if not isinstance(known, dict):
            raise StepeditError(f"{run[0]}: does not say the sizes of its network; give {name}")
        data = known
    else:
        data = given.model_dump(exclude_unset=True)
    set_here = {key: value for key, value in (changes or {}).items() if value is not None}
    return check_settings(kind, {**data, **set_here}, str(run[0]))


def load_encoder(encoder: M, run: tuple[Path, Mapping[str, Any]]) -> M:
    """Return an encoder with the weights that a run has for it, in evaluation mode.

    Args:
        encoder: fresh, of the run's sizes; the run's model holds it as ``encoder``.
        run: file and content of its checkpoint.

    Raises:
        CheckpointError: if the sizes are not those of the weights.
    """
    prefix = "encoder."
    state: Mapping[str, Tensor] = run[1]["model"]
    own = {name[len(prefix) :]: w for name, w in state.items() if name.startswith(prefix)}
    try:
        encoder.load_state_dict(own)
    except RuntimeError as error:
        raise CheckpointError(f"{run[0]}: its encoder has other sizes than the settings") from error
    return encoder.eval().requires_grad_(False)


def export_part(
    settings: PartExportSettings,
    run: tuple[Path, dict[str, Any]],
    entry: Component,
    model: nn.Module,
    part: str,
    left_out: tuple[str, ...] = (),
) -> Iterator[str]:
    """Write the weights of a run, and the entry that names them.

    Args:
        settings: of the stage.
        run: file and content of its newest checkpoint.
        entry: what the configuration says of the network.
        model: a fresh network of the same sizes.
        part: name of the entry and of both files, such as ``flow``.
        left_out: parts of the run's model that served its training alone.

    Raises:
        StepeditError: if the checkpoint has other sizes.
    """
    line = export_weights(settings, *run, model, part, left_out)
    out = resolve_path(settings, settings.out)
    write_atomically(out / f"{part}.yaml", configuration({part: entry}))
    yield line


def export_weights(
    settings: PartExportSettings,
    found: Path,
    content: Mapping[str, Any],
    model: nn.Module,
    part: str,
    left_out: tuple[str, ...] = (),
) -> str:
    """Write the weights of a checkpoint alone, and return what was done.

    Args:
        settings: of the stage.
        found: file of the checkpoint, for errors.
        content: of the checkpoint.
        model: a fresh network of the same sizes.
        part: name of the file, such as ``flow``.
        left_out: parts of the run's model that served its training alone.

    Raises:
        StepeditError: if the checkpoint has other sizes.
    """
    try:
        model.load_state_dict(without_parts(content["model"], left_out))
    except RuntimeError as error:
        raise StepeditError(f"{found}: has other sizes than the settings") from error
    file = resolve_path(settings, settings.out) / f"{part}.safetensors"
    save_tensors(model.state_dict(), file, half=settings.half)
    size = file.stat().st_size / 1e6
    return f"{file}: step {content['step']}, {size:.1f} MB"


def without_parts(weights: Mapping[str, Tensor], names: tuple[str, ...]) -> dict[str, Tensor]:
    """Return weights without those of some parts of the model."""
    left_out = tuple(f"{name}." for name in names)
    return {name: one for name, one in weights.items() if not name.startswith(left_out)}


def halve_tensors(state: dict[str, Tensor], source: Path | str) -> dict[str, Tensor]:
    """Return a state dict whose floating-point tensors are float16.

    Raises:
        StepeditError: if a value is too large for float16.
    """
    halved = {}
    for name, tensor in state.items():
        small = tensor.half() if tensor.is_floating_point() else tensor
        if small.is_floating_point() and not bool(small.isfinite().all()):
            raise StepeditError(f"{source}: {name} has values that float16 cannot hold")
        halved[name] = small
    return halved


def save_tensors(state: dict[str, Tensor], path: Path, *, half: bool) -> None:
    """Write a safetensors file, as float16 where asked; raises as ``halve_tensors``."""
    kept = halve_tensors(state, path) if half else state
    # The format refuses tensors that share memory.
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in kept.items()}
    replace_file(path, lambda partial: save_file(plain, partial, {"format": "pt"}))


def save_pretrained(model: Any, folder: Path) -> None:
    """Let a model write itself and its configuration, with the mode that the umask gives.

    safetensors 0.8 makes its files private; the configuration beside them has the usual mode.
    """
    model.save_pretrained(str(folder))
    usual = max((path.stat().st_mode for path in folder.glob("*.json")), default=None)
    for path in folder.glob("*.safetensors"):
        if usual is not None:
            path.chmod(stat.S_IMODE(usual))


def save_centroids(source: Path, path: Path, *, half: bool) -> None:
    """Copy a table of centroids, as float16 where asked."""
    table = np.load(source, allow_pickle=False)

    def write(partial: Path) -> None:
        with partial.open("wb") as file:
            np.save(file, table.astype(np.float16) if half else table, allow_pickle=False)

    replace_file(path, write)


def without_traces(model: Any) -> Any:
    """Take out of an ONNX model where each node comes from: stack traces, with folders in them."""
    graph = model.graph
    parts = [model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info]
    parts += graph.initializer
    for function in model.functions:
        parts += [function, *function.node]
    for part in parts:
        del part.metadata_props[:]
        part.doc_string = ""
    return model


def save_graph(source: Path, path: Path, *, half: bool) -> None:
    """Copy an ONNX graph; where asked, its large weights are float16 and cast when it is opened.

    The arithmetic stays float32: runtimes fold the casts of constants away.

    Raises:
        MissingDependencyError: if the onnx package is absent.
    """
    if not half:
        write_atomically(path, source.read_bytes())
        return
    try:
        import onnx
        from onnx import TensorProto, helper, numpy_helper
    except ImportError as error:
        raise MissingDependencyError(
            "changing a graph needs onnx: pip install 'stepedit[train]'"
        ) from error
    model = without_traces(onnx.load(str(source)))
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < LEAST_VALUES:
            continue
        name, stored = tensor.name, f"{tensor.name}.float16"
        small = halve_tensors(
            {name: torch.from_numpy(numpy_helper.to_array(tensor).copy())}, source
        )
        tensor.CopyFrom(numpy_helper.from_array(small[name].numpy(), stored))
        casts.append(helper.make_node("Cast", [stored], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    replace_file(path, lambda partial: onnx.save(model, str(partial)))
