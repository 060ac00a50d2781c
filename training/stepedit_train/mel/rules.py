"""What making examples needs of a stage's settings; the mel and the flow stage both have it."""

from __future__ import annotations

from typing import Protocol

__all__ = ["ExampleSettings"]


class ExampleSettings(Protocol):
    """Settings of examples; `MelSettings` says what each of them means."""

    seed: int
    self_share: float
    other_share: float
    reverse: float
    shares: dict[str, float]
    one_way: tuple[str, ...]
    max_rows: int
    max_reference_rows: int
    gap: float
    disturb: float
    gain_db: float
    voice_noise: float

    @property
    def labels(self) -> tuple[str, ...]:
        """Edits that are told apart."""
        ...

    @property
    def spoilt(self) -> tuple[str, ...]:
        """Families whose targets' codes are in part left as the source's."""
        ...

    @property
    def spoil(self) -> float:
        """How often."""
        ...

    @property
    def noisy(self) -> float:
        """Part of the sources of those families that are also their own target."""
        ...

    @property
    def mislead(self) -> float:
        """How often stretches get codes of other places."""
        ...

    @property
    def clean(self) -> float:
        """Part of the examples with themselves as reference that are told to be denoised."""
        ...

    @property
    def untold(self) -> float:
        """How often places are not told."""
        ...
