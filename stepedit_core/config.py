"""Typed settings of engines and of sampling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from stepedit_core.errors import EngineError

__all__ = ["EMBEDDED", "EngineConfig", "SamplingConfig", "engine_config"]

EMBEDDED = "embedded"
"""Name of the small model that ships with the package."""


class SamplingConfig(BaseModel):
    """How the language model draws codes; the defaults are the public system's."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    temperature: float = Field(default=0.7, ge=0.0, le=5.0)
    """Softmax temperature; 0 takes the likeliest code (greedy)."""
    top_k: int | None = Field(default=None, ge=1)
    """Keep only the k likeliest codes; the public system's transformers path has 50."""
    top_p: float | None = Field(default=None, gt=0.0, le=1.0)
    """Keep the likeliest codes whose probabilities sum to p."""
    repetition_window: int = Field(default=10, ge=0)
    """Look-back of the repetition-aware rule, in tokens; 0 turns it off."""
    grammar: bool = True
    """Hold the 2:3 phase and the valid id range; False samples freely as upstream does."""
    max_length: int = Field(default=8192, ge=16)
    """Budget of prompt and output together, in tokens."""
    max_growth: float = Field(default=4.0, ge=1.0)
    """Output is cut at this many times its expected length, and six seconds more."""
    hold_length: float = Field(default=0.0, ge=0.0, le=1.0)
    """Where an edit asks for a definite duration, the model may not end before this share of it;
    0 leaves the end to the model, as the public system does."""
    hold_guess: float = Field(default=0.0, ge=0.0, le=1.0)
    """The same where the duration is only guessed: other words, added sounds, pauses cut out."""
    guidance: float = Field(default=1.0, ge=0.0, le=10.0)
    """Classifier-free guidance (Ho and Salimans 2022): logits move by this factor away from those
    of the same prompt without its words; 1 is off. For models trained with such prompts."""
    keep_rest: bool = False
    """Where an edit only puts sounds between the words (``Edit.insertions``), generate these and
    copy all else, instead of having the whole utterance said again as the public system does."""
    candidates: int = Field(default=1, ge=1, le=64)
    """Answers that are drawn where all words of the answer are known; the one that reads best as
    these words is kept, by the phone reader that a model has beside its weights. Models without
    one, streams and words that it does not know draw one."""
    edits: Mapping[str, Mapping[str, float | int | bool | None]] = {}
    """Other values of these fields for single edits, by the edit's name."""

    @model_validator(mode="after")
    def _edits_are_sampling(self) -> SamplingConfig:
        for name in self.edits:
            try:
                self.for_edit(name)
            except ValidationError as error:
                first = error.errors()[0]
                field = ".".join(map(str, first["loc"]))
                raise ValueError(f"edits.{name}.{field}: {first['msg']}") from None
        return self

    def filled(self, defaults: Mapping[str, Any]) -> SamplingConfig:
        """Return the same with a model's own defaults where nothing was set.

        What was set holds for all edits, whatever the model has for single ones; what was set for
        one edit changes nothing about the others.
        """
        chosen = self.model_dump(exclude_unset=True)
        edits = {
            name: {field: value for field, value in fields.items() if field not in chosen}
            for name, fields in defaults.get("edits", {}).items()
        }
        for name, fields in chosen.pop("edits", {}).items():
            edits[name] = {**edits.get(name, {}), **fields}
        return SamplingConfig.model_validate({**defaults, **chosen, "edits": edits})

    def for_edit(self, *names: str) -> SamplingConfig:
        """Return the values that hold for one edit; of several names, later ones go before."""
        values = self.model_dump(exclude={"edits"})
        for name in names:
            values |= self.edits.get(name, {})
        return SamplingConfig.model_validate(values)


class EngineConfig(BaseModel):
    """Which engine to load, and how."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name_or_path: str = EMBEDDED
    """A folder, a Hugging Face or ModelScope id, or the name of an engine that a plugin brings."""
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Arithmetic of the language model; ``auto`` is bfloat16 on a GPU and float32 on a CPU."""
    quantize: Literal["int8", "int4"] | None = None
    """Weight-only quantisation of the language model."""
    prompt_encoding: Literal["auto", "r1", "r2"] = "auto"
    """Official prompt encoding: ``r1`` (Dec 2025), ``r2`` (2026); ``auto`` follows the files."""
    hub: Literal["huggingface", "modelscope"] = "huggingface"
    """Where an id is looked up."""
    tokenizer: str | None = None
    """Folder or id of the audio tokenizer; None takes the one beside the model."""
    compile: bool = True
    """Use CUDA graphs or torch.compile where the device has them."""
    wav_rounding: Literal["float32", "pcm16"] = "float32"
    """Precision of what the linguistic tokenizer hears: the public system writes a WAV in
    between, of 32-bit floats or of 16-bit integers depending on release and machine."""
    cache_size: int = Field(default=64, ge=0)
    """Utterances whose codes and reference features are kept."""
    reuse_decoded: bool = True
    """Begin an edit of the engine's own, untouched output with the codes and the mel that it was
    decoded from, where the decoder's reference lies on its codes' grid as the embedded one's does.
    False encodes its sound again, as the public system does for each edit."""
    sampling: SamplingConfig = SamplingConfig()
    """How codes are drawn."""


def engine_config(**options: Any) -> EngineConfig:
    """Return a configuration from keyword arguments.

    Raises:
        EngineError: in one line, if an option is unknown or has a wrong value.
    """
    from stepedit_core.errors import explain_validation

    try:
        return EngineConfig(**options)
    except ValidationError as error:
        reason = explain_validation(error, EngineConfig.model_fields)
        raise EngineError(f"engine options: {reason}") from error
