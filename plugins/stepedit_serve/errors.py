"""Errors as the service answers them: a status, a code and one line."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from stepedit_core import (
    AlignmentError,
    AudioError,
    BudgetError,
    EditError,
    EngineError,
    InterpretationError,
    InvalidChainError,
    MissingDependencyError,
    RouteError,
    StepeditError,
    UnknownEditError,
    printable,
)
from stepedit_serve.decoder import FULL

__all__ = [
    "LONGEST",
    "ApiError",
    "Busy",
    "Cancelled",
    "add_error_handlers",
    "api_error",
    "error_body",
    "is_full",
    "no_space",
]

LOG = logging.getLogger("stepedit.serve")
LONGEST = 500
"""Characters of an error's line."""
_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "server_error",
    507: "server_error",
}
_CODES = {
    400: "invalid_request",
    401: "invalid_key",
    403: "not_permitted",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
}


class Cancelled(StepeditError):
    """The job was cancelled while it ran, or the client of a request went away."""


class Busy(StepeditError):
    """The machine had no time or memory for the request, which is not at fault."""


# From the special to the general.
_KINDS: Sequence[tuple[type[StepeditError], int, str]] = (
    (Busy, 503, "busy"),
    (Cancelled, 499, "cancelled"),
    (InterpretationError, 400, "invalid_sentence"),
    (InvalidChainError, 400, "invalid_chain"),
    (UnknownEditError, 400, "invalid_chain"),
    (RouteError, 400, "invalid_chain"),
    (AudioError, 400, "invalid_audio"),
    (AlignmentError, 422, "step_failed"),
    (EditError, 422, "step_failed"),
    (BudgetError, 422, "step_failed"),
    (MissingDependencyError, 503, "unavailable"),
    (EngineError, 503, "unavailable"),
    (StepeditError, 400, "invalid_request"),
)


class ApiError(Exception):
    """What a request is answered with instead of what it asked for.

    Attributes:
        status: of the answer.
        code: for programs.
        message: for people, one line.
        param: the field that is at fault.
        retry_after: seconds after which another try may succeed.
        alternatives: readings of an ambiguous sentence.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        retry_after: float | None = None,
        alternatives: list[dict[str, Any]] | None = None,
    ) -> None:
        """Keep status, code and text."""
        super().__init__(message)
        self.status, self.code, self.param = status, code, param
        self.message = printable(message, LONGEST)
        self.retry_after, self.alternatives = retry_after, alternatives

    def body(self) -> dict[str, Any]:
        """Return the answer's body."""
        return error_body(self.status, self.code, self.message, self.param, self.alternatives)

    def response(self) -> JSONResponse:
        """Return the answer."""
        headers = {}
        if self.retry_after is not None:
            headers["Retry-After"] = str(max(1, round(self.retry_after)))
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return JSONResponse(self.body(), self.status, headers)


def error_body(
    status: int,
    code: str,
    message: str,
    param: str | None = None,
    alternatives: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Return the JSON of an error."""
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    error: dict[str, Any] = {"message": message, "type": kind, "code": code, "param": param}
    if alternatives is not None:
        error["alternatives"] = alternatives
    return {"error": error}


def no_space() -> ApiError:
    """Return the answer to a request for which the server's disk has no room."""
    return ApiError(507, "no_space", "the server's disk is full; try again when there is room")


def is_full(error: BaseException | None) -> bool:
    """Say whether an error, or what caused it, is a disk or a database without room."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return True
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            return True
        error = error.__cause__
    return False


def api_error(error: StepeditError, param: str | None = None) -> ApiError:
    """Return an error of the library as an answer.

    A step that failed for want of a machine, of room, or of a client, is no fault of the request.
    """
    if is_full(error):
        return no_space()
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, Busy | Cancelled):
            error = cause
        cause = cause.__cause__
    status, code = next((status, code) for kind, status, code in _KINDS if isinstance(error, kind))
    alternatives = None
    if isinstance(error, InterpretationError) and error.alternatives:
        alternatives = [
            {"chain": way.to_data()["chain"], "explanation": list(way.explanation)}
            for way in error.alternatives
        ]
    return ApiError(status, code, str(error), param=param, alternatives=alternatives)


def _validation(error: RequestValidationError) -> ApiError:
    """Return pydantic's report on a request as one line."""
    first: Mapping[str, Any] = error.errors()[0] if error.errors() else {}
    places = [str(part) for part in first.get("loc", ()) if part not in ("body", "query", "path")]
    where = ".".join(places)
    text = str(first.get("msg", "the request is not valid")).removeprefix("Value error, ")
    more = len(error.errors()) - 1
    line = f"{where}: {text}" if where else text
    if more > 0:
        line += f" (and {more} more)"
    return ApiError(400, "invalid_request", line, param=printable(where, 80) or None)


def add_error_handlers(app: FastAPI) -> None:
    """Let an app answer every error in the one shape."""

    @app.exception_handler(ApiError)
    async def on_api_error(request: Request, error: ApiError) -> JSONResponse:
        return error.response()

    @app.exception_handler(StepeditError)
    async def on_stepedit_error(request: Request, error: StepeditError) -> JSONResponse:
        return api_error(error).response()

    @app.exception_handler(RequestValidationError)
    async def on_validation(request: Request, error: RequestValidationError) -> JSONResponse:
        return _validation(error).response()

    @app.exception_handler(HTTPException)
    async def on_http(request: Request, error: HTTPException) -> JSONResponse:
        code = _CODES.get(error.status_code, "invalid_request")
        answer = ApiError(error.status_code, code, str(error.detail))
        response = answer.response()
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(Exception)
    async def on_fault(request: Request, error: Exception) -> JSONResponse:
        if is_full(error):
            LOG.error("%s %s: the disk is full", request.method, _template(request))
            return no_space().response()
        # The type alone: texts of errors may hold what a user said.
        LOG.error("%s %s: %s", request.method, _template(request), type(error).__name__)
        return ApiError(500, "internal", f"the server failed ({type(error).__name__})").response()


def _template(request: Request) -> str:
    """Return the route's path without the ids in it."""
    return str(getattr(request.scope.get("route"), "path", "unknown route"))
