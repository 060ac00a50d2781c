from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from stepedit_bench.speed.encoder import random_encoder

from stepedit_core.errors import CheckpointError
from stepedit_core.models.tokenizer.linguistic import LinguisticTokenizer, SANMConfig
from stepedit_core.models.tokenizer.linguistic.checkpoint import PARAFORMER, find_funasr, read_cmvn
from stepedit_core.models.tokenizer.preprocess import limit_peak, preprocess
from tests.models.audio_cases import SETS, golden, recordings, speech_like, tokenizer_folder

SIZES = SANMConfig(
    input_size=56, output_size=16, attention_heads=2, linear_units=24, num_blocks=3, kernel_size=5
)


def write_checkpoint(folder: Path, inner: str = PARAFORMER) -> Path:
    """Write a small checkpoint in the published layout; returns the FunASR folder."""
    model = folder / inner
    model.mkdir(parents=True)
    encoder = random_encoder(SIZES)
    state = {f"encoder.{name}": value for name, value in encoder.state_dict().items()}
    state["decoder.extra.weight"] = torch.zeros(2)
    torch.save({"state_dict": state}, model / "model.pt")
    config = {
        "encoder": "SANMEncoderChunkOpt",
        "encoder_conf": {
            "output_size": 16,
            "attention_heads": 2,
            "linear_units": 24,
            "num_blocks": 3,
            "kernel_size": 5,
            "sanm_shfit": 0,
            "input_layer": "pe_online",
            "normalize_before": True,
        },
        "frontend_conf": {
            "fs": 16_000,
            "window": "hamming",
            "n_mels": 8,
            "frame_length": 25,
            "frame_shift": 10,
            "lfr_m": 7,
            "lfr_n": 6,
        },
    }
    (model / "config.yaml").write_text(yaml.safe_dump(config))
    metas = {"init_param": "model.pt", "config": "config.yaml"}
    metas["frontend_conf"] = {"cmvn_file": "am.mvn"}  # type: ignore[assignment]
    (model / "configuration.json").write_text(json.dumps({"file_path_metas": metas}))
    (model / "am.mvn").write_text(cmvn_text([-1.5] * 56, [0.25] * 56))
    centroids = np.random.default_rng(0).standard_normal((32, 16)).astype(np.float32)
    np.save(folder / "linguistic_tokenizer.npy", centroids)
    return model


def cmvn_text(shift: list[float], scale: list[float]) -> str:
    size = len(shift)
    rows = [" ".join(map(str, values)) for values in (shift, scale)]
    return (
        f"<Nnet> \n<Splice> {size} {size} \n[ 0 ]\n<AddShift> {size} {size} \n"
        f"<LearnRateCoef> 0 [ {rows[0]} ]\n<Rescale> {size} {size} \n"
        f"<LearnRateCoef> 0 [ {rows[1]} ]\n</Nnet> \n"
    )


def test_loaded_tokenizer_gives_the_same_codes_both_ways(tmp_path: Path) -> None:
    write_checkpoint(tmp_path)
    tokenizer = LinguisticTokenizer.load(tmp_path)
    signals = [speech_like(s, 16_000, seed=i) for i, s in enumerate((0.9, 0.05, 2.3, 0.02))]
    codes = tokenizer.encode(signals)
    assert [len(c) for c in codes] == [15, 0, 38, 0]
    assert len(set(codes[2].tolist())) > 3
    for signal, batched in zip(signals, codes, strict=True):
        np.testing.assert_array_equal(batched, tokenizer.encode_chunked(signal))
    assert tokenizer.encode([]) == []
    assert [len(c) for c in tokenizer.encode([np.zeros(10, np.float32)])] == [0]


def test_large_batches_are_cut_without_effect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_checkpoint(tmp_path)
    tokenizer = LinguisticTokenizer.load(tmp_path)
    signals = [speech_like(0.5 + 0.3 * i, 16_000, seed=i) for i in range(4)]
    whole = tokenizer.encode(signals)
    monkeypatch.setattr("stepedit_core.models.tokenizer.linguistic.tokenizer.MAX_WINDOWS", 5)
    for one, other in zip(whole, tokenizer.encode(signals), strict=True):
        np.testing.assert_array_equal(one, other)


def test_other_layouts_are_found(tmp_path: Path) -> None:
    bare = write_checkpoint(tmp_path / "a", inner=".")
    (bare / "configuration.json").unlink()
    assert find_funasr(tmp_path / "a").weights.name == "model.pt"
    nested = write_checkpoint(tmp_path / "b", inner="some/model")
    assert find_funasr(tmp_path / "b").config == nested / "config.yaml"
    assert len(LinguisticTokenizer.load(tmp_path / "b").encode([speech_like(1, 16_000)])[0]) == 16


def test_links_into_a_hub_cache_are_followed(tmp_path: Path) -> None:
    """The cache of huggingface_hub holds links to blobs that lie elsewhere."""
    write_checkpoint(tmp_path / "blobs")
    for file in (tmp_path / "blobs").rglob("*"):
        link = tmp_path / "snapshot" / file.relative_to(tmp_path / "blobs")
        if file.is_file():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file)
    tokenizer = LinguisticTokenizer.load(tmp_path / "snapshot")
    assert len(tokenizer.encode([speech_like(1, 16_000)])[0]) == 16


def edit_yaml(change: Callable[[dict[str, dict[str, object]]], object]) -> Callable[[Path], None]:
    def damage(model: Path) -> None:
        path = model / "config.yaml"
        content = yaml.safe_load(path.read_text())
        change(content)
        path.write_text(yaml.safe_dump(content))

    return damage


def truncate(name: str) -> Callable[[Path], None]:
    def damage(model: Path) -> None:
        data = (model / name).read_bytes()
        (model / name).write_bytes(data[: len(data) // 2])

    return damage


def poison(model: Path) -> None:
    state = torch.load(model / "model.pt", weights_only=True)["state_dict"]
    state["encoder.after_norm.weight"][0] = float("nan")
    torch.save(state, model / "model.pt")


def drop_layer(model: Path) -> None:
    state = torch.load(model / "model.pt", weights_only=True)["state_dict"]
    del state["encoder.encoders.0.norm1.weight"]
    torch.save(state, model / "model.pt")


def centroids(array: np.ndarray) -> Callable[[Path], None]:
    def damage(model: Path) -> None:
        np.save(model.parents[1] / "linguistic_tokenizer.npy", array, allow_pickle=True)

    return damage


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "weights missing": (lambda m: (m / "model.pt").unlink(), "model.pt"),
    "weights truncated": (truncate("model.pt"), "model.pt"),
    "weights NaN": (poison, "after_norm.weight holds NaN"),
    "tensor missing": (drop_layer, "norm1.weight"),
    "sizes disagree": (edit_yaml(lambda c: c["encoder_conf"].update(linear_units=99)), "w_1"),
    "setting missing": (edit_yaml(lambda c: c["frontend_conf"].pop("lfr_m")), "lfr_m"),
    "heads": (edit_yaml(lambda c: c["encoder_conf"].update(attention_heads=3)), "3 heads"),
    "encoder": (edit_yaml(lambda c: c.update(encoder="ConformerEncoder")), "ConformerEncoder"),
    "yaml tag": (
        lambda m: (m / "config.yaml").write_text("encoder: !!python/name:os.system ''"),
        "not plain yaml",
    ),
    "cmvn missing": (lambda m: (m / "am.mvn").unlink(), "am.mvn is missing"),
    "cmvn truncated": (truncate("am.mvn"), "am.mvn"),
    "json": (lambda m: (m / "configuration.json").write_text("{"), "configuration.json"),
    "json escapes": (
        lambda m: (m / "configuration.json").write_text(
            '{"file_path_metas": {"init_param": "../../../../secret.pt"}}'
        ),
        "not a file beside it",
    ),
    "json leaves by an absolute name": (
        lambda m: (m / "configuration.json").write_text(
            '{"file_path_metas": {"init_param": "/etc/passwd"}}'
        ),
        "not a file beside it",
    ),
    "centroid width": (centroids(np.zeros((32, 15), np.float32)), r"\(32, 15\)"),
    "centroid count": (centroids(np.zeros((1025, 16), np.float32)), r"\(1025, 16\)"),
    "centroid NaN": (centroids(np.full((32, 16), np.nan, np.float32)), "NaN"),
    "centroid objects": (centroids(np.array([{}], dtype=object)), "holds objects"),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_damaged_checkpoints_are_refused_by_name(tmp_path: Path, kind: str) -> None:
    damage, word = DAMAGES[kind]
    damage(write_checkpoint(tmp_path))
    with pytest.raises(CheckpointError, match=word):
        LinguisticTokenizer.load(tmp_path)


def test_folders_without_a_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no FunASR model folder"):
        LinguisticTokenizer.load(tmp_path)
    with pytest.raises(CheckpointError, match="not a folder"):
        LinguisticTokenizer.load(tmp_path / "absent")


def test_cmvn_text(tmp_path: Path) -> None:
    path = tmp_path / "am.mvn"
    path.write_text(cmvn_text([-1.0, -2.5], [0.5, 0.25]))
    cmvn = read_cmvn(path, 2)
    assert cmvn.shift.tolist() == [-1.0, -2.5]
    assert cmvn.scale.tolist() == [0.5, 0.25]
    with pytest.raises(CheckpointError, match="2 usable numbers instead of 3"):
        read_cmvn(path, 3)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize(("rounding", "key"), [("float32", "f32"), ("pcm16", "pcm16")])
def test_golden_codes(name: str, rounding: str, key: str) -> None:
    want = golden(name, "02_linguistic")
    tokenizer = LinguisticTokenizer.load(tokenizer_folder(name), wav_rounding=rounding)
    signals = {c: preprocess(limit_peak(s), rate) for c, (s, rate) in recordings().items()}
    together = tokenizer.encode(list(signals.values()))
    for (case, signal), codes in zip(signals.items(), together, strict=True):
        frames, sizes = tokenizer.features(signal)
        assert sizes == want[f"{case}_{key}_chunk_frames"].tolist()
        if f"{case}_{key}_feats" in want:
            np.testing.assert_allclose(frames, want[f"{case}_{key}_feats"], atol=2e-3)
        if f"{case}_{key}_enc_out" in want:
            hidden = tokenizer.hidden([signal])[0]
            np.testing.assert_allclose(hidden, want[f"{case}_{key}_enc_out"], atol=2e-3)
        sure = want[f"{case}_{key}_margin"] > 2e-3
        np.testing.assert_array_equal(codes[sure], want[f"{case}_{key}_codes"][sure])
        assert (codes != want[f"{case}_{key}_codes"]).mean() < 0.02
        np.testing.assert_array_equal(codes, tokenizer.encode_chunked(signal))


@pytest.mark.parametrize("name", SETS)
def test_golden_edge_lengths(name: str) -> None:
    want = golden(name, "02_linguistic")
    tokenizer = LinguisticTokenizer.load(tokenizer_folder(name))
    samples, rate = recordings()["s11"]
    signal = preprocess(limit_peak(samples), rate)
    codes = tokenizer.encode([signal[:length] for length in want["edge_len"]])
    assert [len(c) for c in codes] == want["edge_ncodes"].tolist()
