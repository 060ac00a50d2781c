"""Write a linguistic tokenizer as a Step-Audio-Tokenizer folder, which core reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor

from stepedit_core.atomic import replace_file, write_atomically
from stepedit_core.models.tokenizer.linguistic import (
    Cmvn,
    FrontendConfig,
    LinguisticTokenizer,
    SANMConfig,
)

__all__ = ["MODEL_FOLDER", "WeightFormat", "export_tokenizer"]

WeightFormat = Literal["pt", "safetensors"]
MODEL_FOLDER = "dengcunqin/speech_paraformer-large_asr_nat-zh-cantonese-en-16k-vocab8501-online"
"""Name that the public layout gives to the encoder's folder, whatever encoder lies in it."""


def _config(encoder: SANMConfig, frontend: FrontendConfig) -> str:
    """Return ``config.yaml``, with FunASR's spelling of its keys."""
    content = {
        "encoder": "SANMEncoderChunkOpt",
        "encoder_conf": {
            "output_size": encoder.output_size,
            "attention_heads": encoder.attention_heads,
            "linear_units": encoder.linear_units,
            "num_blocks": encoder.num_blocks,
            "kernel_size": encoder.kernel_size,
            "sanm_shfit": encoder.sanm_shift,
            "input_layer": "pe_online",
            "normalize_before": True,
        },
        "frontend_conf": {
            "fs": frontend.sample_rate,
            "window": frontend.window,
            "n_mels": frontend.n_mels,
            "frame_length": frontend.frame_length_ms,
            "frame_shift": frontend.frame_shift_ms,
            "lfr_m": frontend.lfr_m,
            "lfr_n": frontend.lfr_n,
        },
    }
    text: str = yaml.safe_dump(content, sort_keys=False)
    return text


def _numbers(values: Tensor) -> str:
    return " ".join(repr(value) for value in values.tolist())


def _mvn(cmvn: Cmvn) -> str:
    """Return ``am.mvn``: a Kaldi nnet1 text file."""
    size = len(cmvn.shift)
    parts = ["<Nnet>", f"<Splice> {size} {size}", "[ 0 ]"]
    for name, values in (("AddShift", cmvn.shift), ("Rescale", cmvn.scale)):
        parts += [f"<{name}> {size} {size}", f"<LearnRateCoef> 0 [ {_numbers(values)} ]"]
    return "\n".join([*parts, "</Nnet>", ""])


def export_tokenizer(
    out: Path,
    tokenizer: LinguisticTokenizer,
    centroids: npt.NDArray[np.float32],
    weights: WeightFormat = "pt",
) -> None:
    """Write the folder that ``LinguisticTokenizer.load`` reads.

    Args:
        out: the folder.
        tokenizer: front end and encoder.
        centroids: float32, shape ``(<= 1024, d)``.
        weights: file of the encoder; ``configuration.json`` names it.
    """
    folder = out / MODEL_FOLDER
    state = {
        f"encoder.{name}": tensor.detach().cpu().contiguous()
        for name, tensor in tokenizer.encoder.state_dict().items()
    }
    name = "model.pt" if weights == "pt" else "model.safetensors"
    if weights == "pt":
        replace_file(folder / name, lambda partial: torch.save(state, partial))
    else:
        replace_file(folder / name, lambda partial: save_file(state, partial))
    config = _config(tokenizer.encoder.config, tokenizer.frontend.config)
    write_atomically(folder / "config.yaml", config.encode())
    write_atomically(folder / "am.mvn", _mvn(tokenizer.frontend.cmvn).encode())
    metas = {"config": "config.yaml", "init_param": name, "frontend_conf": {"cmvn_file": "am.mvn"}}
    content = {"file_path_metas": metas}
    write_atomically(folder / "configuration.json", json.dumps(content, indent=2).encode())

    def save(partial: Path) -> None:
        with partial.open("wb") as file:
            np.save(file, centroids.astype(np.float32), allow_pickle=False)

    replace_file(out / "linguistic_tokenizer.npy", save)
