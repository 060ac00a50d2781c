from __future__ import annotations

import sys
from fnmatch import fnmatch
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest

from stepedit_core import Engine
from stepedit_core.errors import EngineError, MissingDependencyError
from stepedit_core.models.checkpoint.hub import MODEL_FILES, TOKENIZER_FILES, fetch_model
from tests.models.tiny_checkpoint import MODEL, TOKENIZER, write_engine


class Hub:
    """Serves folders by id and remembers what was asked for."""

    def __init__(self, folders: dict[str, Path]) -> None:
        self.folders = folders
        self.asked: dict[str, list[str]] = {}

    def __call__(self, name: str, allow_patterns: list[str]) -> str:
        self.asked[name] = allow_patterns
        if name not in self.folders:
            raise OSError("404 Client Error\nlong explanation")
        return str(self.folders[name])


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    root = write_engine(tmp_path)
    return Hub(
        {
            "stepfun-ai/Step-Audio-EditX": root / MODEL,
            "stepfun-ai/Step-Audio-Tokenizer": root / TOKENIZER,
        }
    )


def test_an_id_brings_the_model_and_its_tokenizer(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub)
    engine = Engine.load("stepfun-ai/Step-Audio-EditX")
    assert engine.name == "stepfun-ai/Step-Audio-EditX"
    assert hub.asked == {
        "stepfun-ai/Step-Audio-EditX": list(MODEL_FILES),
        "stepfun-ai/Step-Audio-Tokenizer": list(TOKENIZER_FILES),
    }


def test_modelscope_ids_go_through_its_client(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "modelscope", SimpleNamespace(snapshot_download=hub))
    Engine.load("stepfun-ai/Step-Audio-EditX", hub="modelscope")
    assert set(hub.asked) == set(hub.folders)
    monkeypatch.setitem(sys.modules, "modelscope", None)
    with pytest.raises(MissingDependencyError, match=r"stepedit\[modelscope\]"):
        Engine.load("stepfun-ai/Step-Audio-EditX", hub="modelscope")


def test_an_unknown_id_is_one_line(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub)
    with pytest.raises(EngineError, match="404 Client Error") as caught:
        fetch_model("nobody/nothing")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("file", "wanted"),
    [
        ("model-00001.safetensors", True),
        ("model.safetensors.index.json", True),
        ("tokenizer.model", True),
        ("CosyVoice-300M-25Hz/hift.pt", True),
        ("modeling_step1.py", False),
        ("CosyVoice-300M-25Hz/speech_tokenizer_v1.onnx", False),
        ("README.md", False),
    ],
)
def test_only_files_that_inference_reads_are_fetched(file: str, wanted: bool) -> None:
    assert any(fnmatch(file, pattern) for pattern in MODEL_FILES) is wanted
