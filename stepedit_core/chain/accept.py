"""Limits that a step of a chain must keep, and what is done where it does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from stepedit_core.errors import InvalidChainError, explain_validation

__all__ = ["LEVELS", "Accept", "AcceptLevel"]

AcceptLevel = Literal["strict", "normal", "off"]
LEVELS: tuple[AcceptLevel, ...] = ("strict", "normal", "off")
_STRICT = {
    "words": 0.05,
    "all_ears": True,
    "voice": 0.75,
    "level": 3.0,
    "length": 0.1,
    "pitch": 2.0,
    "quality": 0.5,
    "first_alone": False,
    "heard": 8,
    "tries": 24,
}


class Accept(BaseModel):
    """What a step must keep; None of a limit turns it off.

    Words, voice, pitch and quality count against the recording that the chain began with, so that
    small losses do not add up; length and whether anything changed, against what the step received.
    What the edit's own scorer waives, because the edit contradicts it, is not asked for. A limit
    that cannot be measured, for want of a package or a plugin, is said in the chain's notes.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    words: float | None = Field(default=0.10, ge=0.0)
    """Most word error (character error for Chinese, Japanese, Korean) that may be added, by the
    recognisers that are installed; one word is allowed, as in the benchmark, unless it is 0."""
    ears: int = Field(default=2, ge=1, le=4)
    """Recognisers that must all find the words kept, the preferred ones that are installed: one
    that knows its language well writes what it expects to hear."""
    all_ears: bool = False
    """Whether all of them are asked even where the first one that is asked, the fastest, finds
    every word of the transcript as likely as in the source."""
    voice: float | None = Field(default=0.70, ge=-1.0, le=1.0)
    """Least cosine similarity to the first recording's speaker vector, by the speaker encoder of
    the measurements that are installed, or the engine's own."""
    level: float | None = Field(default=6.0, gt=0.0)
    """Most change of the active level, in dB, beyond what the edit's plan announces."""
    length: float | None = Field(default=0.25, gt=0.0)
    """Most relative deviation from the length that the edit announces, where it is definite;
    guessed lengths may be off by four times as much."""
    pitch: float | None = Field(default=4.0, gt=0.0)
    """Semitones by which the median pitch may lie outside what the label of an edit usually does,
    counted over all edits of its kind; where the label's plugin states a profile."""
    clipping: float | None = Field(default=0.001, ge=0.0, le=1.0)
    """Most share of samples at full scale that a step may add."""
    hole: float | None = Field(default=1.5, gt=0.0)
    """Longest digital silence inside, in seconds, that was not in the source."""
    quality: float | None = Field(default=None, gt=0.0)
    """Most fall of DNSMOS OVRL; slow, so that only ``strict`` sets it."""
    changed: bool = True
    """Whether a step that changes nothing fails."""
    target: bool = True
    """Whether the edit's own scorer must say that its target is reached."""
    best_of: int = Field(default=8, ge=1, le=32)
    """Candidates that a model draws in one batch; the best by these limits is taken."""
    first_alone: bool = True
    """Whether a model's own answer, the one without limits, is listened to before a batch of
    candidates is drawn; most are accepted so, at half the cost. A model that draws as many for
    itself is asked for the batch at once."""
    heard: int = Field(default=2, ge=1, le=32)
    """Candidates of one batch that are listened to, the most promising ones by the cheap limits and
    by the engine's own reader; listening takes longer than drawing."""
    tries: int = Field(default=8, ge=1, le=64)
    """How many candidates a step is given whose answer is drawn, new batches with new seeds; of a
    step whose answer is not, how many settings."""
    seconds: float | None = Field(default=None, gt=0.0)
    """No further batch is begun once a step has taken so long."""
    gentler: bool = True
    """Whether other settings that an edit names are tried (``Edit.gentler``, ``Edit.stronger``)."""
    fallback: Literal["dsp"] | None = None
    """``dsp``: where no try of a model passes, take the edit's signal processing."""
    otherwise: Literal["fail", "keep"] = "fail"
    """Where nothing passes: ``fail`` ends the chain, ``keep`` goes on with the step's source."""
    edits: Mapping[str, Mapping[str, Any]] = {}
    """Other values for single edits by name, or for single steps by number from 1."""

    @model_validator(mode="after")
    def _edits_are_limits(self) -> Self:
        for name, values in self.edits.items():
            unknown = set(values) - set(type(self).model_fields) | {"edits"} & set(values)
            if unknown:
                raise ValueError(f"edits.{name}: no limit {min(unknown)!r}")
            type(self).model_validate({**self.model_dump(exclude={"edits"}), **values})
        return self

    @classmethod
    def of(cls, level: AcceptLevel, /, **changes: Any) -> Accept | None:
        """Return the limits of a level, or None for ``off``.

        Raises:
            InvalidChainError: if a change is no limit, or has a wrong value.
        """
        if level == "off":
            return None
        try:
            return cls(**({**_STRICT, **changes} if level == "strict" else changes))
        except ValidationError as error:
            reason = explain_validation(error, cls.model_fields)
            raise InvalidChainError(f"limits: {reason}") from error

    @classmethod
    def read(cls, path: Path, **changes: Any) -> Accept:
        """Read limits from a JSON file; ``changes`` go before what it says.

        Raises:
            InvalidChainError: if the file cannot be read or holds no limits.
        """
        from stepedit_core.storage.stored_json import parse_json

        try:
            data = parse_json(path.read_text(encoding="utf-8"))
            if not isinstance(data, Mapping):
                raise ValueError("limits are a JSON object")
            return cls.model_validate({**data, **changes})
        except ValidationError as error:
            reason = explain_validation(error, cls.model_fields)
            raise InvalidChainError(f"{path}: {reason}") from error
        except (OSError, ValueError, RecursionError) as error:
            raise InvalidChainError(f"{path}: no limits: {error}") from error

    @classmethod
    def parse(cls, texts: Sequence[str]) -> dict[str, Any]:
        """Read limits as ``NAME=VALUE``; ``off`` is None.

        Raises:
            InvalidChainError: if a limit does not exist.
        """
        from stepedit_core.errors import suggest
        from stepedit_core.storage.stored_json import parse_json

        found: dict[str, Any] = {}
        for text in texts:
            name, equals, value = text.partition("=")
            if not equals:
                raise InvalidChainError(f"limit {text!r}: write NAME=VALUE, such as words=0.1")
            if name not in cls.model_fields:
                hint = suggest(name, cls.model_fields)
                there = hint or f"; there are {', '.join(cls.model_fields)}"
                raise InvalidChainError(f"no limit {name[:80]!r}{there}")
            try:
                found[name] = None if value == "off" else parse_json(value)
            except ValueError:
                found[name] = value
        return found

    def for_step(self, name: str, number: int) -> Accept:
        """Return the limits of one step: of its edit's name, then of its number."""
        own = {**self.edits.get(name, {}), **self.edits.get(str(number), {})}
        return self.model_validate({**self.model_dump(), **own}) if own else self
