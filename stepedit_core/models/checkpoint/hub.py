"""Download checkpoints from Hugging Face or ModelScope: only the files needed, resumable."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from stepedit_core.errors import EngineError, MissingDependencyError

__all__ = ["MODEL_FILES", "TOKENIZER_FILES", "fetch_model", "fetch_tokenizer"]

Hub = Literal["huggingface", "modelscope"]

MODEL_FILES = (
    "config.json",
    "*/config.json",
    "engine.json",
    "generation_config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "pronunciations.txt.gz",
    "routes.json",
    "sampling.json",
    "CosyVoice-300M-25Hz/FLOW_VERSION",
    "CosyVoice-300M-25Hz/campplus.onnx",
    "CosyVoice-300M-25Hz/cosyvoice.yaml",
    "CosyVoice-300M-25Hz/flow.pt",
    "CosyVoice-300M-25Hz/hift.pt",
)
"""Files of Step-Audio-EditX that inference reads; its Python files are never fetched."""
TOKENIZER_FILES = (
    "linguistic_tokenizer.npy",
    "speech_tokenizer_v1.onnx",
    "dengcunqin/*/am.mvn",
    "dengcunqin/*/config.yaml",
    "dengcunqin/*/configuration.json",
    "dengcunqin/*/model.pt",
    "dengcunqin/*/model.safetensors",
)
"""Files of Step-Audio-Tokenizer that inference reads."""


def _from_hugging_face(name: str, files: Sequence[str]) -> str:
    """Fetch files into the local cache of huggingface_hub, which resumes broken downloads."""
    from huggingface_hub import snapshot_download

    return str(snapshot_download(name, allow_patterns=list(files)))


def _from_modelscope(name: str, files: Sequence[str]) -> str:
    """Fetch files into the local cache of modelscope, which resumes broken downloads."""
    try:
        from modelscope import snapshot_download
    except ImportError as error:
        raise MissingDependencyError(
            "ModelScope ids need its client: pip install 'stepedit[modelscope]'"
        ) from error
    return str(snapshot_download(name, allow_patterns=list(files)))


def _fetch(name: str, files: Sequence[str], hub: Hub) -> Path:
    """Fetch files and put what went wrong into one line.

    Raises:
        EngineError: if the hub cannot be reached, or has no such id.
    """
    fetch = _from_modelscope if hub == "modelscope" else _from_hugging_face
    try:
        return Path(fetch(name, files))
    except MissingDependencyError:
        raise
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise EngineError(
            f"cannot fetch {name!r} from {hub}: {reason}; check the name and the connection, or "
            "download it yourself and give the folder"
        ) from error


def fetch_model(name: str, hub: Hub = "huggingface") -> Path:
    """Return the local folder of a model id, downloading what is not there yet.

    Raises:
        EngineError: if the hub cannot be reached, or has no such id.
    """
    return _fetch(name, MODEL_FILES, hub)


def fetch_tokenizer(name: str, hub: Hub = "huggingface") -> Path:
    """Return the local folder of an audio tokenizer id; raises as ``fetch_model`` does."""
    return _fetch(name, TOKENIZER_FILES, hub)
