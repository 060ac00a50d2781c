"""Settings of examples, which the mel and the flow stage share."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from stepedit_train.loop import LoopSettings

__all__ = ["ExampleSettings", "ToldExamples"]


class ToldExamples(NamedTuple):
    """What examples are told of edits, and how that is spoilt; `MelSettings` explains each."""

    labels: tuple[str, ...] = ()
    spoilt: tuple[str, ...] = ()
    spoil: float = 0.0
    noisy: float = 0.0
    mislead: float = 0.0
    clean: float = 0.0
    untold: float = 0.0


class ExampleSettings(LoopSettings):
    """What examples are made of a store; the budget is in seconds of target and reference."""

    data: Path
    """Folder that the mel-data stage made."""
    out: Path
    """Folder of the run."""
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

    def told(self) -> ToldExamples:
        """Return what examples are told of edits: nothing, unless a stage's decoder takes it."""
        return ToldExamples()
