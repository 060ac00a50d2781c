"""Settings of the flow stage."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from stepedit_train.flow.sizes import FlowSizes
from stepedit_train.mel.rules import ExampleSettings

__all__ = ["FlowSettings"]


class FlowSettings(ExampleSettings):
    """Settings of the flow stage; the budget is in seconds of target and reference together."""

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
    dev_steps: int = Field(default=10, ge=1)
    """Euler steps of the mels that validation generates."""

    @model_validator(mode="after")
    def _begins_once(self) -> Self:
        if self.start is not None and self.weights is not None:
            raise ValueError("start and weights both say what a run begins with; give one")
        return self
