"""What clients send as JSON: bodies of requests, and the kinds of values that forms share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from stepedit_core import StepeditError, language_tag

__all__ = [
    "AcceptName",
    "Attestation",
    "AudioFormat",
    "BranchRequest",
    "EditRequest",
    "FileFormat",
    "Id",
    "InterpretRequest",
    "LabelFormat",
    "Language",
    "Name",
    "Nothing",
    "RouteName",
    "Seed",
    "Sentence",
    "SpeechRequest",
    "Text",
    "Title",
    "TranscriptRequest",
    "VoiceId",
    "clean",
    "texts_in",
]


def _tag(text: str) -> str:
    """Return the tag of a language; an empty form field stays empty."""
    try:
        return language_tag(text) if text.strip() else ""
    except StepeditError as error:
        raise ValueError(str(error)) from error


Seed = Annotated[int, Field(ge=0, lt=2**63)]
Title = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80)]
Sentence = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000)]
Text = Annotated[str, StringConstraints(max_length=1_000_000)]
Language = Annotated[str, StringConstraints(max_length=35), AfterValidator(_tag)]
Attestation = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=8, max_length=2000)
]
Id = Annotated[str, StringConstraints(max_length=64)]
RouteName = Literal["auto", "llm", "dsp"]
AcceptName = Literal["off", "normal", "strict"]
AudioFormat = Literal["wav", "flac", "mp3", "ogg", "opus", "pcm"]
FileFormat = Literal["wav", "flac", "mp3", "ogg", "opus"]
LabelFormat = Literal["json", "srt", "vtt", "textgrid", "audacity"]


class _Body(BaseModel):
    """What a client sends: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _clean(cls, data: Any) -> Any:
        """Refuse texts that databases cannot hold."""
        for name, value in data.items() if isinstance(data, dict) else ():
            for text in texts_in(value):
                try:
                    clean(text)
                except ValueError as error:
                    raise ValueError(f"{name}: {error}") from None
        return data


def clean(text: str) -> str:
    """Return a text that databases can hold; raises ValueError for one that none can."""
    if "\x00" in text:
        raise ValueError("the text holds a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("the text holds half of a surrogate pair") from None
    return text


def texts_in(data: Any) -> Iterator[str]:
    """Yield all texts of JSON data, keys included."""
    waiting = [data]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict):
            waiting.extend(one.keys())
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)


class Nothing(_Body):
    """A body without fields."""


class InterpretRequest(_Body):
    """A sentence that is to become a chain."""

    say: Sentence | list[Sentence]
    """Later sentences correct earlier ones."""
    transcript: Text | None = None
    session: Id | None = None
    node: Id | None = None


class EditRequest(_Body):
    """One chain on one version of a session's recording."""

    chain: dict[str, Any] | None = None
    """A chain, or one edit."""
    say: Sentence | None = None
    """A sentence in its place."""
    parent: Id | None = None
    """The node that is edited; the head by default."""
    sentences: list[Annotated[int, Field(ge=1, le=100_000)]] | None = Field(
        default=None, min_length=1, max_length=10_000
    )
    """Numbers of the sentences that are edited, from 1; all by default."""
    seed: Seed = 0
    route: RouteName = "auto"
    accept: AcceptName = "off"
    wait: bool = True
    """Answer when it is done; otherwise with a job, at once."""
    consent_attestation: Attestation | None = None
    title: Title | None = None


class BranchRequest(_Body):
    """Where the head is to go."""

    node: Id
    name: Name | None = None
    """A label of the branch."""


class TranscriptRequest(_Body):
    """Corrected words."""

    transcript: Text
    language: Language | None = None


class VoiceId(_Body):
    """A voice as OpenAI's clients name custom ones."""

    id: Id


class SpeechRequest(_Body):
    """What OpenAI's clients send to have a text spoken."""

    model: Annotated[str, StringConstraints(max_length=200)]
    input: Annotated[str, StringConstraints(min_length=1, max_length=4096)]
    voice: Id | VoiceId
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] = "mp3"
    speed: float = Field(default=1.0, ge=0.25, le=4.0)
    stream_format: Literal["audio", "sse"] = "audio"
    instructions: Text | None = None
    seed: Seed = 0
