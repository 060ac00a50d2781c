"""Read the linguistic tokenizer's part of a Step-Audio-Tokenizer folder.

The encoder lies in a FunASR model folder: a ``configuration.json`` that names the files, a
``config.yaml`` with the sizes, ``model.pt`` with the weights, ``am.mvn`` with the
normalisation. The centroids lie beside that folder in ``linguistic_tokenizer.npy``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import yaml
from torch import Tensor

from stepedit_core.codes import LINGUISTIC_SIZE
from stepedit_core.errors import CheckpointError
from stepedit_core.models.checkpoint.weights import load_into, read_state_dict, without_weights
from stepedit_core.models.tokenizer.linguistic.encoder import SANMConfig, SANMEncoder
from stepedit_core.models.tokenizer.linguistic.frontend import Cmvn, FrontendConfig

__all__ = ["FunasrFiles", "find_funasr", "read_centroids", "read_cmvn", "read_encoder"]

FloatArray = npt.NDArray[np.float32]

CENTROIDS = "linguistic_tokenizer.npy"
PARAFORMER = (
    "dengcunqin/speech_paraformer-large_asr_nat-zh-cantonese-en-16k-vocab8501-online"  # model id
)
ENCODERS = ("SANMEncoderChunkOpt", "SANMEncoder")
CURE = "download Step-Audio-Tokenizer again"

_MOST_BLOCKS, _MOST_OF_A_SIZE = 1000, 1 << 16


@dataclass(frozen=True)
class FunasrFiles:
    """The three files of a FunASR model folder that the encoder needs."""

    config: Path
    weights: Path
    cmvn: Path


def _require(path: Path) -> Path:
    if not path.is_file():
        raise CheckpointError(f"{path} is missing: {CURE}")
    return path


def _text(path: Path) -> str:
    try:
        return _require(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path} is not a text file: {CURE}") from error


def _model_folder(folder: Path) -> Path:
    """Return the FunASR folder inside ``folder``: the published place, itself, or the only one."""
    for candidate in (folder / PARAFORMER, folder):
        if any((candidate / name).is_file() for name in ("configuration.json", "config.yaml")):
            return candidate
    found = sorted({path.parent for path in folder.glob("*/**/config.yaml")})
    if len(found) == 1:
        return found[0]
    what = f"{len(found)} FunASR model folders" if found else "no FunASR model folder"
    raise CheckpointError(f"{folder} holds {what}, expected {PARAFORMER}: {CURE}")


def _inside(base: Path, name: object, source: Path) -> Path:
    """Return ``base / name``, refusing names that lead out of ``base``."""
    # Names are judged as written: a hub's cache holds links to files that lie elsewhere.
    if not isinstance(name, str) or Path(name).is_absolute() or ".." in Path(name).parts:
        raise CheckpointError(f"{source} names {name!r}, which is not a file beside it: {CURE}")
    return base / name


def find_funasr(folder: Path) -> FunasrFiles:
    """Find the FunASR files below a Step-Audio-Tokenizer folder.

    Raises:
        CheckpointError: if the folder or a file is missing, or ``configuration.json`` is damaged.
    """
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is not a folder: give the Step-Audio-Tokenizer folder")
    base = _model_folder(folder)
    names: dict[str, object] = {"config": "config.yaml", "init_param": "model.pt"}
    frontend: object = {}
    source = base / "configuration.json"
    if source.is_file():
        try:
            metas = json.loads(_text(source))["file_path_metas"]
            names |= {key: metas[key] for key in names if key in metas}
            frontend = metas.get("frontend_conf", {})
        except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{source} has no readable file_path_metas: {CURE}") from error
    cmvn = frontend.get("cmvn_file", "am.mvn") if isinstance(frontend, Mapping) else "am.mvn"
    paths = (_inside(base, name, source) for name in (names["config"], names["init_param"], cmvn))
    return FunasrFiles(*(_require(path) for path in paths))


def _mapping(path: Path) -> Mapping[str, Any]:
    try:
        content = yaml.safe_load(_text(path))
    except (yaml.YAMLError, RecursionError) as error:
        raise CheckpointError(f"{path} is not plain yaml: {CURE}") from error
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path} is not a yaml mapping: {CURE}")
    return content


def _configs(path: Path) -> tuple[SANMConfig, FrontendConfig]:
    """Read the sizes of the encoder and the front end from ``config.yaml``."""
    content = _mapping(path)
    if content.get("encoder") not in ENCODERS:
        raise CheckpointError(
            f"{path} names encoder {content.get('encoder')!r}, need {ENCODERS[0]}: {CURE}"
        )
    try:
        enc, front = content["encoder_conf"], content["frontend_conf"]
        if not enc.get("normalize_before", True) or enc.get("input_layer") != "pe_online":
            raise CheckpointError(f"{path}: only pre-norm encoders with pe_online are supported")
        frontend = FrontendConfig(
            sample_rate=int(front["fs"]),
            n_mels=int(front["n_mels"]),
            frame_length_ms=float(front["frame_length"]),
            frame_shift_ms=float(front["frame_shift"]),
            window=str(front.get("window", "hamming")),
            lfr_m=int(front["lfr_m"]),
            lfr_n=int(front["lfr_n"]),
        )
        sizes = SANMConfig(
            input_size=frontend.output_size,
            output_size=int(enc["output_size"]),
            attention_heads=int(enc["attention_heads"]),
            linear_units=int(enc["linear_units"]),
            num_blocks=int(enc["num_blocks"]),
            kernel_size=int(enc["kernel_size"]),
            sanm_shift=int(enc.get("sanm_shfit", 0)),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path} lacks or garbles a setting ({error!r}): {CURE}") from error
    counts = {**vars(sizes), **vars(frontend)}
    largest = {"num_blocks": _MOST_BLOCKS}
    for name, value in counts.items():
        if isinstance(value, int) and value > largest.get(name, _MOST_OF_A_SIZE):
            raise CheckpointError(f"{path}: {name} {value} is more than any tokenizer has: {CURE}")
    if sizes.num_blocks < 1 or sizes.attention_heads < 1 or frontend.sample_rate != 16_000:
        raise CheckpointError(f"{path} describes sizes that no tokenizer can have: {CURE}")
    if sizes.output_size % sizes.attention_heads:
        raise CheckpointError(
            f"{path}: {sizes.attention_heads} heads do not divide width {sizes.output_size}"
        )
    return sizes, frontend


def read_cmvn(path: Path, size: int) -> Cmvn:
    """Read a Kaldi nnet1 text file with one ``<AddShift>`` and one ``<Rescale>`` vector.

    Args:
        path: an ``am.mvn``.
        size: values that each vector must have.

    Raises:
        CheckpointError: if a vector is absent, damaged or of another size.
    """
    vectors: dict[str, Tensor] = {}
    lines = _text(path).splitlines()
    for head, line in pairwise(lines):
        words, tokens = head.split(), line.split()
        if words and words[0] in ("<AddShift>", "<Rescale>") and tokens[:1] == ["<LearnRateCoef>"]:
            try:
                vectors[words[0]] = torch.tensor([float(token) for token in tokens[3:-1]])
            except ValueError as error:
                raise CheckpointError(f"{path} holds a word that is no number: {CURE}") from error
    for name in ("<AddShift>", "<Rescale>"):
        vector = vectors.get(name, torch.zeros(0))
        if len(vector) != size or not vector.isfinite().all():
            raise CheckpointError(
                f"{path}: {name} has {len(vector)} usable numbers instead of {size}: {CURE}"
            )
    return Cmvn(vectors["<AddShift>"], vectors["<Rescale>"])


def read_centroids(path: Path, size: int) -> FloatArray:
    """Read the k-means centroids, float32, shape ``(<= 1024, size)``.

    Raises:
        CheckpointError: if the file is missing, damaged, or does not fit the encoder.
    """
    try:
        array = np.load(_require(path), allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise CheckpointError(f"{path} is damaged or holds objects ({error}): {CURE}") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f" or array.ndim != 2:
        raise CheckpointError(f"{path} is not a table of floating point numbers: {CURE}")
    if array.shape[1] != size or not 0 < array.shape[0] <= LINGUISTIC_SIZE:
        raise CheckpointError(
            f"{path} has shape {array.shape}, the encoder needs (1 to {LINGUISTIC_SIZE}, {size}): "
            "both must come from one download"
        )
    if not np.isfinite(array).all():
        raise CheckpointError(f"{path} holds NaN or infinite values: {CURE}")
    return array.astype(np.float32, copy=False)


def read_encoder(
    files: FunasrFiles, device: torch.device | str, dtype: torch.dtype
) -> tuple[SANMEncoder, FrontendConfig]:
    """Build the encoder and load its weights; the recogniser's other parts are not kept.

    Raises:
        CheckpointError: if a file is damaged or weights and sizes disagree.
    """
    sizes, frontend = _configs(files.config)
    state = read_state_dict(files.weights, check_finite=False)
    with without_weights():
        encoder = SANMEncoder(sizes)
    load_into(encoder, state, "encoder.", files.weights, dtype=dtype, device=device)
    for name, weight in encoder.named_parameters():
        if not weight.float().sum().isfinite():
            raise CheckpointError(
                f"{files.weights}: encoder.{name} holds NaN or infinite values: {CURE}"
            )
    return encoder.eval().requires_grad_(False), frontend
