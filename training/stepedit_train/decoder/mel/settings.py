"""Settings of the mel stage."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from stepedit_core.models.decoder.reference.model import ReferencedMelDecoder
from stepedit_train.decoder.examples import ConditioningRules, ExampleSettings
from stepedit_train.settings import Settings

__all__ = [
    "MelSettings",
    "MelSizes",
]


class MelSizes(Settings):
    """Sizes of the decoder; see `ReferencedMelDecoder`."""

    width: int = Field(default=192, ge=8)
    """Channels."""
    token_blocks: int = Field(default=4, ge=1)
    """Blocks over tokens."""
    reference_blocks: int = Field(default=2, ge=0)
    """Blocks over the reference's mel."""
    mel_blocks: int = Field(default=6, ge=2)
    """Blocks over the target's frames."""
    heads: int = Field(default=4, ge=1)
    """Heads of the attention."""
    spk_embed_dim: int = Field(default=256, ge=1)
    """Size of the speaker vector."""
    lag: int = Field(default=0, ge=0)
    """Groups of 120 ms after which a place on the path through the reference is decided; 0 does
    without a path."""
    places: bool = False
    """Whether places in the reference are used where an edit knows them."""
    labels: tuple[str, ...] = ()
    """Edits that are told apart, as `Plan.label` names them."""
    bounds: dict[str, tuple[float, float, float]] = Field(default_factory=dict)
    """By label: dB that a made mel may be below the reference's in speech and in pauses, and above
    it. Training does not need them."""
    labels_again: bool = False
    """Whether each block is told the label too, not the first alone."""
    unvoiced: tuple[str, ...] = ()
    """Labels whose edits the vocoder speaks without voice. Training does not need them."""
    prosody: dict[str, dict[str, float]] = Field(default_factory=dict)
    """By label: what it usually does to pitch, level and colour, for the vocoder to do; fields of
    `LabelProsody`. Training does not need them."""
    placed_as: str = ""
    """Label that stands for those where places are known. Training does not need it."""

    def build(self) -> ReferencedMelDecoder:
        """Return a fresh decoder."""
        return ReferencedMelDecoder(**self.model_dump(exclude={"base"}))


class MelSettings(ExampleSettings):
    """Settings of the mel stage; the budget is in seconds of target and reference together."""

    scaled: ClassVar[tuple[str, ...]] = (*ExampleSettings.scaled, "critic_from", "read_from")
    renamed: ClassVar[Mapping[str, str]] = {
        **ExampleSettings.renamed,
        "spoilt": "degraded_families",
        "spoil": "mix_source_codes",
        "mislead": "scramble_codes",
        "untold": "position_dropout",
        "echo": "self_generated_reference",
    }

    sizes: MelSizes = MelSizes()
    """Sizes of the network."""
    weights: Path | None = None
    """Decoder folder of an engine whose weights a new run begins with; `sizes` may have more parts
    and labels. None: random weights."""
    distil_from: Path | None = None
    """Decoder folder of an engine whose output, told any of its labels, is the target of recordings
    that are no edits: what it was taught is not forgotten while new pairs are learned (learning
    without forgetting, Li & Hoiem 2016)."""
    degraded_families: tuple[str, ...] = ("denoise", "denoise_synthesised")
    """Families of which `mix_source_codes` and `noisy` tell: their sources are degraded."""
    mix_source_codes: float = Field(default=0.0, ge=0, le=1)
    """Probability that stretches of a target's codes are the source's, in degraded families: models
    leave them so."""
    noisy: float = Field(default=0.0, ge=0, le=1)
    """Part of the sources of those families that are also their own target: noise is to go
    where that is asked, and nowhere else."""
    scramble_codes: float = Field(default=0.0, ge=0, le=1)
    """Probability that stretches of a target get other places' codes, in pairs with positions."""
    clean: float = Field(default=0.0, ge=0, le=1)
    """Part of the examples with themselves as reference that are told to be denoised."""
    position_dropout: float = Field(default=0.15, ge=0, le=1)
    """Probability that positions in the reference are left out."""
    self_generated_reference: float = Field(default=0.0, ge=0, le=1)
    """Part of the references that the decoder makes itself, as for edits of its own output
    (exposure bias)."""
    delta_weight: float = Field(default=0.5, ge=0)
    """Weight of the absolute error of the frames' differences."""
    critic_weight: float = Field(default=0, ge=0)
    """Weight of the adversarial loss and of feature matching; 0 trains without a critic."""
    critic_from: int = Field(default=200, ge=0)
    """Step from which the decoder listens to its critic, which learns from the first."""
    critic_width: int = Field(default=24, ge=1)
    """Channels of its first layer."""
    critic_pace: float = Field(default=1.0, gt=0)
    """Factor of its learning rate."""

    read_weight: float = Field(default=0, ge=0)
    """Weight of what a reader of codes finds in the made mel (see `MelCodeReader`); 0: none."""
    read_from: int = Field(default=200, ge=0)
    """Step from which the decoder listens to that reader, which learns from the first."""
    read_width: int = Field(default=96, ge=1)
    """Channels of the reader."""
    frozen: tuple[str, ...] = ()
    """Beginnings of the names of weights that stay as `weights` brings them. Checkpoints do not
    hold them, so that a run that goes on from another one (`start`) is given both."""

    @model_validator(mode="after")
    def _one_beginning(self) -> Self:
        if self.frozen and self.weights is None:
            raise ValueError("frozen keeps what weights brings; give weights")
        if self.start is not None and self.weights is not None and not self.frozen:
            raise ValueError("start and weights both say what a run begins with; give one")
        return self

    @classmethod
    def with_present_names(cls, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return the data of settings with old names replaced: ``keep`` meant its ``weights``."""
        found = super().with_present_names(data)
        if "keep" in found:
            is_kept, weights = found.pop("keep"), found.get("weights")
            if is_kept and weights is None:
                raise ValueError("keep needs weights, whose output is kept")
            found["distil_from"] = weights if is_kept else None
        return found

    def conditioning(self) -> ConditioningRules:
        """Return the rules of conditioning, and of its corruption."""
        return ConditioningRules(
            self.sizes.labels,
            self.degraded_families,
            self.mix_source_codes,
            self.noisy,
            self.scramble_codes,
            self.clean,
            self.position_dropout,
        )
