"""Typed settings of engines, of sampling and of generation."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationError,
    model_validator,
)

from stepedit_core.errors import EngineError

__all__ = [
    "EMBEDDED",
    "EngineConfig",
    "GenerationPolicy",
    "SamplingConfig",
    "engine_config",
    "join_rules",
    "split_rules",
    "without_own_weights",
]

EMBEDDED = "embedded"
"""Name of the small model that ships with the package."""


_RENAMED: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "hold_length": ("min_length", lambda value: value),
    "hold_guess": ("min_length_estimated", lambda value: value),
    "keep_rest": ("regenerate", lambda value: "insertions" if value else "all"),
    "candidates": ("best_of", lambda value: value),
}
"""Names of fields before ``GenerationPolicy`` was split from ``SamplingConfig``."""


def split_rules(fields: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split fields, such as those of a model's ``sampling.json``, into sampling and policy.

    Old names are read as the new ones. Fields that nobody knows stay with the sampling, whose
    validation names them.

    Args:
        fields: of both kinds together, with those for single edits under ``edits``.
    """
    sampling: dict[str, Any] = {}
    policy: dict[str, Any] = {}
    for key, value in fields.items():
        name, read = _RENAMED.get(key, (key, None))
        if key == "edits" and isinstance(value, Mapping):
            parts = {edit: split_rules(own) for edit, own in value.items()}
            for side, rules in ((0, sampling), (1, policy)):
                rules["edits"] = {edit: part[side] for edit, part in parts.items() if part[side]}
        elif name in GenerationPolicy.model_fields:
            policy[name] = value if read is None else read(value)
        else:
            sampling[key] = value
    return sampling, {key: value for key, value in policy.items() if key != "edits" or value}


def join_rules(sampling: SamplingConfig, policy: GenerationPolicy) -> dict[str, Any]:
    """Return the fields that are set of both, as a model's ``sampling.json`` has them."""
    own = sampling.model_dump(exclude_unset=True)
    other = {**sampling.moved, **policy.model_dump(exclude_unset=True)}
    edits = {
        name: {**own.get("edits", {}).get(name, {}), **other.get("edits", {}).get(name, {})}
        for name in dict.fromkeys([*own.get("edits", {}), *other.get("edits", {})])
    }
    return {**own, **other, **({"edits": edits} if edits else {})}


def without_own_weights(rules: Mapping[str, Any]) -> dict[str, Any]:
    """Return rules, as of ``sampling.json``, by which one model answers all edits."""
    kept = {name: value for name, value in rules.items() if name != "weights"}
    if "edits" in kept:
        kept["edits"] = {edit: without_own_weights(own) for edit, own in kept["edits"].items()}
    return kept


class _Rules(BaseModel):
    """Fields of which a model, and the user for single edits, may set other values."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    edits: Mapping[str, Mapping[str, float | int | bool | str | None]] = {}
    """Other values of these fields for single edits, by the edit's name."""

    @model_validator(mode="after")
    def _edits_are_rules(self) -> Self:
        for name in self.edits:
            try:
                self.for_edit(name)
            except ValidationError as error:
                first = error.errors()[0]
                field = ".".join(map(str, first["loc"]))
                raise ValueError(f"edits.{name}.{field}: {first['msg']}") from None
        return self

    def filled(self, defaults: Mapping[str, Any]) -> Self:
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
        return self.model_validate({**defaults, **chosen, "edits": edits})

    def for_edit(self, *names: str) -> Self:
        """Return the values that hold for one edit; of several names, later ones go before."""
        values = self.model_dump(exclude={"edits"})
        for name in names:
            values |= self.edits.get(name, {})
        return self.model_validate(values)


class GenerationPolicy(_Rules):
    """Rules of generation for an edit; the defaults are the public system's.

    The model's own ``sampling.json`` goes before the defaults, what the user sets before both.
    """

    min_length: float = Field(default=0.0, ge=0.0, le=1.0)
    """Where an edit asks for a definite duration, the model may not end before this share of it;
    0 leaves the end to the model, as the public system does."""
    min_length_estimated: float = Field(default=0.0, ge=0.0, le=1.0)
    """The same share where the duration is a guess: other words, added sounds, removed pauses."""
    max_growth: float = Field(default=4.0, ge=1.0)
    """Output of a length that is only guessed is cut at this many times that, and
    ``growth_seconds`` more."""
    growth_seconds: float = Field(default=6.0, ge=0.0)
    """See ``max_growth``."""
    max_growth_known: float = Field(default=1.15, ge=1.0)
    """Output of a definite length is cut at this many times that, and one group of 120 ms more: an
    answer that misses its end would hold up all others of its batch."""
    regenerate: Literal["all", "insertions"] = "all"
    """``insertions``: where an edit only puts sounds between the words (``Plan.insertions``),
    generate these and copy all else; ``all`` has the whole utterance said again as the public
    system does."""
    best_of: int = Field(default=1, ge=1, le=64)
    """Answers that are drawn where all words of the answer are known; the one that reads best as
    these words is kept, by the phone reader that a model has beside its weights. Models without
    one, streams and words that it does not know draw one."""
    read_again: int = Field(default=1, ge=1, le=16)
    """Of several answers, so many that read best are spoken, encoded and read again, and the one
    that reads best then is kept; 1 keeps the one whose codes read best."""
    heard_by: Literal["codes", "phones"] = "codes"
    """Who hears those that are spoken (``read_again``): ``codes`` is the phone reader, once their
    sound is encoded again; ``phones`` is the phone recogniser of the package hama, for English.
    What it cannot hear is left to the reader."""
    own_codes: bool = False
    """Of an edit towards a label, or at one tempo: the source's own codes, at the pace that the
    edit plans, are the answer, and the language model is asked nothing. For decoders that do to
    pitch, level and colour what a label usually does, whatever the codes say, and for edits of one
    tempo that they are conditioned on, as the embedded one on denoise and speed."""
    follow_source: bool = False
    """Of an edit that leaves silence out and does nothing else (``Plan.omissions``): the answer is
    the source's own codes in their order, and the model chooses where in a silence it leaves them
    and returns, within what the edit lets stay of it."""
    infill_context: float | None = Field(default=None, ge=1.0)
    """Where words are changed: seconds of speech around them that the model is given, for models
    that were taught with short recordings; None gives the whole recording."""
    phrase_seconds: float | None = Field(default=None, ge=1.0)
    """Where an edit says a text of its own (``Edit.saying``): seconds of speech that the model says
    at once, for models that were taught with short ones. Longer texts are said phrase by phrase,
    each with draws of its own; None says all of a text at once."""
    voice_seconds: float | None = Field(default=None, ge=1.0)
    """Where an edit says a text of its own: seconds of the recording that the model is shown as the
    voice to speak in; None shows the whole recording. The decoder's reference is all of it."""
    weights: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    """Folder in the model's, with a fine-tuned copy of the language model that answers in place of
    it; None asks the model itself."""

    def named_weights(self) -> dict[str, list[str]]:
        """Return the folders of weights that are named, each with the edits that ask for it.

        There are no edits where all of them ask.
        """
        found: dict[str, list[str]] = {} if self.weights is None else {self.weights: []}
        for edit, fields in self.edits.items():
            if fields.get("weights") is not None:
                found.setdefault(str(fields["weights"]), []).append(edit)
        return found


class SamplingConfig(_Rules):
    """Sampling of the language model's codes; the defaults are the public system's."""

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
    guidance: float = Field(default=1.0, ge=0.0, le=10.0)
    """Classifier-free guidance (Ho and Salimans 2022): logits move by this factor away from those
    of the same prompt without its words; 1 is off. For models trained with such prompts."""

    _policy: dict[str, Any] = PrivateAttr(default_factory=dict)
    """Fields that were given here and have moved to `GenerationPolicy`."""

    @model_validator(mode="wrap")
    @classmethod
    def _moved_fields(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Take fields of `GenerationPolicy`, under their old names, for one more release."""
        if not isinstance(data, Mapping):
            return handler(data)
        own, policy = split_rules(data)
        GenerationPolicy.model_validate(policy)
        made = handler(own)
        if policy:
            warnings.warn(
                f"SamplingConfig: {', '.join(sorted(policy))} belong to GenerationPolicy; give "
                "them with EngineConfig(generation=...)",
                DeprecationWarning,
                stacklevel=2,
            )
            made._policy = policy
        return made

    @property
    def moved(self) -> Mapping[str, Any]:
        """Fields of `GenerationPolicy` that were given here, by their new names."""
        return self._policy


class EngineConfig(BaseModel):
    """Configuration of the engine to load."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name_or_path: str = EMBEDDED
    """A folder, a Hugging Face or ModelScope id, or the name of an engine that a plugin brings."""
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Arithmetic of the language model; ``auto`` is bfloat16 on a GPU or where the weights are
    quantised (float32 unpacks them 29 to 38 times slower on a CPU), else float32."""
    quantize: Literal["int8", "int4"] | None = None
    """Weight-only quantisation of the language model."""
    prompt_encoding: Literal["auto", "r1", "r2"] = "auto"
    """Official prompt encoding: ``r1`` (Dec 2025), ``r2`` (2026); ``auto`` follows the files."""
    hub: Literal["huggingface", "modelscope"] = "huggingface"
    """Hub on which an id is looked up."""
    tokenizer: str | None = None
    """Folder or id of the audio tokenizer; None takes the one beside the model."""
    compile: bool = True
    """Use CUDA graphs or torch.compile where the device has them."""
    wav_rounding: Literal["float32", "pcm16"] = "float32"
    """Precision of what the linguistic tokenizer hears: the public system writes a WAV in
    between, of 32-bit floats or of 16-bit integers depending on release and machine."""
    cache_size: int = Field(default=64, ge=0)
    """Utterances whose codes and reference features are kept."""
    sampling: SamplingConfig = SamplingConfig()
    """Rules of sampling."""
    generation: GenerationPolicy = GenerationPolicy()
    """Rules of generation: length, what is generated, best of how many."""

    @model_validator(mode="before")
    @classmethod
    def _no_reuse_decoded(cls, data: Any) -> Any:
        """Take the option that a chain's ``carry`` has replaced, for one more release."""
        if not isinstance(data, Mapping) or "reuse_decoded" not in data:
            return data
        warnings.warn(
            "EngineConfig.reuse_decoded has no effect any more: a chain hands on what the engine "
            "knows by carry='latent', which is the default; carry='audio' encodes anew each time",
            DeprecationWarning,
            stacklevel=2,
        )
        return {key: value for key, value in data.items() if key != "reuse_decoded"}

    @model_validator(mode="after")
    def _policy_from_sampling(self) -> Self:
        """Put what was given with the sampling, and has moved, into the policy."""
        if self.sampling.moved:
            own = self.generation.model_dump(exclude_unset=True)
            moved = GenerationPolicy.model_validate({**self.sampling.moved, **own})
            object.__setattr__(self, "generation", moved)
        return self


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
