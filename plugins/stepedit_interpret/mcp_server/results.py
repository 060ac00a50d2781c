"""What the tools answer: structured content, described by JSON Schema."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from stepedit_core import Interpretation

__all__ = [
    "Aligned",
    "EditKind",
    "Edited",
    "Interpreted",
    "Listed",
    "Measured",
    "Read",
    "StepDone",
    "Undone",
]


class EditKind(BaseModel):
    """One kind of edit."""

    name: str
    summary: str
    routes: list[str] = Field(description="llm needs an engine; dsp does not.")
    parameters: dict[str, Any] = Field(description="JSON Schema of its parameters.")
    examples: list[str] = Field(description="Requests in words that ask for it.")


class Listed(BaseModel):
    """The installed edits."""

    edits: list[EditKind]


class Aligned(BaseModel):
    """When each word is said; times in seconds."""

    text: str
    aligner: str
    words: list[dict[str, Any]] = Field(description="text, start, end, confidence")
    sentences: list[dict[str, Any]] = Field(description="text, start, end, words, speaker")
    notes: list[str]


class Read(BaseModel):
    """One edit that was read from a request."""

    edit: str
    where: dict[str, Any] | None = Field(description="The region, None for the whole recording.")
    read_from: str = Field(description="The words that it was read from.")


class Interpreted(BaseModel):
    """What a request was read as; nothing of it has been run."""

    chain: dict[str, Any] | None = Field(description="None where there is something to choose.")
    explanation: list[Read]
    alternatives: list[dict[str, Any]] = Field(description="Chains to choose from, explained.")
    question: str = Field(description="What has to be chosen.")
    notes: list[str]

    @classmethod
    def of(cls, found: Interpretation) -> Interpreted:
        """Return the data of an interpretation."""
        data = found.to_data()
        return cls(
            chain=data["chain"],
            explanation=[Read(**one) for one in data["explanation"]],
            alternatives=data["alternatives"],
            question=found.question,
            notes=list(found.notes),
        )


class StepDone(BaseModel):
    """One finished edit."""

    edit: str
    route: str
    engine: str | None
    seconds_after: float
    details: dict[str, Any]


class Edited(BaseModel):
    """What was written."""

    output: str
    seconds_before: float
    seconds_after: float
    sample_rate: int
    chain: dict[str, Any]
    steps: list[StepDone]
    explanation: list[Read]
    notes: list[str]


class Undone(BaseModel):
    """What became of a file."""

    output: str
    restored: bool = Field(
        description="True: the earlier file is there again; False: it was removed."
    )


class Measured(BaseModel):
    """Measurements; what could not be measured is left out."""

    recording: str
    seconds: float
    sample_rate: int
    loudness_lufs: float | None = Field(description="Integrated, ITU-R BS.1770.")
    true_peak_dbtp: float | None
    acoustics: dict[str, float] = Field(description="Pitch, level, tempo and voice quality.")
    change: dict[str, float] | None = Field(description="Against the reference, where one is given")
