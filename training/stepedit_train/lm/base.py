"""The ``llm-base`` stage: a language model of random weights, and its phrase vocabulary."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from stepedit_core.atomic import write_atomically
from stepedit_core.codes import LINGUISTIC_SIZE, SEMANTIC_SIZE
from stepedit_core.errors import StepeditError
from stepedit_core.models.lm.chat import MAX_TOKENS, PromptEncoding
from stepedit_core.models.lm.step1 import (
    DEFAULT_ALIGNMENT,
    Step1Config,
    Step1ForCausalLM,
    load_step1,
)
from stepedit_core.models.lm.step1.loading import read_config
from stepedit_core.models.text import load_tokenizer
from stepedit_core.models.text.bytes import ByteTokenizer
from stepedit_core.models.text.pronunciations import PHONES
from stepedit_core.registry.registry import get_registry
from stepedit_train.export import save_pretrained
from stepedit_train.lm.vocabulary import DICTIONARY, POCKETSPHINX, prompt_phrases, read_dictionary
from stepedit_train.seeds import generator_of
from stepedit_train.settings import Settings, resolve_path

__all__ = [
    "BaseSettings",
    "HeadSettings",
    "deepened",
    "layer_origins",
    "make_base",
]

_LEVELS, _DIGITS = 8, 4
_SIZES = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_attention_groups",
)  # fmt: skip

_LAYERS = "model.layers."
_OUTPUTS = ("self_attn.o_proj.weight", "mlp.down_proj.weight")


class HeadSettings(Settings):
    """Position prior of a head (``stepedit_core/models/lm/step1/alignment.py``)."""

    kind: Literal["source", "recent", "ordinary"]
    """Origin of distances: the aligned place, the head's own, or ALiBi's."""
    slope: float = Field(default=0.0, ge=0)
    """Slope over the square root of the distance."""
    offset: float = 0.0
    """Tokens between that place and the one that the head prefers."""

    @property
    def setting(self) -> dict[str, Any] | None:
        """The prior as ``config.json`` holds it."""
        if self.kind == "ordinary":
            return None
        return {"kind": self.kind, "slope": self.slope, "offset": self.offset}


class BaseSettings(Settings):
    """Settings of the llm-base stage; the defaults are those of the embedded model."""

    out: Path
    """Folder of the model."""
    hidden_size: int = Field(default=256, ge=8)
    """Width."""
    layers: int = Field(default=4, ge=1)
    """Decoder layers."""
    heads: int = Field(default=8, ge=1)
    """Query heads."""
    groups: int = Field(default=8, ge=1)
    """Key/value heads."""
    intermediate_size: int = Field(default=688, ge=8)
    """Inner width of the feed-forward layers."""
    max_seq_len: int = Field(default=MAX_TOKENS, ge=64)
    """Largest context."""
    initializer_range: float = Field(default=0.04, gt=0)
    """Standard deviation of all weights."""
    alignment: tuple[HeadSettings, ...] = tuple(
        HeadSettings.model_validate(head or {"kind": "ordinary"}) for head in DEFAULT_ALIGNMENT
    )
    """Position priors, one for each head; none at all leaves every head ordinary."""
    prompt_encoding: PromptEncoding = "r2"
    """Public prompt encoding that the model is to read."""
    phrases: tuple[str, ...] = ()
    """Phrases besides those of the registered edits' prompts."""
    spare: int = Field(default=64, ge=0)
    """Rows of the embedding that are kept free for further phrases."""
    pronunciations: Literal["pocketsphinx"] | Path | None = None
    """Dictionary in the CMU format by which words are spelled as phones: a file, or the one of
    the pocketsphinx package (BSD licence); None leaves all words to bytes."""
    weights: Path | None = None
    """Model of the same sizes and phrases to go on from instead of random weights, for example to
    change its spelling. Where it has fewer layers, the new ones begin silent (`deepened`)."""
    codebook: Path | None = None
    """``linguistic_tokenizer.npy``, of up to 1024 clusters: codes of similar clusters begin with
    similar vectors."""
    seed: int = Field(default=0, ge=0)
    """Seed of the weights."""


def _standardised(table: Tensor) -> Tensor:
    return (table - table.mean()) / table.std().clamp(min=1e-6)


def _code_vectors(settings: BaseSettings, generator: torch.Generator) -> Tensor:
    """Return start vectors of all audio ids, ``(5120, hidden)``, standard deviation about 1.

    Half of the variance is each code's own. The other half is shared: semantic codes share a
    random walk over the levels of each of their four digits, linguistic codes a random
    projection of their cluster centres.
    """
    width = settings.hidden_size
    own = torch.randn(LINGUISTIC_SIZE + SEMANTIC_SIZE, width, generator=generator)
    walk = torch.randn(_DIGITS, _LEVELS, width, generator=generator).cumsum(1)
    walk = walk - walk.mean(1, keepdim=True)
    code = torch.arange(SEMANTIC_SIZE)
    digits = torch.stack([code // _LEVELS**d % _LEVELS for d in range(_DIGITS)])
    semantic = sum(walk[d][digits[d]] for d in range(_DIGITS))
    assert isinstance(semantic, Tensor)
    own[LINGUISTIC_SIZE:] = (own[LINGUISTIC_SIZE:] + _standardised(semantic)) / 2**0.5
    if settings.codebook is not None:
        path = resolve_path(settings, settings.codebook)
        try:
            centres = torch.from_numpy(np.load(path, allow_pickle=False)).float()
        except (OSError, ValueError) as error:
            raise StepeditError(f"{path}: no readable codebook ({error})") from error
        if centres.dim() != 2 or not 0 < len(centres) <= LINGUISTIC_SIZE:
            raise StepeditError(
                f"{path}: shape {tuple(centres.shape)}, expected at most ({LINGUISTIC_SIZE}, any)"
            )
        centred = centres - centres.mean(0)
        project = torch.randn(centres.shape[1], width, generator=generator)
        shared = _standardised(centred @ project)
        count = len(centres)  # codes of tokenizers with fewer clusters are never heard
        own[:count] = (own[:count] + shared) / 2**0.5
    return own


def _fill(model: Step1ForCausalLM, settings: BaseSettings, audio_base: int) -> None:
    """Draw all weights; the head begins as a copy of the embedding.

    A token that attention has fetched is then the likeliest output from the first step on:
    copying need not be learned for each of the 5120 codes by itself.
    """
    generator = generator_of(settings.seed, "llm-base")
    deviation = settings.initializer_range
    depth = (2 * settings.layers) ** -0.5
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() < 2:
                continue
            weight.normal_(0.0, deviation, generator=generator)
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                weight.mul_(depth)
        table = model.model.embed_tokens.weight
        codes = _code_vectors(settings, generator) * deviation
        table[audio_base : audio_base + len(codes)] = codes
        model.lm_head.weight.copy_(table)


def _dictionary(settings: BaseSettings) -> bytes | None:
    given = settings.pronunciations
    if given is None or given == POCKETSPHINX:
        return None if given is None else read_dictionary(given)
    return read_dictionary(resolve_path(settings, Path(given)))


def _take(model: Any, folder: Path, tokenizer: ByteTokenizer) -> None:
    """Copy the weights of another model, whose ids must mean the same."""
    config, _ = read_config(folder)
    theirs = load_tokenizer(folder)
    if not isinstance(theirs, ByteTokenizer) or theirs.phrases != tokenizer.phrases:
        raise StepeditError(f"{folder}: its phrases differ from those of the registered edits")
    if theirs.audio_ids([0]) != tokenizer.audio_ids([0]):
        raise StepeditError(f"{folder}: its audio ids begin elsewhere")
    for name in _SIZES:
        # Weights of other heads may have the same shapes.
        has, asked = getattr(config, name), getattr(model.config, name)
        if has != asked and not (name == "num_hidden_layers" and has < asked):
            hint = "; phones take rows, set spare to match" if name == "vocab_size" else ""
            raise StepeditError(f"{folder}: its {name} is {has}, the settings give {asked}{hint}")
    weights = load_step1(folder, dtype=torch.float32).state_dict()
    model.load_state_dict(
        deepened(weights, config.num_hidden_layers, model.config.num_hidden_layers)
    )


def make_base(settings: BaseSettings) -> Iterator[str]:
    """Write the model folder; yield lines that say what was done.

    Raises:
        StepeditError: if the folder holds a model already, or the sizes do not fit.
    """
    out = resolve_path(settings, settings.out)
    if (out / "config.json").exists():
        raise StepeditError(f"{out} holds a model already: remove it or choose another out")
    phrases = prompt_phrases(get_registry(), settings.prompt_encoding, settings.phrases)
    tokenizer = ByteTokenizer(phrases=phrases)
    words = _dictionary(settings)
    used = tokenizer.vocab_size + (len(PHONES) if words else 0)
    rows = -(-(used + settings.spare) // 64) * 64
    prior = [head.setting for head in settings.alignment]
    try:
        config = Step1Config(
            vocab_size=rows,
            hidden_size=settings.hidden_size,
            intermediate_size=settings.intermediate_size,
            num_hidden_layers=settings.layers,
            num_attention_heads=settings.heads,
            num_attention_groups=settings.groups,
            max_seq_len=settings.max_seq_len,
            initializer_range=settings.initializer_range,
            source_alignment=prior or None,
            dtype="float32",
        )
    except ValueError as error:
        raise StepeditError(f"llm-base: {error}") from error
    model: Any = Step1ForCausalLM(config)
    if settings.weights is None:
        _fill(model, settings, tokenizer.audio_base_id)
    else:
        _take(model, resolve_path(settings, settings.weights), tokenizer)
    save_pretrained(model, out)
    described = {
        "tokenizer_class": "ByteTokenizer",
        "audio_base_id": tokenizer.audio_base_id,
        "audio_count": tokenizer.audio_count,
        "prompt_encoding": settings.prompt_encoding,
        "phrases": phrases,
    }
    if words is not None:
        described["pronunciations"] = DICTIONARY
        write_atomically(out / DICTIONARY, words)
    text = json.dumps(described, indent=1, ensure_ascii=False)
    write_atomically(out / "tokenizer_config.json", text)
    count = sum(weight.numel() for weight in model.parameters())
    yield (
        f"{count / 1e6:.2f} million weights, vocabulary of {rows} with {len(phrases)} phrases; "
        f"model in {out}"
    )


def layer_origins(layers: int, wanted: int) -> list[tuple[int, bool]]:
    """Return for each of ``wanted`` layers the one that it comes from, and whether it is new.

    New layers are spread evenly, each behind the one that it repeats.

    Raises:
        ValueError: if fewer layers are wanted than there are.
    """
    if not 0 < layers <= wanted:
        raise ValueError(f"{layers} layers cannot become {wanted}")
    ends = [(index + 1) * wanted // layers for index in range(layers)]
    begins = [0, *ends[:-1]]
    return [
        (index, place > begin)
        for index, (begin, end) in enumerate(zip(begins, ends, strict=True))
        for place in range(begin, end)
    ]


def deepened(weights: dict[str, Tensor], layers: int, wanted: int) -> dict[str, Tensor]:
    """Return weights of a deeper model that computes the same, by its parameter names.

    A new layer repeats the one before it, with zeros for what it adds to the residual stream: it
    does nothing until it has learned to. Source: block expansion, Wu et al. 2024 (LLaMA Pro), 3.2.

    Args:
        weights: of the model that is there, by parameter name.
        layers: how many it has.
        wanted: how many the deeper one has.

    Raises:
        ValueError: if fewer layers are wanted than there are.
    """
    found = {name: value for name, value in weights.items() if not name.startswith(_LAYERS)}
    for place, (index, is_new) in enumerate(layer_origins(layers, wanted)):
        prefix = f"{_LAYERS}{index}."
        for name, value in weights.items():
            if name.startswith(prefix):
                part = name.removeprefix(prefix)
                silent = is_new and part in _OUTPUTS
                found[f"{_LAYERS}{place}.{part}"] = (
                    value.new_zeros(value.shape) if silent else value
                )
    return found
