"""What routes ask of a request: the service, the key, known form fields, clean text."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import Depends, File, Form, Request, UploadFile
from pydantic import AfterValidator, Field, StringConstraints

from stepedit_core import Utterance
from stepedit_serve.bodies import AcceptName, AudioFormat, Language, RouteName, clean
from stepedit_serve.errors import ApiError
from stepedit_serve.keys import Key
from stepedit_serve.schemas import ErrorOut
from stepedit_serve.service import Service

__all__ = [
    "EDIT_FIELDS",
    "EditForm",
    "EditFormOf",
    "KeyOf",
    "LanguageForm",
    "Sent",
    "ServiceOf",
    "TranscriptForm",
    "answers",
    "clean",
    "fields",
    "forget",
    "uploaded",
]


def blank_is_none(text: str | None) -> str | None:
    """Return a form's text, None where the field is empty."""
    return text if text is not None and text.strip() else None


_Clean = AfterValidator(lambda text: text if text is None else clean(text))
_Blank = AfterValidator(blank_is_none)
ChainForm = Annotated[
    Annotated[str, StringConstraints(max_length=1_000_000)] | None, Form(), _Clean, _Blank
]
SayForm = Annotated[
    Annotated[str, StringConstraints(max_length=1000)] | None, Form(), _Clean, _Blank
]
TranscriptForm = Annotated[
    Annotated[str, StringConstraints(max_length=1_000_000)] | None, Form(), _Clean, _Blank
]
LanguageForm = Annotated[Language | None, Form(), _Clean, _Blank]
SeedForm = Annotated[int, Form(), Field(ge=0, lt=2**63)]
RouteForm = Annotated[RouteName, Form()]
AcceptForm = Annotated[AcceptName, Form()]
AttestationForm = Annotated[
    Annotated[str, StringConstraints(max_length=2000)] | None, Form(), _Clean, _Blank
]
FormatForm = Annotated[AudioFormat, Form()]
Sent = Annotated[UploadFile, File(description="A recording.")]


@dataclass(frozen=True)
class EditForm:
    """What every route that edits an upload takes beside the file; see `edit_form`."""

    chain: str | None
    say: str | None
    transcript: str | None
    language: str | None
    seed: int
    route: RouteName
    accept: AcceptName
    format: AudioFormat
    consent_attestation: str | None

    def check(self) -> None:
        """Raise ApiError (400) unless a chain or a sentence is given, and not both."""
        if (self.chain is None) == (self.say is None):
            raise ApiError(400, "invalid_request", "give chain or say, one of them", param="chain")


def edit_form(
    chain: ChainForm = None,
    say: SayForm = None,
    transcript: TranscriptForm = None,
    language: LanguageForm = None,
    seed: SeedForm = 0,
    route: RouteForm = "auto",
    accept: AcceptForm = "off",
    format: FormatForm = "wav",
    consent_attestation: AttestationForm = None,
) -> EditForm:
    """Return the form's fields."""
    return EditForm(
        chain, say, transcript, language, seed, route, accept, format, consent_attestation
    )


EditFormOf = Annotated[EditForm, Depends(edit_form)]
EDIT_FIELDS = ("file", *EditForm.__dataclass_fields__)
"""Names of the form fields of a route that takes `EditFormOf`."""


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def _key(request: Request) -> Key:
    key: Key = request.state.key
    return key


ServiceOf = Annotated[Service, Depends(_service)]
KeyOf = Annotated[Key, Depends(_key)]


def fields(*known: str) -> Callable[[Request], Awaitable[None]]:
    """Return a dependency that refuses form fields that a route does not know."""

    async def refuse(request: Request) -> None:
        kind = request.headers.get("content-type", "")
        if not kind.startswith("multipart/form-data"):
            raise ApiError(415, "invalid_request", "send multipart/form-data")
        form = await request.form()
        for name in form:
            if name not in known:
                raise ApiError(
                    400,
                    "invalid_request",
                    f"no field {name[:80]!r}; there are {', '.join(known)}",
                    param=name[:80],
                )

    return refuse


def answers(*statuses: Literal[400, 401, 403, 404, 409, 410, 413, 415, 422, 429, 503]) -> Any:
    """Return the error answers of a route, for its description."""
    return {status: {"model": ErrorOut} for status in (400, 401, 413, 429, *statuses)}


async def uploaded(
    service: Service,
    key: Key,
    file: UploadFile,
    transcript: str | None = None,
    language: str | None = None,
    *,
    seconds: float | None = None,
) -> Utterance:
    """Return an upload as an utterance with its words; raises ApiError."""
    with service.under_way():
        path = await service.save(file.file)
        try:
            found = await service.decoded(path, key, seconds)
        finally:
            await forget(path)
    return found.replace(transcript=transcript, language=language)


async def forget(*paths: Path | None) -> None:
    """Remove files of a request; a busy disk holds nobody else up meanwhile."""

    def remove() -> None:
        for path in paths:
            if path is not None:
                path.unlink(missing_ok=True)

    await asyncio.to_thread(remove)
