"""Base class of marks: write into audio, or beside it, that it was edited, and read that."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    from stepedit_core.utterance import Span, Utterance

__all__ = ["Finding", "Mark", "MarkState"]

MarkState = Literal["holds", "broken", "absent", "unknown"]
"""``holds``: there, and it fits the file; ``broken``: there, and the file is another one now;
``absent``: not there; ``unknown``: it cannot be looked for here."""


@dataclass(frozen=True)
class Finding:
    """Finding of one mark on a file.

    Attributes:
        mark: name of the mark.
        state: whether it is there and fits.
        says: one line for people.
        facts: what it holds; JSON data.
    """

    mark: str
    state: MarkState
    says: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_data(self) -> dict[str, Any]:
        """Return JSON data."""
        return {
            "mark": self.mark,
            "state": self.state,
            "says": self.says,
            "facts": dict(self.facts),
        }


class Mark(ABC):
    """One way of marking: in the sound, in the file, or beside it.

    A mark overrides those of `in_sound`, `in_file` and `beside` that it needs. Sound is marked
    before it is written and after all edits; the file before it gets its name; what lies beside
    it comes last and can hold the file's hash. The record is JSON data: what, when, model, chain,
    hashes.
    """

    name: ClassVar[str]
    """Name for ``--mark NAME``."""
    marks_sound: ClassVar[bool] = False
    """Whether ``in_sound`` changes samples; of long recordings no samples are held at once."""

    within: ClassVar[bool] = True
    """Whether the mark lies in the file itself, so that only audio can carry it."""

    @classmethod
    def missing(cls) -> str | None:
        """Return a hint on what is not installed or set up, or None; imports nothing heavy."""
        return None

    @classmethod
    def unreadable(cls) -> str | None:
        """Return a hint on what is not installed to look for the mark, or None."""
        return cls.missing()

    def problem(self, target: Path) -> str | None:
        """Return why a target cannot carry the mark, or None."""
        return None

    def in_sound(self, edited: Utterance, spans: Sequence[Span]) -> Utterance:
        """Return the utterance with the mark in its samples.

        Args:
            edited: what will be written.
            spans: what was edited, in seconds of it; outside, every sample keeps its bits.
        """
        return edited

    def in_file(self, partial: Path, target: Path, record: Mapping[str, Any]) -> None:
        """Put the mark into a complete file that has no name yet.

        Args:
            partial: the file.
            target: its name in the end, whose suffix tells the format.
            record: what is said.

        Raises:
            StepeditError: if it cannot be; nothing gets the target's name then.
        """
        return

    def beside(self, target: Path, record: Mapping[str, Any]) -> Path | None:
        """Write what belongs beside a finished file and return where, or None."""
        return None

    @abstractmethod
    def find(self, path: Path) -> Finding:
        """Return the mark's finding on a file.

        Raises:
            StepeditError: if the file cannot be read.
        """
