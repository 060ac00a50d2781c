"""Collect trained parts into one engine folder in the public layout."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from stepedit_core.atomic import write_atomically
from stepedit_core.config import join_rules
from stepedit_core.errors import MissingDependencyError, StepeditError
from stepedit_core.models.checkpoint.hyperyaml import Component, read_hyperyaml
from stepedit_core.models.checkpoint.layout import DECODER_FOLDER, TOKENIZER_NAME
from stepedit_core.models.checkpoint.model_files import ROUTES_FILE, SAMPLING
from stepedit_core.models.checkpoint.naming import ENGINE_FILE
from stepedit_core.models.checkpoint.weights import read_state_dict
from stepedit_core.models.lm.step1.loading import read_safetensors
from stepedit_core.models.reader import READER
from stepedit_core.models.speaker.campplus import GRAPH as SPEAKER_GRAPH
from stepedit_core.models.speaker.ge2e import RESEMBLYZER_FILE
from stepedit_core.models.tokenizer.linguistic.checkpoint import find_funasr
from stepedit_core.models.tokenizer.semantic import GRAPH as SEMANTIC_GRAPH
from stepedit_train.assembly.settings import AssembleSettings
from stepedit_train.export import configuration, save_centroids, save_graph, save_tensors
from stepedit_train.lm.replay import REPLAY
from stepedit_train.lm.vocabulary import DICTIONARY
from stepedit_train.settings import resolve_path
from stepedit_train.tokenizers.linguistic.codebook import MODEL_FOLDER

__all__ = ["collect", "read_resemblyzer"]

TEXT_FILES = (
    "generation_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    DICTIONARY,
)
CENTROIDS = "linguistic_tokenizer.npy"
FLOW_VERSION = "FLOW_VERSION"


def collect(settings: AssembleSettings, folder: Path) -> None:
    """Write all parts into a folder.

    Raises:
        StepeditError: if a part is missing or damaged; the text names it.
    """
    half = frozenset(settings.half)
    model = _newest(resolve_path(settings, settings.language_model))
    text = settings.text_tokenizer
    words = model if text is None else resolve_path(settings, text)
    _language_model(model, words, folder, "language_model" in half)
    for name, source in settings.edit_weights.items():
        own = _newest(resolve_path(settings, source))
        _network(own, folder / name, "language_model" in half)
    tokenizer = resolve_path(settings, settings.tokenizer)
    _linguistic(tokenizer, folder / TOKENIZER_NAME, "linguistic" in half)
    graph = tokenizer / SEMANTIC_GRAPH
    if not graph.is_file():
        raise StepeditError(f"{graph} is missing; run `stepedit train semantic-export` first")
    save_graph(graph, folder / TOKENIZER_NAME / SEMANTIC_GRAPH, half="semantic" in half)
    flow = resolve_path(settings, settings.decoder)
    vocoder = flow if settings.vocoder is None else resolve_path(settings, settings.vocoder)
    target = folder / DECODER_FOLDER
    save_tensors(_weights(flow, "flow"), target / "flow.safetensors", half="flow" in half)
    save_tensors(_weights(vocoder, "hift"), target / "hift.safetensors", half="vocoder" in half)
    write_atomically(target / "cosyvoice.yaml", _configuration(flow, vocoder))
    files = {name: resolve_path(settings, file) for name, file in settings.decoder_weights.items()}
    if files:
        _label_weights(files, target, "flow" in half)
    if (flow / FLOW_VERSION).is_file():
        shutil.copyfile(flow / FLOW_VERSION, target / FLOW_VERSION)
    _speaker(settings, folder / DECODER_FOLDER, "speaker" in half)
    if settings.replay is not None:
        shutil.copyfile(resolve_path(settings, settings.replay), folder / REPLAY)
    if settings.reader is not None:
        shutil.copyfile(resolve_path(settings, settings.reader), folder / READER)
    if settings.languages:
        facts = json.dumps({"languages": settings.languages})
        write_atomically(folder / ENGINE_FILE, f"{facts}\n")
    if settings.longest_seconds:
        longest = settings.longest_seconds
        table = {name: {"longest_seconds": seconds} for name, seconds in longest.items()}
        content = json.dumps({"edits": table}, indent=1)
        write_atomically(folder / ROUTES_FILE, f"{content}\n")
    rules = join_rules(settings.sampling, settings.generation)
    if rules:
        content = json.dumps(rules, indent=2)
        write_atomically(folder / SAMPLING, f"{content}\n")


def _newest(folder: Path) -> Path:
    """Return a folder, or the newest complete checkpoint of a Trainer's run in it."""
    if (folder / "config.json").is_file():
        return folder
    # The Trainer writes trainer_state.json last.
    found = [path.parent for path in folder.glob("checkpoint-*/trainer_state.json")]
    return max(found, key=lambda path: int(path.name.removeprefix("checkpoint-")), default=folder)


def _language_model(source: Path, words: Path, folder: Path, half: bool) -> None:
    """Write configuration, weights and text tokenizer."""
    _network(source, folder, half)
    for name in TEXT_FILES:
        place = source if name == TEXT_FILES[0] else words
        if (place / name).is_file():
            shutil.copyfile(place / name, folder / name)
    if not (folder / "tokenizer_config.json").is_file():
        raise StepeditError(f"{words / 'tokenizer_config.json'} is missing; set text_tokenizer")


def _network(source: Path, folder: Path, half: bool) -> None:
    """Write configuration and weights of a language model; shards become one file."""
    config = source / "config.json"
    if not config.is_file():
        raise StepeditError(f"{config} is missing: the language model has not been trained yet")
    content = json.loads(config.read_text(encoding="utf-8"))
    # Tensors are valid until the next one is read.
    state = {name: tensor.clone() for name, tensor in read_safetensors(source)}
    save_tensors(state, folder / "model.safetensors", half=half)
    if half:
        content["dtype"] = "float16"
        content.pop("torch_dtype", None)
    write_atomically(folder / "config.json", json.dumps(content, indent=2) + "\n")


def _linguistic(source: Path, folder: Path, half: bool) -> None:
    """Write encoder and centroids; the encoder's weights become safetensors."""
    files = find_funasr(source)
    target = folder / MODEL_FOLDER
    target.mkdir(parents=True, exist_ok=True)
    state = read_state_dict(files.weights)
    encoder = {name: tensor for name, tensor in state.items() if name.startswith("encoder.")}
    save_tensors(encoder, target / "model.safetensors", half=half)
    shutil.copyfile(files.config, target / "config.yaml")
    shutil.copyfile(files.cmvn, target / "am.mvn")
    metas = {
        "config": "config.yaml",
        "init_param": "model.safetensors",
        "frontend_conf": {"cmvn_file": "am.mvn"},
    }
    text = json.dumps({"file_path_metas": metas}, indent=2) + "\n"
    write_atomically(target / "configuration.json", text)
    save_centroids(source / CENTROIDS, folder / CENTROIDS, half=half)


def _weights(folder: Path, stem: str) -> dict[str, Tensor]:
    """Read the weights of a part of the decoder: safetensors if there is one."""
    safe = folder / f"{stem}.safetensors"
    path = safe if safe.is_file() else folder / f"{stem}.pt"
    if not path.is_file():
        raise StepeditError(f"{safe} is missing; export that part of the decoder first")
    return read_state_dict(path)


def _label_weights(own: Mapping[str, Path], target: Path, half: bool) -> None:
    """Write the mel decoder's weights of single labels, and name them in ``cosyvoice.yaml``."""
    for file in own.values():
        save_tensors(read_state_dict(file), target / file.name, half=half)
    place = target / "cosyvoice.yaml"
    entries = read_hyperyaml(place)
    entry = entries.get("flow")
    if not isinstance(entry, Component):
        raise StepeditError(f"{place}: describes no decoder that weights of a label go with")
    named = {label: file.name for label, file in own.items()}
    given = {**entry.arguments, "label_weights": named}
    write_atomically(place, configuration({**entries, "flow": replace(entry, arguments=given)}))


def _configuration(flow: Path, vocoder: Path) -> str:
    """Return ``cosyvoice.yaml``: the folder's own, or its parts joined."""
    parts = [flow / "flow.yaml", vocoder / "hift.yaml"]
    if not any(part.is_file() for part in parts):
        parts = [flow / "cosyvoice.yaml"]
    for part in parts:
        if not part.is_file():
            raise StepeditError(f"{part} is missing; export that part of the decoder first")
    text = "".join(part.read_text(encoding="utf-8").rstrip() + "\n" for part in parts)
    keys = re.findall(r"(?m)^(\w+):", text)
    if len(keys) != len(set(keys)):
        raise StepeditError(f"{parts[0]} and {parts[-1].name} say the same twice: {keys}")
    return text


def read_resemblyzer() -> dict[str, Tensor]:
    """Return the weights of the installed Resemblyzer package, without importing it.

    Raises:
        MissingDependencyError: if it is not installed.
        StepeditError: if its file is not the one of version 0.1.4.
    """
    spec = find_spec("resemblyzer")
    if spec is None or spec.origin is None:
        raise MissingDependencyError(
            "the speaker encoder's weights come with resemblyzer: pip install 'resemblyzer>=0.1.4'"
        )
    path = Path(spec.origin).parent / "pretrained.pt"
    content = torch.load(path, map_location="cpu", weights_only=True)
    state = content.get("model_state") if isinstance(content, dict) else None
    if not isinstance(state, dict):
        raise StepeditError(f"{path} does not hold the weights of Resemblyzer 0.1.4")
    return {name: t for name, t in state.items() if name.startswith(("lstm.", "linear."))}


def _speaker(settings: AssembleSettings, folder: Path, half: bool) -> None:
    """Write the speaker encoder."""
    if settings.speaker == Path("resemblyzer"):
        save_tensors(read_resemblyzer(), folder / RESEMBLYZER_FILE, half=half)
        return
    source = resolve_path(settings, settings.speaker)
    if source.name == RESEMBLYZER_FILE:
        save_tensors(read_state_dict(source), folder / RESEMBLYZER_FILE, half=half)
    elif source.name == SPEAKER_GRAPH and source.is_file():
        save_graph(source, folder / SPEAKER_GRAPH, half=half)
    else:
        raise StepeditError(
            f"{source} is no speaker encoder: give {SPEAKER_GRAPH}, {RESEMBLYZER_FILE}, or "
            "the word resemblyzer"
        )
