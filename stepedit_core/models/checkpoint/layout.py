"""Where the parts of a checkpoint lie: folders on disk, or ids on a hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stepedit_core import embedded
from stepedit_core.config import EMBEDDED, EngineConfig
from stepedit_core.errors import CheckpointError, EngineError

__all__ = [
    "DECODER_FOLDER",
    "TOKENIZER_NAME",
    "CheckpointFolders",
    "check_name",
    "find_folders",
]

DECODER_FOLDER = "CosyVoice-300M-25Hz"
TOKENIZER_NAME = "Step-Audio-Tokenizer"
TOKENIZER_ID = "stepfun-ai/Step-Audio-Tokenizer"
_TOKENIZER_MARK = "linguistic_tokenizer.npy"


@dataclass(frozen=True)
class CheckpointFolders:
    """The folders that an engine is loaded from.

    Attributes:
        model: language model and text tokenizer, as in Step-Audio-EditX.
        decoder: flow, vocoder and speaker model.
        tokenizer: audio tokenizers, as in Step-Audio-Tokenizer.
    """

    model: Path
    decoder: Path
    tokenizer: Path


def _is_model(folder: Path) -> bool:
    return (folder / "config.json").is_file() and (folder / DECODER_FOLDER).is_dir()


def _is_tokenizer(folder: Path) -> bool:
    return (folder / _TOKENIZER_MARK).is_file()


def _model_folder(path: Path) -> Path:
    """Return the model's folder: the given one, or the only one right below it.

    Raises:
        CheckpointError: if there is none, or several.
    """
    if _is_model(path):
        return path
    below = sorted(child for child in path.iterdir() if child.is_dir() and _is_model(child))
    if len(below) == 1:
        return below[0]
    if below:
        names = ", ".join(child.name for child in below)
        raise CheckpointError(f"{path} holds several models ({names}); name one of them")
    if not (path / "config.json").is_file():
        raise CheckpointError(
            f"{path / 'config.json'} is missing: {path} is no Step-Audio-EditX folder, nor does "
            "it hold one; download the model again or give its folder"
        )
    raise CheckpointError(
        f"{path / DECODER_FOLDER} is missing: the checkpoint has no decoder; download it again"
    )


def _tokenizer_folder(model: Path) -> Path:
    """Return the audio tokenizer's folder: inside the model's folder, or beside it.

    Raises:
        CheckpointError: if it is at none of these places.
    """
    places = [model, model / TOKENIZER_NAME, model.parent / TOKENIZER_NAME]
    places += sorted(child for child in model.parent.iterdir() if child.is_dir())
    for place in places:
        if _is_tokenizer(place):
            return place
    raise CheckpointError(
        f"{TOKENIZER_NAME} (with {_TOKENIZER_MARK}) is neither inside nor beside {model}; "
        "download it there or name its folder with tokenizer="
    )


def check_name(name_or_path: str) -> None:
    """Refuse, before anything heavy is imported, what can be neither a folder nor an id.

    Raises:
        EngineError: saying what can be given.
    """
    if name_or_path == EMBEDDED:
        if not embedded.is_shipped():
            raise EngineError(
                "this installation ships no embedded model: give the folder or the hub id of a "
                "Step-Audio-EditX checkpoint, or take the dsp route, which needs none"
            )
        return
    path = Path(name_or_path).expanduser()
    is_id = name_or_path.count("/") == 1 and not path.is_absolute()
    if not name_or_path or (not path.is_dir() and (not is_id or name_or_path.startswith("."))):
        raise EngineError(
            f"no engine {name_or_path!r}: it is neither a folder nor a hub id such as "
            "stepfun-ai/Step-Audio-EditX"
        )


def find_folders(config: EngineConfig) -> CheckpointFolders:
    """Find the folders that a configuration names, downloading what is a hub id.

    Raises:
        CheckpointError: if a folder lacks a part; the text names it.
        EngineError: if the name is neither a folder nor an id.
    """
    from stepedit_core.models.checkpoint.hub import fetch_model, fetch_tokenizer

    check_name(config.name_or_path)
    is_embedded = config.name_or_path == EMBEDDED
    path = embedded.FOLDER if is_embedded else Path(config.name_or_path).expanduser()
    if path.is_dir():
        model = _model_folder(path)
    else:
        model = _model_folder(fetch_model(config.name_or_path, config.hub))
    if config.tokenizer is not None:
        named = Path(config.tokenizer).expanduser()
        tokenizer = named if named.is_dir() else fetch_tokenizer(config.tokenizer, config.hub)
        if not _is_tokenizer(tokenizer):
            raise CheckpointError(f"{tokenizer / _TOKENIZER_MARK} is missing; download it again")
    elif path.is_dir():
        tokenizer = _tokenizer_folder(model)
    else:
        tokenizer = fetch_tokenizer(TOKENIZER_ID, config.hub)
    return CheckpointFolders(model, model / DECODER_FOLDER, tokenizer)
