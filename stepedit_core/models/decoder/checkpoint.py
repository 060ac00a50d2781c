"""Build flow and vocoder from a checkpoint's ``cosyvoice.yaml`` and weight files."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

import torch
from torch import nn

from stepedit_core.errors import CheckpointError
from stepedit_core.models.checkpoint.hyperyaml import build, read_hyperyaml
from stepedit_core.models.checkpoint.weights import load_into, read_state_dict, without_weights
from stepedit_core.models.decoder.flow import (
    CausalConditionalCFM,
    CausalMaskedDiffWithXvec,
    DiT,
    DualCodebookEmbedding,
    UpsampleConformerEncoderV2,
)
from stepedit_core.models.decoder.reference.model import ReferencedMelDecoder
from stepedit_core.models.decoder.vocoder import (
    BigVGAN,
    ConvRNNF0Predictor,
    HarmonicNoiseVocoder,
    HiFTGenerator,
)

__all__ = ["BUILDERS", "COSYVOICE_FOLDER", "Flow", "read_decoder", "read_flow"]

Flow = CausalMaskedDiffWithXvec | ReferencedMelDecoder
"""Every kind of tokens-to-mel network that a decoder may hold."""
COSYVOICE_FOLDER = "CosyVoice-300M-25Hz"
"""Folder of the decoder inside a Step-Audio-EditX checkpoint."""

_CLASSES: Mapping[str, Callable[..., Any]] = {
    "flow.flow.CausalMaskedDiffWithXvec": CausalMaskedDiffWithXvec,
    "flow.flow_matching.CausalConditionalCFM": CausalConditionalCFM,
    "flow.decoder_dit.DiT": DiT,
    "embedding.dual_codebook.DualCodebookEmbedding": DualCodebookEmbedding,
    "transformer.upsample_encoder_v2.UpsampleConformerEncoderV2": UpsampleConformerEncoderV2,
    "hifigan.generator.HiFTGenerator": HiFTGenerator,
    "hifigan.f0_predictor.ConvRNNF0Predictor": ConvRNNF0Predictor,
    "bigvgan.bigvgan.BigVGAN": BigVGAN,
}
_OWN: Mapping[str, Callable[..., Any]] = {
    "stepedit.flow.ReferencedMelDecoder": ReferencedMelDecoder,
    "stepedit.vocoder.HarmonicNoiseVocoder": HarmonicNoiseVocoder,
}
BUILDERS: Mapping[str, Callable[..., Any]] = {
    f"{package}.{name}": builder
    for package in ("stepvocoder.cosyvoice2", "cosyvoice2")
    for name, builder in _CLASSES.items()
} | dict(_OWN)
"""Every class path that a configuration may name, and what builds it here."""

AnyVocoder = HiFTGenerator | BigVGAN | HarmonicNoiseVocoder


def read_decoder(
    folder: Path, device: torch.device | str, dtype: torch.dtype, fold: bool
) -> tuple[Flow, AnyVocoder, dict[str, Any]]:
    """Build both parts on the meta device and fill them from their files.

    Args:
        folder: the ``CosyVoice-300M-25Hz`` folder, or the checkpoint folder around it.
        device: where the weights go.
        dtype: of the flow; the vocoder is always float32.
        fold: multiply the vocoder's weight norms out.

    Returns:
        The flow and the vocoder, both in evaluation mode, and the mel
        settings.

    Raises:
        CheckpointError: if a file is missing, damaged, of another model, or refused.
    """
    folder = _decoder_folder(folder)
    parts = _parts(folder)
    flow = _part(parts, "flow", get_args(Flow), folder)
    vocoder = _part(parts, "hift", get_args(AnyVocoder), folder)
    mel_config = _part({"mel_conf": {}, **parts}, "mel_conf", dict, folder)
    # The small file first: folding replaces most of it before the large one comes.
    _fill(vocoder, _weight_file(folder, "hift"), device, torch.float32)
    if fold:
        vocoder.fold_weight_norm()
    _fill_flow(flow, folder, device, dtype)
    return flow.eval(), vocoder.eval(), mel_config


def read_flow(folder: Path, device: torch.device | str, dtype: torch.dtype) -> Flow:
    """Build the flow of a decoder alone and fill it from its file; no vocoder is needed.

    Arguments and errors are those of `read_decoder`.
    """
    folder = _decoder_folder(folder)
    flow: Flow = _part(_parts(folder), "flow", get_args(Flow), folder)
    _fill_flow(flow, folder, device, dtype)
    return flow.eval()


def _parts(folder: Path) -> Mapping[str, Any]:
    """Build all of a configuration, so that a foreign tag is refused wherever it stands."""
    config = read_hyperyaml(folder / "cosyvoice.yaml")
    with without_weights():
        parts: Mapping[str, Any] = build(config, BUILDERS, config)
    return parts


def _decoder_folder(folder: Path) -> Path:
    """Return the folder that holds ``cosyvoice.yaml``."""
    for candidate in (folder, folder / COSYVOICE_FOLDER):
        if (candidate / "cosyvoice.yaml").is_file():
            return candidate
    raise CheckpointError(
        f"{folder}: holds neither cosyvoice.yaml nor a folder {COSYVOICE_FOLDER} with it; "
        f"download the whole checkpoint"
    )


def _part(
    parts: Mapping[str, Any],
    key: str,
    kind: type | tuple[type, ...],
    folder: Path,
) -> Any:
    """Return one top-level entry of the configuration after checking what it is."""
    part = parts.get(key)
    if not isinstance(part, kind):
        raise CheckpointError(
            f"{folder / 'cosyvoice.yaml'}: entry {key!r} does not describe the {key} part; "
            f"download the checkpoint again"
        )
    return part


def _weight_file(folder: Path, stem: str) -> Path:
    """Return the weight file of a part: safetensors if there is one."""
    safe = folder / f"{stem}.safetensors"
    return safe if safe.is_file() else folder / f"{stem}.pt"


def _fill_flow(flow: Flow, folder: Path, device: torch.device | str, dtype: torch.dtype) -> None:
    """Read the flow's weights, and those of single labels."""
    _fill(flow, _weight_file(folder, "flow"), device, dtype)
    if not isinstance(flow, ReferencedMelDecoder) or not flow.label_weights:
        return
    files: dict[str, ReferencedMelDecoder] = {}  # labels may share one
    for name in flow.label_weights.values():
        if Path(name).name != name:
            raise CheckpointError(
                f"{folder / 'cosyvoice.yaml'}: label_weights names {name!r}, which is no file "
                "beside it; download the checkpoint again"
            )
        if name not in files:
            state = {**flow.state_dict(), **read_state_dict(folder / name)}
            files[name] = copy.deepcopy(flow)
            load_into(files[name], state, file=folder / name, dtype=dtype, device=device)
            files[name].eval()
    flow.own = {label: files[name] for label, name in flow.label_weights.items()}


def _fill(module: nn.Module, file: Path, device: torch.device | str, dtype: torch.dtype) -> None:
    """Read a part's weights into a module that lives on the meta device."""
    vocoder = module if isinstance(module, AnyVocoder) else None
    # Mapping saves memory only where the tensors are used as they are stored, or leave the host.
    as_stored = dtype is torch.float32 and vocoder is None
    state = read_state_dict(file, mmap=as_stored or torch.device(device).type != "cpu")
    if vocoder is not None and "conv_pre.weight" in state:
        vocoder.fold_weight_norm()  # the file was saved for inference, with plain weights
    load_into(module, state, file=file, dtype=dtype, device=device)
