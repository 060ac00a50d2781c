from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from stepedit_core import Engine
from stepedit_core.config import EngineConfig
from stepedit_core.errors import CheckpointError, EngineError
from stepedit_core.registry.registry import load_engine
from tests.models.tiny_checkpoint import MODEL, TOKENIZER, write_engine


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_engine(tmp_path_factory.mktemp("engine"))


@pytest.mark.parametrize("inner", ["", MODEL])
def test_a_folder_is_found_from_outside_and_inside(folder: Path, inner: str) -> None:
    found = Engine.load(folder / inner)
    assert found.name == MODEL and found.sample_rate == 24_000
    assert (
        found.describe()["weights"]
        == load_engine(EngineConfig(name_or_path=str(folder / inner))).describe()["weights"]
    )


def test_an_engine_is_loaded_by_its_name_alone(folder: Path) -> None:
    found = load_engine(str(folder)).describe()
    assert found["weights"] == Engine.load(folder).describe()["weights"]


def test_other_weights_have_another_fingerprint(folder: Path, tmp_path: Path) -> None:
    other = write_engine(tmp_path / "other")
    path = other / TOKENIZER / "linguistic_tokenizer.npy"
    np.save(path, np.load(path) + 1)
    assert Engine.load(other).describe()["weights"] != Engine.load(folder).describe()["weights"]


def test_another_configuration_has_another_fingerprint(folder: Path, tmp_path: Path) -> None:
    other = write_engine(tmp_path / "other")
    path = other / MODEL / "CosyVoice-300M-25Hz" / "cosyvoice.yaml"
    path.write_text(path.read_text() + "# changed\n")
    assert Engine.load(other).describe()["weights"] != Engine.load(folder).describe()["weights"]


@pytest.mark.parametrize(
    "missing",
    [
        f"{MODEL}/config.json",
        f"{MODEL}/model.safetensors",
        f"{MODEL}/tokenizer_config.json",
        f"{MODEL}/CosyVoice-300M-25Hz/cosyvoice.yaml",
        f"{MODEL}/CosyVoice-300M-25Hz/flow.pt",
        f"{MODEL}/CosyVoice-300M-25Hz/hift.pt",
        f"{MODEL}/CosyVoice-300M-25Hz/campplus.onnx",
        f"{TOKENIZER}/linguistic_tokenizer.npy",
        f"{TOKENIZER}/speech_tokenizer_v1.onnx",
    ],
)
@pytest.mark.parametrize("damage", ["absent", "truncated", "foreign"])
def test_a_damaged_file_is_named(folder: Path, tmp_path: Path, missing: str, damage: str) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    path = broken / missing
    if damage == "absent":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    else:
        path.write_text("This is no checkpoint: it is a letter.")
    with pytest.raises(EngineError) as caught:
        Engine.load(broken)
    text = str(caught.value)
    assert Path(missing).name in text or (damage == "absent" and "tokenizer" in text.lower()), text
    assert "\n" not in text


def test_names_that_are_neither_folder_nor_id_are_refused() -> None:
    with pytest.raises(EngineError, match="neither a folder nor a hub id"):
        Engine.load("no-such-engine")
    with pytest.raises(EngineError, match="cuda:99"):
        Engine.load("anything", device="cuda:99")
    for name in ("meta", "gpu", "cpu:x", ""):
        with pytest.raises(EngineError, match=f"device '{name}'"):
            Engine.load("anything", device=name)
    with pytest.raises(EngineError, match="no engine ''"):
        Engine.load("")


def test_several_models_in_one_folder_are_refused(folder: Path, tmp_path: Path) -> None:
    write_engine(tmp_path)
    (tmp_path / MODEL).rename(tmp_path / "one")
    write_engine(tmp_path / "x")
    (tmp_path / "x" / MODEL).rename(tmp_path / "two")
    with pytest.raises(CheckpointError, match="one, two"):
        Engine.load(tmp_path)


def test_nan_weights_are_refused(tmp_path: Path) -> None:
    broken = write_engine(tmp_path)
    path = broken / MODEL / "CosyVoice-300M-25Hz" / "flow.pt"
    state = torch.load(path, weights_only=True)
    state["spk_embed_affine_layer.weight"][0, 0] = float("nan")
    torch.save(state, path)
    with pytest.raises(CheckpointError, match=r"flow\.pt"):
        Engine.load(broken)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "float8"}, "dtype: .* got 'float8'"),
        ({"devise": "cpu"}, "no parameter 'devise'; did you mean 'device'"),
        ({"sampling": {"temperature": -1}}, "sampling.temperature: .* got -1"),
    ],
)
def test_wrong_options_are_one_line(options: dict[str, object], message: str) -> None:
    with pytest.raises(EngineError, match=f"engine options: {message}") as caught:
        Engine.load("anything", **options)
    assert "\n" not in str(caught.value)
