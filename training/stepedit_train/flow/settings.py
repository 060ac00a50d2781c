"""Settings of the flow stage."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

from pydantic import Field, model_validator

from stepedit_train.flow.sizes import FlowSizes
from stepedit_train.loop import LoopSettings

__all__ = ["FlowSettings"]


class FlowSettings(LoopSettings):
    """Settings of the flow stage; the budget is in seconds of target and reference together."""

    data: Path
    """Folder that the mel-data stage made."""
    out: Path
    """Folder of the run."""
    sizes: FlowSizes = FlowSizes()
    """Of the network, and how it is used."""
    weights: Path | None = None
    """Decoder folder, or the checkpoint around it, whose weights a new run begins with; its sizes
    must be those of `sizes`. None: random weights."""
    mean_weight: float = Field(default=1.0, ge=0)
    """Of the absolute error of the encoder's mel; only where `sizes.start_from_mean` is on."""
    prompt_weight: float = Field(default=0.0, ge=0)
    """Of the velocity's error on the reference's frames, which the solver moves too."""
    sigma_min: float = Field(default=1e-6, ge=0, lt=1)
    """Deviation around the target that is left at the end of a path."""
    drop: float = Field(default=0.2, ge=0, lt=1)
    """Share of the examples without encoder output, speaker and reference, for guidance."""
    self_share: float = Field(default=1.0, ge=0)
    """Examples whose reference is the recording itself, for each recording."""
    other_share: float = Field(default=1.0, ge=0)
    """Examples whose reference is another recording of the speaker, for each recording."""
    reverse: float = Field(default=0.3, ge=0, le=1)
    """Part of the pairs that are learned from target to source."""
    shares: dict[str, float] = Field(default_factory=dict)
    """Examples for each pair of a family, where it is not one."""
    one_way: tuple[str, ...] = ("denoise", "denoise_synthesised")
    """Families whose source is nothing that anyone should want to make."""
    max_rows: int = Field(default=100, ge=12)
    """Longest target, rows of 40 ms."""
    max_reference_rows: int = Field(default=150, ge=12)
    """Longest reference."""
    gap: float = Field(default=0.5, ge=0, le=1)
    """How often a stretch of the reference is taken away, so that not everything is found."""
    disturb: float = Field(default=0.5, ge=0, le=1)
    """How often codes of the target are disturbed, as a language model's are wrong at times."""
    gain_db: float = Field(default=6.0, ge=0)
    """Levels of reference and target are changed together by up to this much."""
    voice_noise: float = Field(default=0.05, ge=0)
    """Deviation of the noise on the speaker vector, whose norm is 1."""
    dev_items: int = Field(default=24, ge=1)
    """Examples of each kind that validation looks at."""
    dev_steps: int = Field(default=10, ge=1)
    """Euler steps of the mels that validation generates."""

    # This decoder is not told anything of an edit; see `ExampleSettings`.
    labels: ClassVar[tuple[str, ...]] = ()
    spoilt: ClassVar[tuple[str, ...]] = ()
    spoil: ClassVar[float] = 0.0
    noisy: ClassVar[float] = 0.0
    mislead: ClassVar[float] = 0.0
    clean: ClassVar[float] = 0.0
    untold: ClassVar[float] = 0.0

    @model_validator(mode="after")
    def _begins_once(self) -> Self:
        if self.start is not None and self.weights is not None:
            raise ValueError("start and weights both say what a run begins with; give one")
        return self
