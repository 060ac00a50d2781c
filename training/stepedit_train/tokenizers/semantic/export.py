"""The semantic-export stage: write the encoder as the ONNX graph that core reads."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import torch

from stepedit_core.atomic import write_atomically
from stepedit_core.errors import MissingDependencyError, StepeditError
from stepedit_core.models.tokenizer.features import whisper_log_mel
from stepedit_core.models.tokenizer.semantic import GRAPH, OnnxSemanticTokenizer
from stepedit_train.data.cache import Cache
from stepedit_train.export import (
    ExportSettings,
    load_encoder,
    newest_run,
    run_sizes,
    without_traces,
)
from stepedit_train.settings import resolve_path
from stepedit_train.tokenizers.semantic.model import SemanticEncoder, SemanticSizes

__all__ = [
    "SemanticExportSettings",
    "export_semantic",
]


class SemanticExportSettings(ExportSettings):
    """Settings of the semantic-export stage."""

    cache: Path
    """Folder of the data stage; one recording of it checks the graph."""
    sizes: SemanticSizes | None = None
    """Sizes of the network; None: as the run's settings say."""


def _write(encoder: SemanticEncoder, bins: int, path: Path) -> None:
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            "writing ONNX needs onnx and onnxscript: pip install 'stepedit[train]'"
        ) from error
    batch, frames = torch.export.Dim("batch", min=1), torch.export.Dim("frames", min=5)
    with warnings.catch_warnings():
        # Both inputs share their first axis; the exporter says so for the second one.
        warnings.filterwarnings("ignore", "# The axis name", UserWarning)
        program = torch.onnx.export(
            encoder,
            (torch.zeros(2, bins, 64), torch.full((2,), 64, dtype=torch.int32)),
            input_names=["feats", "feats_length"],
            output_names=["indices"],
            dynamic_shapes={"mel": {0: batch, 2: frames}, "lengths": {0: batch}},
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise StepeditError(f"{path}: torch gave no graph")
    model = without_traces(program.model_proto)
    write_atomically(path, model.SerializeToString())


def export_semantic(settings: SemanticExportSettings) -> Iterator[str]:
    """Write the graph and check that core reads the same codes from it as torch gives.

    Raises:
        StepeditError: if there is no checkpoint or the codes differ.
    """
    run = newest_run(settings, "semantic")
    sizes = run_sizes(settings.sizes, SemanticSizes, run)
    encoder = load_encoder(SemanticEncoder(sizes), run)
    out = resolve_path(settings, settings.out)
    _write(encoder, sizes.bins, out / GRAPH)
    tokenizer = OnnxSemanticTokenizer.load(out, threads=1)
    speech = Cache(resolve_path(settings, settings.cache)).speech(0)
    mel = whisper_log_mel(torch.from_numpy(speech), sizes.bins)[None]
    with torch.inference_mode():
        ours = encoder(mel, torch.tensor([mel.shape[2]]))[0].numpy()
    theirs = tokenizer.encode_log_mel(mel.numpy())[0]
    same = float((ours == theirs).mean())
    if same < 0.99:
        raise StepeditError(f"{out / GRAPH}: only {same:.1%} of its codes are those of torch")
    size = (out / GRAPH).stat().st_size / 1e6
    yield f"{out / GRAPH}: {size:.1f} MB, {same:.1%} of {len(ours)} codes as in torch"
