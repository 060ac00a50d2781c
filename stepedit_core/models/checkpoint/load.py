"""Load the parts of an engine from a checkpoint and put them on one device."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from stepedit_core.config import EMBEDDED, EngineConfig
from stepedit_core.edit import Edit
from stepedit_core.errors import BudgetError, EngineError
from stepedit_core.models.checkpoint.edit_weights import EditWeights
from stepedit_core.models.checkpoint.layout import CheckpointFolders, find_folders
from stepedit_core.models.checkpoint.model_files import RouteTable, folder_sampling
from stepedit_core.models.checkpoint.naming import languages_of, named
from stepedit_core.models.decoder.decoder import Decoder
from stepedit_core.models.lm.chat import PromptEncoding, preferred_encoding
from stepedit_core.models.lm.step1.loading import load_network, network_without_weights
from stepedit_core.models.lm.step1.network import Step1Network
from stepedit_core.models.lm.token_layout import TokenLayout
from stepedit_core.models.reader import PhoneReader
from stepedit_core.models.speaker.campplus import load_speaker
from stepedit_core.models.text import load_tokenizer
from stepedit_core.models.text.base import TextTokenizer
from stepedit_core.models.tokenizer.audio_tokenizer import AudioTokenizer, ReferenceEncoder
from stepedit_core.models.tokenizer.features import MelConfig

__all__ = ["EngineParts", "fingerprint", "load_parts", "pick_device", "pick_dtype"]


_DEVICES = ("cpu", "cuda", "mps")


@dataclass(frozen=True)
class EngineParts:
    """Everything that an engine needs, loaded.

    Attributes:
        name: the model folder's name, or the hub id.
        device: where the models run.
        tokenizer: audio to codes.
        reference: a voice's mel and speaker vector.
        text: words to ids.
        encoding: which official prompt encoding is used.
        layout: where audio ids lie in the vocabulary.
        model: the language model.
        decoder: codes to audio.
        fingerprint: identifies the weights.
        routes: the better route of each edit that was measured with these weights.
        sampling: fields of ``SamplingConfig`` that the model sets where the user does not.
        generation: the same of ``GenerationPolicy``.
        languages: codes of the languages that the model was taught; None where it does not say.
        reader: tells how well codes say words, for models that bring one.
        edit_weights: copies of the language model that speak for single edits; None where it
            speaks for all.
    """

    name: str
    device: torch.device
    tokenizer: AudioTokenizer
    reference: ReferenceEncoder
    text: TextTokenizer
    encoding: PromptEncoding
    layout: TokenLayout
    model: Step1Network
    decoder: Decoder
    fingerprint: str
    routes: RouteTable
    sampling: Mapping[str, Any] = field(default_factory=dict)
    generation: Mapping[str, Any] = field(default_factory=dict)
    languages: tuple[str, ...] | None = None
    reader: PhoneReader | None = None
    edit_weights: EditWeights | None = None

    def network(self, weights: str | None) -> Step1Network:
        """Return the language model that an edit asks: its own copy, or the one of all others.

        Args:
            weights: of the edit, as of ``GenerationPolicy.weights``.

        Raises:
            CheckpointError: if the copy cannot be loaded.
        """
        if weights is None or self.edit_weights is None:
            return self.model
        return self.edit_weights.network(weights, self.model)

    def networks(self) -> Iterator[Step1Network]:
        """Yield the language models that are loaded."""
        yield self.model
        if self.edit_weights is not None:
            yield from self.edit_weights.loaded()

    @property
    def taught(self) -> frozenset[str] | None:
        """Names of the edits that the model was taught; None where its files do not say.

        They are those that ``routes.json`` lists, and those that the decoder is conditioned on.
        """
        labels = getattr(self.decoder.flow, "edit_labels", ())
        named = {*self.routes.routes, *(label.partition(":")[0] for label in labels)}
        return frozenset(named) or None

    def knows(self, edit: Edit) -> bool:
        """Return whether the model was taught an edit, and those that are its parameters."""
        taught = self.taught
        known = (
            taught is None or edit.keeps_codes or edit.name in taught or edit.prompts_like in taught
        )
        return known and all(map(self.knows, edit.inner_edits()))

    def budget(self, prompt_tokens: int, max_length: int) -> int:
        """Return how many new tokens a prompt leaves room for.

        Raises:
            BudgetError: if it leaves none for even one group; the text says what to shorten.
        """
        limit = min(max_length, int(self.model.config.max_seq_len))
        left = limit - prompt_tokens
        if left < 6:
            seconds = (prompt_tokens - limit + 6) * 0.12 / 5
            raise BudgetError(
                f"the prompt has {prompt_tokens} tokens, the limit for prompt and output is "
                f"{limit}: shorten audio or text by at least {seconds:.1f} s"
            )
        return left


def pick_device(wanted: str) -> torch.device:
    """Return the device of a setting; ``auto`` takes CUDA, then MPS, then the CPU.

    Raises:
        EngineError: if the device does not exist on this machine.
    """
    if wanted == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    kind = wanted.partition(":")[0]
    if kind not in _DEVICES:
        raise EngineError(f"no device {wanted!r}: take one of auto, {', '.join(_DEVICES)}")
    try:
        device = torch.device(wanted)
        if kind == "mps" and not torch.backends.mps.is_available():
            raise RuntimeError("this machine has no Metal device")
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise EngineError(
            f"device {wanted!r} cannot be used ({reason}); try cpu or auto"
        ) from error
    return device


def pick_dtype(wanted: str, device: torch.device, quantize: str | None = None) -> torch.dtype:
    """Return the language model's dtype.

    Args:
        wanted: its name; ``auto`` is bfloat16 on CUDA and for quantised weights, else float32.
        device: where the model runs.
        quantize: how its weights are quantised, if they are.
    """
    if wanted == "auto":
        is_fast = device.type == "cuda" or quantize is not None
        return torch.bfloat16 if is_fast else torch.float32
    return {
        "float32": torch.float32,
        "bfloat16": torch.bfloat16,
        "float16": torch.float16,
    }[wanted]


def fingerprint(folders: CheckpointFolders) -> str:
    """Return 16 hexadecimal digits that identify the weights of a checkpoint and their use.

    Names and sizes of all weight files, of what spells words, and of the configurations of language
    model and decoder are hashed, with the first and last MiB of each: whole hashes of several GB
    would take longer than loading.
    """
    digest = hashlib.sha256()
    weights = ("*.safetensors", "*.pt", "*.onnx", "*.npy")
    patterns = (*weights, "*.txt.gz", "tokenizer.model", "config.json", "cosyvoice.yaml")
    for folder in dict.fromkeys([folders.model, folders.decoder, folders.tokenizer]):
        for path in sorted(p for pattern in patterns for p in folder.rglob(pattern)):
            size = path.stat().st_size
            digest.update(f"{path.name} {size}\n".encode())
            with path.open("rb") as file:
                digest.update(file.read(2**20))
                file.seek(max(0, size - 2**20))
                digest.update(file.read(2**20))
    return digest.hexdigest()[:16]


def load_parts(config: EngineConfig, *, language_model: bool = True) -> EngineParts:
    """Load all parts that a configuration names.

    Args:
        config: names them.
        language_model: False leaves its weights on disk, for engines that have it served; its
            sizes are known all the same.

    Raises:
        CheckpointError: if a file is missing, damaged or foreign; the text names it.
        EngineError: if the model or the device does not exist.
    """
    device = pick_device(config.device)
    folders = find_folders(config)
    text = load_tokenizer(folders.model)
    encoding = config.prompt_encoding
    chosen = preferred_encoding(folders.model) if encoding == "auto" else encoding
    where = str(device)
    decoder = Decoder.load(folders.decoder, device)
    decoder.keep_recent()
    if config.compile and device.type == "cuda":
        decoder.compile()
    # ONNX graphs run on CUDA where onnxruntime can, otherwise on the CPU; MPS has no provider.
    speaker = load_speaker(folders.decoder, where)
    sampling, generation = folder_sampling(folders.model)
    dtype = pick_dtype(config.dtype, device, config.quantize)
    read = partial(load_network, dtype=dtype, device=device, quantize=config.quantize)
    network = (
        read(folders.model) if language_model else network_without_weights(folders.model, dtype)
    )
    copies = config.generation.filled(generation).named_weights()
    return EngineParts(
        name=_name(config, folders.model),
        device=device,
        tokenizer=AudioTokenizer.load(folders.tokenizer, where, wav_rounding=config.wav_rounding),
        reference=ReferenceEncoder(speaker, MelConfig.from_mapping(decoder.mel_config)),
        text=text,
        encoding=chosen,
        layout=TokenLayout.of(text),
        model=network,
        decoder=decoder,
        fingerprint=fingerprint(folders),
        routes=RouteTable.load(folders.model),
        sampling=sampling,
        generation=generation,
        languages=languages_of(folders.model),
        reader=PhoneReader.load(folders.model, text.pronunciations),
        edit_weights=EditWeights(folders.model, copies, read) if copies else None,
    )


def _name(config: EngineConfig, folder: Path) -> str:
    """Return a hub id or ``embedded`` as it was given, or the name of a local folder."""
    name = config.name_or_path
    return named(folder) if name != EMBEDDED and Path(name).expanduser().is_dir() else name
