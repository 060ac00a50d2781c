"""The codebook stage: k-means on the encoder's output, figures on it, and the export."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import yaml
from pydantic import Field
from safetensors.torch import save_file
from torch import Tensor

from stepedit_core.atomic import replace_file, write_atomically
from stepedit_core.codes import LINGUISTIC_SIZE
from stepedit_core.errors import StepeditError
from stepedit_core.models.tokenizer.linguistic import (
    Cmvn,
    Frontend,
    FrontendConfig,
    LinguisticTokenizer,
    SANMConfig,
    SANMEncoder,
)
from stepedit_train.batching import pack_batches
from stepedit_train.data.cache import Cache
from stepedit_train.export import ExportSettings, load_encoder, newest_run, run_sizes
from stepedit_train.seeds import rng_of
from stepedit_train.settings import resolve_path
from stepedit_train.tokenizers.linguistic.model import IGNORED, frame_labels
from stepedit_train.tokenizers.linguistic.stage import EncoderSizes, read_teacher

__all__ = [
    "MODEL_FOLDER",
    "CodebookSettings",
    "WeightFormat",
    "codebook_figures",
    "export_tokenizer",
    "likeliest_labels",
    "make_codebook",
]

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

WeightFormat = Literal["pt", "safetensors"]
MODEL_FOLDER = "dengcunqin/speech_paraformer-large_asr_nat-zh-cantonese-en-16k-vocab8501-online"
"""Name that the public layout gives to the encoder's folder, whatever encoder lies in it."""


class CodebookSettings(ExportSettings):
    """Settings of the codebook stage."""

    cache: Path
    """Folder that the data stage made."""
    encoder: EncoderSizes | None = None
    """Sizes of the encoder; None: as the run's settings say."""
    clusters: int = Field(default=LINGUISTIC_SIZE, ge=2, le=LINGUISTIC_SIZE)
    """Centroids."""
    hours: float = Field(default=5.0, gt=0)
    """Audio that the centroids are fitted to, at most."""
    seed: int = Field(default=0, ge=0)
    """Seed of the choice of recordings and of k-means."""
    weights: WeightFormat = "pt"
    """File of the encoder: ``pt`` as published, or ``safetensors``."""


def _fit(frames: FloatArray, clusters: int, seed: int) -> FloatArray:
    """Return the centroids, float32, shape ``(clusters, d)``."""
    from sklearn.cluster import MiniBatchKMeans

    if len(frames) < clusters:
        raise StepeditError(
            f"{len(frames)} frames cannot make {clusters} clusters; take more audio"
        )
    fitted = MiniBatchKMeans(
        clusters, batch_size=8 * clusters, n_init=1, random_state=seed, max_iter=30
    ).fit(frames)
    return np.asarray(fitted.cluster_centers_, dtype=np.float32)


def _hidden(tokenizer: LinguisticTokenizer, cache: Cache, indices: list[int]) -> list[FloatArray]:
    """Return the encoder output of recordings, float32, shape ``(n, d)`` each."""
    costs = [item.speech_seconds for item in cache.items]
    found: list[FloatArray] = []
    for batch in pack_batches(costs, indices, budget=60.0):
        outputs = tokenizer.hidden([cache.speech(index) for index in batch])
        found += [output.float().cpu().numpy() for output in outputs]
    return found


def likeliest_labels(codes: list[IntArray], labels: list[IntArray], size: int) -> IntArray:
    """Return the most frequent label of every code and place, int64, shape ``(size, 3)``.

    Args:
        codes: of every recording, shape ``(n,)``.
        labels: 20 ms phone labels of the same recordings, shape ``(n, 3)``.
        size: codes that there are; those never seen get ``IGNORED``.
    """
    flat, target = np.concatenate(codes), np.concatenate(labels)
    best = np.full((size, target.shape[1]), IGNORED, dtype=np.int64)
    for place in range(target.shape[1]):
        is_known = target[:, place] != IGNORED
        table = np.zeros((size, max(int(target.max()), 0) + 1), dtype=np.int64)
        np.add.at(table, (flat[is_known], target[is_known, place]), 1)
        seen = table.any(axis=1)
        best[seen, place] = table[seen].argmax(axis=1)
    return best


def codebook_figures(
    codes: list[IntArray], labels: list[IntArray], likeliest: IntArray
) -> dict[str, float]:
    """Return how the codes are used and how well they tell the phones.

    Args:
        codes: of every recording, shape ``(n,)``.
        labels: 20 ms phone labels of the same recordings, shape ``(n, 3)``.
        likeliest: label of every code and place, from recordings that were trained on.

    Returns:
        ``frames``, ``used`` codes, ``perplexity`` of their distribution, and ``phone_accuracy``:
        the part of known labels that ``likeliest`` gets right.
    """
    flat, target = np.concatenate(codes), np.concatenate(labels)
    share = np.bincount(flat) / len(flat)
    share = share[share > 0]
    is_known = target != IGNORED
    right = (likeliest[flat] == target)[is_known]
    return {
        "frames": float(len(flat)),
        "used": float(len(share)),
        "perplexity": float(np.exp(-(share * np.log(share)).sum())),
        "phone_accuracy": float(right.mean()) if len(right) else 0.0,
    }


def _load_run(settings: CodebookSettings, cache: Cache) -> tuple[LinguisticTokenizer, int]:
    """Return the run's encoder as a tokenizer without a codebook yet, and its step."""
    run = newest_run(settings, "linguistic")
    sizes = run_sizes(settings.encoder, EncoderSizes, run, "encoder")
    encoder = load_encoder(SANMEncoder(sizes.config()), run)
    cmvn = read_teacher(resolve_path(settings, settings.run), cache).cmvn()
    empty = np.zeros((1, sizes.output_size), dtype=np.float32)
    tokenizer = LinguisticTokenizer(Frontend(FrontendConfig(), cmvn), encoder, empty)
    return tokenizer, int(run[1]["step"])


def make_codebook(settings: CodebookSettings) -> Iterator[str]:
    """Fit the centroids, write the tokenizer's folder and its figures.

    Raises:
        StepeditError: if there is no checkpoint or too little audio.
    """
    out = resolve_path(settings, settings.out)
    folder = resolve_path(settings, settings.cache)
    cache = Cache(folder, ("audio", "phones"))
    tokenizer, step = _load_run(settings, cache)
    order = rng_of(settings.seed, "codebook").permutation(len(cache)).tolist()
    taken, seconds = [], 0.0
    for index in order:
        if seconds >= settings.hours * 3600:
            break
        taken.append(index)
        seconds += cache.items[index].speech_seconds
    hidden = _hidden(tokenizer, cache, taken)
    centroids = _fit(np.concatenate(hidden), settings.clusters, settings.seed)
    export_tokenizer(out, tokenizer, centroids, settings.weights)
    done = LinguisticTokenizer.load(out)
    figures: dict[str, object] = {"step": step, "hours": round(seconds / 3600, 3)}
    codes, labels = _coded(done, cache, taken)
    likeliest = likeliest_labels(codes, labels, settings.clusters)
    figures["train"] = _rounded(codebook_figures(codes, labels, likeliest))
    splits = {item.split for item in Cache(folder, splits=("train", "dev", "test")).items}
    for split in sorted(splits & {"dev", "test"}):
        other = Cache(folder, ("audio", "phones"), (split,))
        found = _coded(done, other, list(range(len(other))))
        figures[split] = _rounded(codebook_figures(*found, likeliest))
    write_atomically(out / "figures.json", json.dumps(figures, indent=2))
    yield f"{settings.clusters} centroids of step {step} in {out}: {json.dumps(figures)}"


def _rounded(figures: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in figures.items()}


def _coded(
    tokenizer: LinguisticTokenizer, cache: Cache, indices: list[int]
) -> tuple[list[IntArray], list[IntArray]]:
    """Return the codes and the phone labels of recordings."""
    hidden = _hidden(tokenizer, cache, indices)
    codes = [tokenizer.quantise(torch.from_numpy(rows)) for rows in hidden]
    labels = [
        frame_labels(cache.read(index, "phones", "spikes"), len(code))
        for index, code in zip(indices, codes, strict=True)
    ]
    return codes, labels


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
    write_atomically(folder / "config.yaml", config)
    write_atomically(folder / "am.mvn", _mvn(tokenizer.frontend.cmvn))
    metas = {"config": "config.yaml", "init_param": name, "frontend_conf": {"cmvn_file": "am.mvn"}}
    content = {"file_path_metas": metas}
    write_atomically(folder / "configuration.json", json.dumps(content, indent=2))

    def save(partial: Path) -> None:
        with partial.open("wb") as file:
            np.save(file, centroids.astype(np.float32), allow_pickle=False)

    replace_file(out / "linguistic_tokenizer.npy", save)
