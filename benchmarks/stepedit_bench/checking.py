"""Validate the settings and rows of a stored run when it is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, ValidationError

from stepedit_core.errors import StepeditError, explain_validation

__all__ = ["check_row", "check_settings"]

_Open = StrictBool | None
_Number = Annotated[float, Field(allow_inf_nan=False)]


class _Part(BaseModel):
    """Keeps what it does not know: later releases may add fields."""

    model_config = ConfigDict(extra="allow")


class _Named(_Part):
    name: str
    version: Any = None


class _Protocol(_Part):
    route: str | None
    iterations: Annotated[int, Field(ge=0, le=1000)]


class _Settings(_Part):
    edits: list[str]
    suite: str
    seed: Annotated[int, Field(ge=0)]
    engine: _Named
    protocol: _Protocol
    judges: dict[str, _Named | None]


class _Text(_Part):
    unit: str
    errors: Annotated[int, Field(ge=0)]
    length: Annotated[int, Field(gt=0)]
    rate: Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Kept(_Part):
    __pydantic_extra__: dict[str, _Number | None] = Field(init=False)
    text: _Text | None = None
    speaker_similarity: _Number | None = None


class _Verdict(_Part):
    task: str | None = None
    label: str | None = None
    score: _Number | None = None
    refused: str | None = None


class _Row(_Part):
    edit: str
    case: str
    class_: str = Field(alias="class")
    condition: Literal["source", "dsp", "world", "identity", "target", "edit"]
    iteration: Annotated[int, Field(ge=0, le=1000)]
    status: str
    language: str | None
    speaker: str | int | None
    request: dict[str, Any]
    reached: _Open
    values: dict[str, float | bool | None]
    scorer: str | None = None
    scorer_version: int | None = None
    kept: _Kept
    verdicts: list[_Verdict] = []
    checks: dict[str, _Open] = {}
    preserved: _Open = None
    joint: _Open = None
    unscored: str | None = None
    problem: str | None = None
    audio: str | None = None


def _check(model: type[BaseModel], data: Mapping[str, Any], where: str, cure: str) -> None:
    try:
        model.model_validate(data)
    except ValidationError as error:
        first = explain_validation(error).partition("; ")[0]
        raise StepeditError(f"{where}: damaged ({first[:160]}); {cure}") from error


def check_settings(settings: Mapping[str, Any], where: str, cure: str) -> None:
    """Refuse settings of a run that lack what reports need.

    Raises:
        StepeditError: naming the first field that is missing or of another kind.
    """
    _check(_Settings, settings, where, cure)


def check_row(row: Any, where: str, cure: str) -> dict[str, Any]:
    """Return a row of results after looking at its fields.

    Raises:
        StepeditError: naming the first field that is missing or of another kind.
    """
    if not isinstance(row, dict):
        raise StepeditError(f"{where}: damaged (a row is an object); {cure}")
    _check(_Row, row, where, cure)
    return row
